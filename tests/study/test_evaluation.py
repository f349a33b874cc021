import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError, Outcomes, Trial, metrics, scores
from dfcl_jax.study import evaluate
from dfcl_jax.types import pick, take

pytestmark = pytest.mark.thorough

BUDGETS = [0.05, 0.12]


def simulated(m: int, n: int = 2000) -> tuple[Trial, Outcomes]:
    """Outcomes of 0 and 1, with returns that differ by person."""
    rng = np.random.default_rng(0)
    x, arms = rng.random((n, 2)), np.arange(m)
    truth = Outcomes(*map(jnp.asarray, (0.2 + 0.3 * arms * x[:, :1] / m, np.tile(0.3 * arms / m, (n, 1)))))
    t = jnp.asarray(rng.integers(0, m, n))
    r, c = (jnp.asarray(rng.random(n) < np.asarray(pick(s, t)), float) for s in truth)
    return Trial(jnp.asarray(x), t, r, c, jnp.full(m, 1 / m)), truth


@pytest.fixture(scope="module")
def judged():
    trial, truth = simulated(3)
    means = jax.tree.map(lambda s: jnp.broadcast_to(s.mean(axis=0, keepdims=True), s.shape), truth)
    settling = scores.aipw(trial, truth)
    policies = {"truth": truth, "means": means}
    return trial, truth, settling, evaluate(jax.random.key(1), trial, policies, settling, BUDGETS, replicates=50)


def test_values_are_those_of_the_metrics(judged):
    trial, truth, settling, evaluation = judged
    rows = evaluation.values[evaluation.values.policy == "truth"]
    value = metrics.eom(truth, settling, jnp.array(BUDGETS))
    np.testing.assert_allclose(rows[["revenue", "cost", "lam"]], np.stack(value[:3], axis=1), rtol=1e-9)
    assert ((rows.low < rows.revenue) & (rows.revenue < rows.high)).all()
    areas = evaluation.areas.set_index(["policy", "metric"]).value
    steps = metrics.value_steps(truth, settling)
    assert areas["truth", "Qini area to 0.12"] == pytest.approx(float(metrics.qini_area(steps, 0.12)), rel=1e-9)
    score = metrics.marginal_roi_score(truth)
    assert areas["truth", "MT-AUCC"] == pytest.approx(float(metrics.mt_aucc(score, trial)), rel=1e-9)


def test_differences_are_paired_and_to_the_first_policy(judged):
    evaluation = judged[-1]
    assert list(dict.fromkeys(evaluation.values.policy)) == ["truth", "means"]
    wide = evaluation.values.pivot(index="budget", columns="policy", values="revenue")
    rows = evaluation.differences.set_index("budget")
    assert set(rows.policy) == {"means"}
    np.testing.assert_allclose(rows.difference, wide.means - wide.truth, rtol=1e-9)
    # What both policies share cancels: narrower than the difference of two values on different people.
    widths = evaluation.values.assign(width=evaluation.values.high - evaluation.values.low)
    apart = np.sqrt((widths.pivot(index="budget", columns="policy", values="width") ** 2).sum(axis=1))
    assert ((rows.high - rows.low) < 0.8 * apart).all()


def test_every_table_has_its_rows(judged):
    evaluation = judged[-1]
    rows = {name: len(table) for name, table in evaluation._asdict().items()}
    assert rows == {
        "values": 2 * 2,
        "differences": 2,
        "areas": 2 * 2,
        "shares": 3,
        "balance": 2 * 3,
        "overlap": 3,
        # Deciles of revenue; the same cost for everybody, and at "means" the same revenue, are one bin each.
        "calibration": 2 * 10 + 1 + 3 + 3 + 3,
        "quality": 2,
        "tests": 2,
        "rests": 2 * 2 * 3,  # of each policy, budget and treatment
        "doubts": 0,
    }


def areas_of(trial: Trial, truth: Outcomes) -> set[str]:
    evaluation = evaluate(jax.random.key(1), trial, {"truth": truth}, scores.ipw(trial), [0.05], replicates=2)
    assert evaluation.differences.empty
    return set(evaluation.areas.metric)


def test_two_treatments_have_the_areas_of_the_packages():
    packages = {"Qini (CausalML)", "AUUC (CausalML)", "Qini (scikit-uplift)", "AUUC (scikit-uplift)"}
    assert areas_of(*simulated(2)) == {"Qini area to 0.05", "AUCC", "exact AUCC"} | packages


def test_areas_that_a_trial_cannot_have_are_left_out():
    trial, truth = simulated(2)
    # Propensities of each person: the curves' plain means of an arm would be biased.
    assert areas_of(trial._replace(p=jnp.broadcast_to(trial.p, (2000, 2))), truth) == {"Qini area to 0.05"}


def test_what_rests_on_hardly_anybody_has_no_interval():
    trial, truth = simulated(2)
    # Six people of the dearer treatment are left.
    dear = np.flatnonzero(np.asarray(trial.t) == 1)
    kept = np.sort(np.concatenate([np.flatnonzero(np.asarray(trial.t) == 0), dear[:6]]))
    few, of = take(trial, jnp.asarray(kept)), jax.tree.map(lambda surface: surface[kept], truth)
    few = few._replace(p=jnp.array([1 - 6 / len(kept), 6 / len(kept)]))
    policies = {"truth": of, "again": of}
    evaluation = evaluate(jax.random.key(1), few, policies, scores.aipw(few, of), [0.05], replicates=2)
    for table in (evaluation.values, evaluation.differences, evaluation.areas):
        assert table[["low", "high"]].isna().all(axis=None)
    assert "No interval of an area: '1' was given to only 6 people." in evaluation.doubts


def test_no_policy_is_refused():
    trial, _ = simulated(2, 10)
    with pytest.raises(InputError, match="policies: found none, expected at least one"):
        evaluate(jax.random.key(0), trial, {}, scores.ipw(trial), BUDGETS)
