from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError, Outcomes, Trial, scores
from dfcl_jax.data import simulate
from dfcl_jax.metrics import eom, policy_value
from dfcl_jax.solvers import budget_path

TRIAL = Trial(
    x=jnp.zeros((4, 1)),
    t=jnp.array([0, 1, 1, 0]),
    r=jnp.array([1.0, 2.0, 4.0, 8.0]),
    c=jnp.array([0.0, 1.0, 2.0, 0.0]),
    p=jnp.array([0.25, 0.75]),
)


def test_both_normalisations_by_hand():
    arm = jnp.array([0, 1, 0, 1])  # the first two people match
    surfaces = scores.ipw(TRIAL)
    revenue, cost = policy_value(arm, surfaces)
    assert float(revenue) == pytest.approx((1 / 0.25 + 2 / 0.75) / 4)
    assert float(cost) == pytest.approx((1 / 0.75) / 4)
    revenue, cost = policy_value(arm, surfaces, normalise="matched")
    weight = 1 / 0.25 + 1 / 0.75
    assert float(revenue) == pytest.approx((1 / 0.25 + 2 / 0.75) / weight)
    assert float(cost) == pytest.approx((1 / 0.75) / weight)


def test_a_policy_that_matches_nobody_has_no_value():
    revenue, cost = policy_value(1 - TRIAL.t, scores.ipw(TRIAL), normalise="matched")
    assert float(revenue) == float(cost) == 0


def test_stratified_value_is_each_arms_own_mean_times_its_share():
    """Half of the people are to get each arm; of the first, who were given arm 0, two had it; of the others, one."""
    trial = Trial(
        jnp.zeros((6, 1)), jnp.array([0, 0, 1, 1, 0, 0]), jnp.arange(1.0, 7), jnp.arange(6.0), jnp.array([0.6, 0.4])
    )
    revenue, cost = policy_value(np.array([0, 0, 0, 1, 1, 1]), scores.ipw(trial), normalise="stratified")
    assert float(revenue) == pytest.approx((1 + 2) / 2 / 2 + 4 / 2, rel=1e-12)
    assert float(cost) == pytest.approx((0 + 1) / 2 / 2 + 3 / 2, rel=1e-12)
    nobody, _ = policy_value(
        np.array([0, 0, 1, 0, 1, 1]), scores.ipw(trial._replace(t=jnp.zeros(6, int))), normalise="stratified"
    )
    assert np.isnan(nobody)


def test_a_stratified_value_is_less_noisy_where_base_demand_is_large():
    """Everybody brings 10 and the arm's effect, so that Horvitz-Thompson is as noisy as the number that matches.

    Of 400 trials: the mean is right within four standard errors, and the spread is below half of HT's (in theory
    .1 over 10 sqrt((1 - p) / p), for the arm's effect is the same for all).
    """
    rng = np.random.default_rng(0)
    arm, effect, n = np.arange(200) % 2, np.array([0.0, 1.0]), 200
    found = {"sample": [], "stratified": []}
    values = {
        "sample": jax.jit(policy_value),
        "stratified": jax.jit(partial(policy_value, normalise="stratified")),
    }
    for _ in range(400):
        t = rng.integers(0, 2, n)
        r = 10 + effect[t] + 0.1 * rng.normal(size=n)
        trial = Trial(jnp.zeros((n, 1)), jnp.asarray(t), jnp.asarray(r), jnp.zeros(n), jnp.full(2, 0.5))
        for how in found:
            found[how].append(float(values[how](arm, scores.ipw(trial))[0]))
    own = np.array(found["stratified"])
    assert abs(own.mean() - 10.5) < 4 * own.std() / 20
    assert own.std() < 0.5 * np.std(found["sample"])


def test_horvitz_thompson_is_unbiased_for_the_true_policy_value():
    n, m, repeats = 40, 3, 4000
    truth = Outcomes(*(jax.random.normal(jax.random.key(k), (n, m)) for k in (0, 1)))
    arm = jax.random.randint(jax.random.key(2), (n,), 0, m)
    p = jnp.array([0.2, 0.3, 0.5])
    true_revenue, true_cost = policy_value(arm, scores.truth(truth))
    rows = jnp.arange(n)

    def estimate(key):
        t = jax.random.choice(key, m, (n,), p=p)
        trial = Trial(jnp.zeros((n, 1)), t, truth.r[rows, t], truth.c[rows, t], p)
        return jnp.stack(policy_value(arm, scores.ipw(trial)))

    estimates = np.asarray(jax.vmap(estimate)(jax.random.split(jax.random.key(3), repeats)))
    error = estimates.mean(axis=0) - np.array([true_revenue, true_cost])
    # Four standard errors of the mean of the repeats; the key is fixed.
    assert (np.abs(error) < 4 * estimates.std(axis=0) / np.sqrt(repeats)).all()


def random_truth(n: int = 300, m: int = 4) -> Outcomes:
    rng = np.random.default_rng(0)
    c = np.sort(rng.uniform(0, 1, (n, m)), axis=1)
    c[:, 0] = 0
    return Outcomes(jnp.asarray(rng.uniform(0, 1, (n, m)) + c), jnp.asarray(c))


BUDGETS = jnp.array([0.05, 0.2, 0.4, 2.0])


def test_on_the_truth_the_oracle_has_the_value_of_the_budget_path():
    truth = random_truth()
    value, point = eom(truth, scores.truth(truth), BUDGETS), budget_path(truth).at(BUDGETS)
    # The slope of a step, and the score at which it ties: one number, rounded twice.
    np.testing.assert_allclose(value.lam, point.lam, rtol=1e-12)
    np.testing.assert_allclose(value.cost, point.spend, rtol=1e-12)
    np.testing.assert_allclose(value.revenue, point.value, rtol=1e-9)
    assert (value.mixed == 0).all()


@pytest.mark.thorough
@pytest.mark.parametrize("normalise", ["sample", "matched"])
def test_the_estimated_spend_meets_every_budget(normalise):
    simulation = simulate.marketing(jax.random.key(0), 5000)
    budgets = jnp.array([0.02, 0.05, 0.1])
    value = eom(simulation.truth, scores.ipw(simulation.trial), budgets, normalise=normalise)
    assert (value.cost <= budgets + 1e-12).all()
    assert (value.cost > budgets - 1e-12).all()


def test_a_policy_that_overspends_is_mixed_with_the_cheapest_treatment():
    n = 200
    truth = Outcomes(jnp.tile(jnp.array([[1.0, 2.0]]), (n, 1)), jnp.tile(jnp.array([[0.0, 1.0]]), (n, 1)))
    # Predicted costs the wrong way round: at every multiplier this policy treats everybody.
    wrong = Outcomes(truth.r, truth.c[:, ::-1])
    value = eom(wrong, scores.truth(truth), jnp.array([0.25]))
    assert float(value.mixed[0]) == pytest.approx(0.75)
    assert float(value.cost[0]) == pytest.approx(0.25)
    assert float(value.revenue[0]) == pytest.approx(0.75 * 1 + 0.25 * 2)


def test_a_budget_that_nothing_meets_has_no_value():
    truth = random_truth()
    dear = Outcomes(truth.r, truth.c + 1)
    value = eom(dear, scores.truth(dear), jnp.array([0.5, 1.5]))
    assert np.isnan(value.revenue).tolist() == [True, False]
    assert np.isnan(value.cost).tolist() == [True, False]


def test_no_policy_is_worth_more_than_the_oracle():
    truth = random_truth()
    oracle = eom(truth, scores.truth(truth), BUDGETS).revenue
    step = float((truth.r.max(axis=1) - truth.r.min(axis=1)).max()) / 300
    for seed in range(5):
        noise = jax.random.normal(jax.random.key(seed), truth.r.shape)
        value = eom(Outcomes(truth.r + noise, truth.c), scores.truth(truth), BUDGETS)
        # The oracle's plan is within one person's step of the best.
        assert (value.revenue <= oracle + step).all()


def test_scores_that_differ_by_a_base_of_revenue_rank_policies_alike():
    truth = random_truth()
    base = jax.random.normal(jax.random.key(0), (300, 1))
    shifted = scores.truth(truth)._replace(r=truth.r - base)
    one, other = eom(truth, scores.truth(truth), BUDGETS), eom(truth, shifted, BUDGETS)
    np.testing.assert_allclose(one.revenue - other.revenue, np.full(4, base.mean()), rtol=1e-10)


def test_works_under_jit_and_vmap():
    truth = random_truth()
    many = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), truth)
    together = jax.jit(jax.vmap(lambda o: eom(o, scores.truth(o), BUDGETS).revenue))(many)
    np.testing.assert_allclose(together[1], eom(truth, scores.truth(truth), BUDGETS).revenue, rtol=1e-12)


def test_people_who_are_tied_share_what_the_budget_pays_for():
    n = 10
    alike = Outcomes(jnp.tile(jnp.array([[0.0, 1.0]]), (n, 1)), jnp.tile(jnp.array([[0.0, 1.0]]), (n, 1)))
    value = eom(alike, scores.truth(alike), jnp.array([0.3, 0.5, 0.9]))
    np.testing.assert_allclose(value.revenue, [0.3, 0.5, 0.9], rtol=1e-12)
    np.testing.assert_allclose(value.dearer, [0.3, 0.5, 0.9], rtol=1e-12)
    assert (value.mixed == 0).all()


@pytest.mark.parametrize("budget", [-0.1, float("nan")])
def test_bad_budgets_are_named(budget):
    truth = random_truth()
    with pytest.raises(InputError, match=f"budget: found {budget}"):
        eom(truth, scores.truth(truth), jnp.array([0.1, budget]))
