import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError, Outcomes, metrics, scores
from dfcl_jax.data import simulate
from dfcl_jax.study import evaluate

BUDGETS = [0.03, 0.08]


@pytest.fixture(scope="module")
def judged():
    simulation = simulate.marketing(jax.random.key(0), 3000)
    means = jax.tree.map(lambda s: jnp.broadcast_to(s.mean(axis=0, keepdims=True), s.shape), simulation.truth)
    policies = {"truth": simulation.truth, "means": means}
    settling = scores.aipw(simulation.trial, simulation.truth)
    return (
        simulation,
        settling,
        evaluate(jax.random.key(1), simulation.trial, policies, settling, BUDGETS, replicates=50),
    )


def test_values_are_those_of_the_metrics(judged):
    simulation, settling, evaluation = judged
    rows = evaluation.values[evaluation.values.policy == "truth"]
    np.testing.assert_allclose(
        rows.revenue, metrics.eom(simulation.truth, settling, jnp.array(BUDGETS)).revenue, rtol=1e-9
    )
    assert ((rows.low < rows.revenue) & (rows.revenue < rows.high)).all()
    area = evaluation.areas.set_index(["policy", "metric"]).value["truth", "Qini area to 0.08"]
    steps = metrics.value_steps(simulation.truth, settling)
    assert area == pytest.approx(float(metrics.qini_area(steps, 0.08)), rel=1e-9)


def test_differences_are_paired(judged):
    _, _, evaluation = judged
    wide = evaluation.values.pivot(index="budget", columns="policy", values="revenue")
    rows = evaluation.differences.set_index("budget")
    np.testing.assert_allclose(rows.difference, wide.means - wide.truth, rtol=1e-9)
    # What both policies share cancels: narrower than the difference of two values on different people.
    widths = evaluation.values.assign(width=evaluation.values.high - evaluation.values.low)
    apart = np.sqrt((widths.pivot(index="budget", columns="policy", values="width") ** 2).sum(axis=1))
    assert ((rows.high - rows.low) < 0.8 * apart).all()


def test_no_policy_is_refused():
    simulation = simulate.marketing(jax.random.key(0), 100)
    with pytest.raises(InputError, match="policies: found none, expected at least one"):
        evaluate(jax.random.key(0), simulation.trial, {}, scores.ipw(simulation.trial), BUDGETS)


def test_two_treatments_have_the_areas_of_the_packages():
    simulation = simulate.criteo_like(jax.random.key(0), 20_000)
    policies = {"truth": Outcomes(*simulation.truth)}
    settling = scores.ipw(simulation.trial)
    areas = evaluate(jax.random.key(1), simulation.trial, policies, settling, [0.05], replicates=2).areas
    assert {"AUCC", "exact AUCC", "Qini (CausalML)", "Qini (scikit-uplift)"} < set(areas.metric)
