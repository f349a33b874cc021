"""Figures of other packages on 22 small tables, written down in fixtures/peers.json.

Made with causalml 0.18.0, scikit-uplift 0.5.1, maq 0.2.2 (built from its sources) and obp 0.4.1, on NumPy 2.4, by

- `causalml.metrics.auuc_score` and `qini_score(frame, outcome_col="y", treatment_col="w", normalize=True)`;
- `sklift.metrics.uplift_auc_score` and `qini_auc_score(y_true, uplift, treatment)`, where outcomes are 0 and 1, and
  `uplift_at_k(y_true, uplift, treatment, strategy, k)`, which asks for such outcomes and ours does not;
- `maq.MAQ(n_bootstrap=0).fit(reward, cost, DR_scores)`: `path_spend_`, `path_gain_`, `average_gain(spend)[0]`, and
  `average_gain` of `MAQ(target_with_covariates=False)`;
- `obp.ope`: `InverseProbabilityWeighting`, `SelfNormalizedInverseProbabilityWeighting`, `DoublyRobust` and
  `DirectMethod` (`.estimate_policy_value`), of policies that give every person one action.

Scores are distinct: where they tie, CausalML takes people in the order of a sort, our curves at the mean of all orders.
"""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError, Outcomes, Scores, Trial, metrics, scores

TABLES = json.loads((Path(__file__).parent / "fixtures" / "peers.json").read_text())


def assert_same(ours, theirs, name=""):
    # Sums of at most 30 float64 numbers in another order.
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13, err_msg=name)


def each(package):
    return pytest.mark.parametrize("table", TABLES[package], ids=range(len(TABLES[package])))


def trial_of(table, p) -> Trial:
    n = len(table["t"])
    return Trial(*map(jnp.asarray, (np.zeros((n, 1)), np.array(table["t"]), np.array(table["r"]), np.zeros(n), p)))


@pytest.mark.thorough
@each("uplift")
@pytest.mark.parametrize("name", ["causalml_auuc", "causalml_qini", "sklift_auuc", "sklift_qini"])
def test_areas_of_causalml_and_scikit_uplift(table, name):
    trial, score = trial_of(table, np.array([0.5, 0.5])), np.array(table["score"])
    if name not in table:
        # scikit-uplift refuses outcomes other than 0 and 1, as we do.
        with pytest.raises(InputError, match="trial, revenue: found other numbers"):
            getattr(metrics, name)(score, trial)
        return
    assert_same(getattr(metrics, name)(score, trial), table[name])


@pytest.mark.thorough
@each("uplift")
def test_uplift_at_k_of_scikit_uplift(table):
    trial, score = trial_of(table, np.array([0.5, 0.5])), np.array(table["score"])
    for strategy, k, theirs in table.get("sklift_at_k", []):
        ours = metrics.uplift_at_k(score, trial, k, strategy=strategy)
        # Where none of a group is among the first both are NaN.
        assert_same(ours, np.nan if theirs is None else theirs, f"{strategy} at {k}")


def maq_of(table) -> tuple[Outcomes, Scores]:
    """Predictions and scores of contrasts, with a control that costs and brings nothing."""
    outcomes, settled = (
        metrics.with_control(np.array(table[k]), np.array(table["cost"])) for k in ("reward", "scores")
    )
    return outcomes, scores.truth(settled)


@pytest.mark.thorough
@each("maq")
def test_path_of_maq(table):
    steps = metrics.value_steps(*maq_of(table))
    assert_same(metrics.qini(steps, np.array(table["path_spend"])), table["path_gain"])
    # The path ends where everybody has their best treatment: more budget brings nothing.
    assert_same(metrics.qini(steps, np.array([1e3])), table["path_gain"][-1:])


@each("maq")
def test_gain_of_maq_between_the_steps_of_its_path(table):
    spend, first = np.array(table["spend"]), table["path_spend"][0]
    ours = metrics.qini(metrics.value_steps(*maq_of(table)), spend)
    # Before its first step maq says 0; ours is the straight line to that step, which mixes people at random.
    theirs = np.where(spend < first, spend / first * table["path_gain"][0], table["average_gain"])
    assert (np.array(table["average_gain"])[spend < first] == 0).all()
    assert_same(ours, theirs)


@each("maq")
def test_gain_of_maq_without_targeting(table):
    spend, theirs = np.array(table["spend"]), np.array(table["untargeted_gain"])
    ours = metrics.qini(metrics.untargeted(*maq_of(table)), spend)
    # maq moves whole people, and again says 0 before the first; the least that this can cost is one cheapest treatment.
    before = spend < np.array(table["cost"]).mean(axis=0).min() / len(table["cost"])
    np.testing.assert_array_equal(theirs[before], 0)
    assert_same(ours[~before], theirs[~before])


@pytest.mark.thorough
@each("obp")
def test_values_of_obp(table):
    trial, arm = trial_of(table, np.array(table["p"])), np.array(table["arm"])
    q_hat = jnp.asarray(table["q_hat"])
    raw, robust = scores.ipw(trial), scores.aipw(trial, Outcomes(q_hat, jnp.zeros_like(q_hat)))
    ours = {
        "ipw": metrics.policy_value(arm, raw)[0],
        "snipw": metrics.policy_value(arm, raw, normalise="matched")[0],
        "dr": metrics.policy_value(arm, robust)[0],
        "dm": metrics.policy_value(arm, scores.truth(Outcomes(q_hat, jnp.zeros_like(q_hat))))[0],
    }
    theirs = table["deterministic"]
    for name, value in ours.items():
        assert_same(value, theirs[name], name)


def test_there_are_twenty_tables_of_four_packages():
    assert sum(map(len, TABLES.values())) >= 20
