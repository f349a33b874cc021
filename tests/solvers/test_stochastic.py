import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError, Outcomes
from dfcl_jax.solvers import allocate, budget_path, commit, schedule

BUDGETS, PROBABILITY = np.array([0.5, 0.15, 0.3]), np.array([0.2, 0.5, 0.3])


@pytest.fixture
def outcomes():
    rng = np.random.default_rng(0)
    r, c = rng.normal(1, 1, (400, 4)), rng.uniform(0, 1, (400, 4))
    c[:, 0] = 0
    return Outcomes(jnp.asarray(r), jnp.asarray(c))


def test_schedule_is_each_scenarios_own_plan(outcomes):
    result = schedule(outcomes, BUDGETS, probability=PROBABILITY)
    for k, budget in enumerate(BUDGETS):
        plan = allocate(outcomes, budget)
        np.testing.assert_array_equal(result.plans.arm[k], plan.arm)
        assert float(result.plans.lam[k]) == float(plan.lam)
    assert float(result.value) == pytest.approx(float(PROBABILITY @ result.plans.value), rel=1e-12)
    assert result.value <= result.bound


def expected_gain(outcomes: Outcomes, spend: np.ndarray, price: float) -> np.ndarray:
    over = np.maximum(spend[:, None] - BUDGETS, 0) @ PROBABILITY
    return np.asarray(budget_path(outcomes).at(spend).value) - price * over


@pytest.mark.parametrize("price", [0.0, 0.3, 1.0, 2.0, 3.0, 5.0, 20.0])
def test_commitment_is_the_best_of_all_spends(outcomes, price):
    result = commit(outcomes, BUDGETS, price=price, probability=PROBABILITY)
    every = expected_gain(outcomes, np.linspace(0, float(budget_path(outcomes).spend[-1]), 4001), price)
    step = float((outcomes.r.max(axis=1) - outcomes.r.min(axis=1)).max()) / 400
    # No grid point is better, and the integer plan is within one step of it.
    at = expected_gain(outcomes, np.array([float(min(result.budget, budget_path(outcomes).spend[-1]))]), price)[0]
    assert at >= every.max() - 1e-12
    assert float(result.value) >= at - step
    assert float(result.overspend) == pytest.approx(np.maximum(float(result.plan.spend) - BUDGETS, 0) @ PROBABILITY)


def test_a_price_beyond_all_slopes_keeps_to_the_smallest_budget_and_no_price_to_none(outcomes):
    assert float(commit(outcomes, BUDGETS, price=np.inf, probability=PROBABILITY).budget) == 0.15
    assert float(commit(outcomes, BUDGETS, price=np.inf, probability=PROBABILITY).overspend) == 0
    assert float(commit(outcomes, BUDGETS, price=0.0).plan.value) == pytest.approx(float(outcomes.r.max(axis=1).mean()))


def test_a_certain_budget_is_just_that_budget(outcomes):
    result = commit(outcomes, np.array([0.3]), price=100.0)
    np.testing.assert_array_equal(result.plan.arm, allocate(outcomes, 0.3).arm)


def test_seeing_the_budget_first_is_worth_something(outcomes):
    first, blind = schedule(outcomes, BUDGETS), commit(outcomes, BUDGETS, price=3.0)
    assert first.value > blind.value


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"probability": [0.5, 0.5]}, r"probability: found shape \(2,\), expected one for each of 3"),
        ({"probability": [0.5, 0.6, 0.2]}, "probability: found .* that sum to 1"),
        ({"price": -1.0}, "price: found -1.0"),
    ],
)
def test_bad_input_is_named(outcomes, options, message):
    with pytest.raises(InputError, match=message):
        commit(outcomes, BUDGETS, **({"price": 1.0} | options))
