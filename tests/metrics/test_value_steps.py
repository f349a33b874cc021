from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError, Outcomes, Scores, Trial, scores
from dfcl_jax.metrics import eom, policy_value, value_steps
from dfcl_jax.solvers import budget_path, hard


def noisy(n: int = 60, m: int = 4, seed: int = 0) -> tuple[Outcomes, Trial]:
    rng = np.random.default_rng(seed)
    c = np.sort(rng.uniform(0, 1, (n, m)), axis=1)
    c[:, 0] = 0
    r = rng.uniform(0, 1, (n, m)) + c
    t = rng.integers(0, m, n)
    rows = np.arange(n)
    seen = (np.zeros((n, 1)), t, r[rows, t] + rng.normal(0, 1, n), c[rows, t], np.full(m, 1 / m))
    return Outcomes(jnp.asarray(r), jnp.asarray(c)), Trial(*map(jnp.asarray, seen))


@pytest.mark.parametrize("normalise", ["sample", "matched"])
def test_every_vertex_has_the_value_of_its_decisions(normalise):
    outcomes, trial = noisy()
    settling = scores.ipw(trial)
    curve = value_steps(outcomes, settling).curve(normalise=normalise)
    path = budget_path(outcomes)
    for k in range(0, len(path.lam) + 1, 7):
        revenue, cost = policy_value(path.decisions(k), settling, normalise=normalise)
        # Sums of 60 float64 numbers in another order.
        np.testing.assert_allclose([curve.revenue[k], curve.cost[k]], [revenue, cost], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(curve.predicted[k], path.spend[k], rtol=1e-12)


def first_crossing_by_hand(outcomes, settling, budget, normalise):
    """Algorithm 3 the slow way: lower the multiplier from slope to slope until the estimated spend is over budget."""
    lams = np.unique(budget_path(outcomes).lam)[::-1]
    arms = [hard(outcomes, lams[0] * 2)] + [
        hard(outcomes, (here + below) / 2) for here, below in zip(lams, [*lams[1:], 0.0], strict=True)
    ]
    before = policy_value(arms[0], settling, normalise=normalise)
    for arm in arms[1:]:
        after = policy_value(arm, settling, normalise=normalise)
        if after[1] > budget:
            share = (budget - before[1]) / (after[1] - before[1])
            return float(before[0] + share * (after[0] - before[0]))
        before = after
    return float(before[0])


@pytest.mark.parametrize("normalise", ["sample", "matched"])
@pytest.mark.parametrize("seed", range(3))
def test_the_curve_finds_what_walking_down_the_multipliers_finds(normalise, seed):
    outcomes, trial = noisy(seed=seed)
    settling = scores.aipw(trial, outcomes) if normalise == "sample" else scores.ipw(trial)
    budgets = np.array([0.1, 0.25, 0.5, 5.0])
    expected = [first_crossing_by_hand(outcomes, settling, budget, normalise) for budget in budgets]
    value = eom(outcomes, settling, budgets, normalise=normalise)
    np.testing.assert_allclose(value.revenue, expected, rtol=1e-9)
    np.testing.assert_allclose(value.cost[:3], budgets[:3], rtol=1e-12)


def test_a_row_of_weight_two_is_two_rows():
    outcomes, trial = noisy()
    settling = scores.ipw(trial)
    weights = np.arange(60) % 3
    copies = np.repeat(np.arange(60), weights)
    budgets = np.array([0.1, 0.3, 0.6])
    many, scored = jax.tree.map(lambda s: s[copies], (outcomes, settling))
    matched, predicted = partial(eom, normalise="matched"), partial(eom, spend="predicted")
    for metric in (eom, matched, predicted):
        weighted, copied = metric(outcomes, settling, budgets, weights=weights), metric(many, scored, budgets)
        np.testing.assert_allclose(jnp.stack(weighted[:3]), jnp.stack(copied[:3]), rtol=1e-9)


def test_ties_do_not_depend_on_the_order_of_rows():
    outcomes, trial = noisy()
    outcomes = jax.tree.map(lambda s: jnp.round(s, 1), outcomes)
    settling, order = scores.ipw(trial), np.random.default_rng(1).permutation(60)
    budgets = np.array([0.1, 0.2, 0.3])
    other, others = jax.tree.map(lambda s: s[order], (outcomes, settling))
    shuffled = eom(other, others, budgets)
    np.testing.assert_allclose(eom(outcomes, settling, budgets).revenue, shuffled.revenue, rtol=1e-9)


def test_predicted_spend_meets_the_budget_where_it_is_predicted():
    outcomes, _ = noisy()
    dear = Outcomes(outcomes.r, 2 * outcomes.c)
    by_truth = eom(dear, scores.truth(outcomes), np.array([0.3]), spend="predicted")
    # Costs predicted twice too high: half of the budget is spent.
    np.testing.assert_allclose(by_truth.cost, [0.15], rtol=1e-9)
    np.testing.assert_allclose(by_truth.revenue, budget_path(outcomes).at(np.array([0.15])).value, rtol=1e-9)


def test_compiled_paths_agree_with_those_of_numpy():
    outcomes, trial = noisy()
    settling = scores.ipw(trial)
    budgets = jnp.array([0.1, 0.3, 9.0])
    inside = jax.jit(lambda o, s: eom(o, s, budgets))(outcomes, settling)
    for one, other in zip(inside, eom(outcomes, settling, budgets), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def test_bad_surfaces_are_named():
    outcomes, trial = noisy()
    settling = scores.ipw(trial)
    with pytest.raises(InputError, match=r"scores: found shape \(59, 4\), expected \(60, 4\)"):
        value_steps(outcomes, Scores(*(s[:59] for s in settling)))
    with pytest.raises(InputError, match="scores, cost of unit 3 at treatment 2: found nan"):
        value_steps(outcomes, settling._replace(c=settling.c.at[3, 2].set(jnp.nan)))
    with pytest.raises(
        InputError, match=r"scores, weight of unit 5 at treatment 0: found -1.0, expected .* at least 0"
    ):
        value_steps(outcomes, settling._replace(w=settling.w.at[5, 0].set(-1)))
