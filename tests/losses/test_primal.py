import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError, Outcomes, Trial, scores
from dfcl_jax.losses import (
    dual_finite_difference_loss,
    lams_at_budgets,
    policy_learning_loss,
    primal_finite_difference_loss,
    primal_policy_learning_loss,
)
from dfcl_jax.solvers import hard, lams_for_budgets
from dfcl_jax.types import pick

N, M = 300, 3
BUDGETS = jnp.array([0.1, 0.25, 0.4])


def marketing_case(seed: int) -> tuple[Outcomes, Outcomes, Trial]:
    """Predictions, the truth they err from, and a trial of it: dearer treatments bring more."""
    keys = jax.random.split(jax.random.key(seed), 5)
    cost = jnp.cumsum(jax.random.uniform(keys[0], (N, M)), axis=1) * jnp.array([[0.0, 0.4, 0.4]])
    revenue = 1 + cost * (0.5 + jax.random.uniform(keys[1], (N, 1))) ** 2 / (1 + cost)
    hat = Outcomes(revenue + 0.1 * jax.random.normal(keys[2], (N, M)), cost * 1.2)
    t = jax.random.choice(keys[3], M, (N,))
    rows = jnp.arange(N)
    trial = Trial(jnp.zeros((N, 1)), t, revenue[rows, t], cost[rows, t], jnp.full(M, 1 / M))
    return hat, Outcomes(revenue, cost), trial


HAT, TRUTH, TRIAL = marketing_case(0)
IPW = scores.ipw(TRIAL)


@pytest.mark.parametrize("spend", ["sample", "matched", "predicted"])
def test_the_spend_at_the_multiplier_is_within_the_budget_and_just_below_it_is_not(spend):
    def estimate(lam):
        arm = hard(HAT, lam)
        decided = np.arange(N), np.asarray(arm)
        if spend == "predicted":
            return np.asarray(HAT.c)[decided].mean()
        size = np.asarray(IPW.w)[decided].sum() if spend == "matched" else N
        return np.asarray(IPW.c)[decided].sum() / size

    lams = lams_at_budgets(HAT, IPW, BUDGETS, spend=spend)
    assert (np.diff(lams) <= 0).all()
    assert (np.asarray(lams) > 0).all()
    for lam, budget in zip(lams, BUDGETS, strict=True):
        # The multiplier sits at a tie: a hair to each side of it.
        assert estimate(float(lam) * (1 + 1e-9)) <= float(budget) < estimate(float(lam) * (1 - 1e-9))


def test_the_truths_spend_gives_the_multipliers_of_the_solver():
    # The slope of a step, and the score at which it ties: one number, rounded twice.
    found = lams_at_budgets(HAT, IPW, BUDGETS, spend="predicted")
    np.testing.assert_allclose(found, lams_for_budgets(HAT, BUDGETS), rtol=1e-12)
    found = lams_at_budgets(TRUTH, scores.truth(TRUTH), BUDGETS)
    np.testing.assert_allclose(found, lams_for_budgets(TRUTH, BUDGETS), rtol=1e-12)


@pytest.mark.parametrize("budget", [-0.1, float("nan"), float("inf")])
def test_a_budget_that_is_none_is_named(budget):
    for function in (lams_at_budgets, primal_policy_learning_loss, primal_finite_difference_loss):
        with pytest.raises(InputError, match=f"budget: found {budget}"):
            function(HAT, IPW, jnp.array([0.1, budget]))


def test_where_budgets_cannot_be_seen_none_gives_no_multiplier():
    lams = jax.jit(lambda budgets: lams_at_budgets(HAT, IPW, budgets))(jnp.array([0.1, jnp.nan]))
    np.testing.assert_array_equal(jnp.isnan(lams), [False, True])


def test_priced_losses_are_the_dual_ones_at_the_multipliers_of_the_budgets():
    lams = lams_at_budgets(HAT, IPW, BUDGETS)
    weights = jnp.array([1.0, 2.0, 0.5])
    pairs = [
        (
            lambda o: primal_policy_learning_loss(o, IPW, BUDGETS, temperature=0.2, priced=True, weights=weights),
            lambda o: policy_learning_loss(o, IPW, lams, temperature=0.2, weights=weights),
        ),
        (
            lambda o: primal_finite_difference_loss(o, IPW, BUDGETS, priced=True, weights=weights),
            lambda o: dual_finite_difference_loss(o, IPW, lams, weights=weights),
        ),
    ]
    for primal, dual in pairs:
        ours, expected = (jax.jit(jax.value_and_grad(loss))(HAT) for loss in (primal, dual))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-18), ours, expected)


def test_unpriced_policy_learning_is_the_published_formula():
    lams = lams_at_budgets(HAT, IPW, BUDGETS)

    def published(o):
        total = 0.0
        for lam in lams:
            z = jax.nn.softmax((o.r - lam * o.c) / 0.3, axis=1)
            total -= (pick(z, TRIAL.t) * TRIAL.r * M).mean()
        return total

    ours = jax.jit(jax.value_and_grad(lambda o: primal_policy_learning_loss(o, IPW, BUDGETS, temperature=0.3)))(HAT)
    # Float64 sums in another order.
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-16),
        ours,
        jax.jit(jax.value_and_grad(published))(HAT),
    )


def test_unpriced_finite_differences_have_minus_the_estimated_revenue_for_a_value():
    lams = lams_at_budgets(HAT, IPW, BUDGETS)
    expected = -sum(float(pick(IPW.r, hard(HAT, lam)).mean()) for lam in lams)
    # At the tie itself one person may be decided either way: a weight of 3 over 300 people and 3 budgets.
    assert float(primal_finite_difference_loss(HAT, IPW, BUDGETS)) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("loss", [primal_policy_learning_loss, primal_finite_difference_loss])
def test_steps_along_the_gradient_bring_revenue_that_the_price_pays_for(loss):
    """On the truth, priced: the true dual value at the budget's multiplier rises from bad predictions."""
    surfaces = scores.truth(TRUTH)
    start = Outcomes(HAT.r[::-1], HAT.c)
    temperature = 0.1
    dual = np.asarray(TRUTH.r) - float(lams_at_budgets(TRUTH, surfaces, BUDGETS)[1]) * np.asarray(TRUTH.c)

    def dual_value(o):
        arm = hard(o, lams_at_budgets(o, surfaces, BUDGETS)[1])
        return dual[np.arange(N), arm].mean()

    def step(o, _):
        options = {"temperature": temperature, "priced": True}
        gradient = jax.grad(lambda o: loss(o, surfaces, BUDGETS, **options))(o)
        return o._replace(r=o.r - 2.0 * gradient.r), None

    end = jax.jit(lambda o: jax.lax.scan(step, o, length=100)[0])(start)
    # A third of the way to the optimum at least.
    assert dual_value(end) - dual_value(start) > (dual.max(axis=1).mean() - dual_value(start)) / 3
