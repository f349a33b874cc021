from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError, Outcomes
from dfcl_jax.solvers import allocate, budget_path, hard, lams_for_budgets, largest_multiplier, multiplier, soft
from dfcl_jax.types import pick


def random_outcomes(seed: int, n: int, m: int, *, free_control: bool = True) -> Outcomes:
    rng = np.random.default_rng(seed)
    r = rng.normal(1, 1, (n, m))
    c = np.sort(rng.uniform(0, 1, (n, m)), axis=1) if seed % 2 else rng.uniform(0, 1, (n, m))
    if free_control:
        c[:, 0] = 0
    return Outcomes(jnp.asarray(r), jnp.asarray(c))


# Most tests are of this many people and treatments, for whom the plan is compiled once.
N, M = 80, 4


def best_integer_value(outcomes: Outcomes, budget: float) -> float:
    r, c = np.asarray(outcomes.r), np.asarray(outcomes.c)
    n, m = r.shape
    plans = np.array(list(product(range(m), repeat=n)))
    spend, value = (surface[np.arange(n), plans].mean(axis=1) for surface in (c, r))
    return value[spend <= budget].max()


def example(r, c) -> Outcomes:
    """Five people and three treatments, as where plans are enumerated; those that are not given bring nothing."""
    filled = np.zeros((5, 3)), np.ones((5, 3))
    for surface, given in zip(filled, (r, c), strict=True):
        surface[: len(given), : len(given[0])] = given
    filled[1][len(c) :, 0] = 0
    return Outcomes(*(jnp.asarray(surface) for surface in filled))


def rows_of(outcomes: Outcomes, rows) -> Outcomes:
    return Outcomes(*(jnp.asarray(np.asarray(surface)[rows]) for surface in outcomes))


def largest_step(outcomes: Outcomes) -> float:
    """Of one person's revenue, per person."""
    return float(np.ptp(np.asarray(outcomes.r), axis=1).max()) / len(outcomes.r)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("budget", [0.0, 0.1, 0.3, 0.6, 2.0])
def test_plan_is_feasible_and_within_one_step_of_the_best_integer_plan(seed, budget):
    outcomes = random_outcomes(seed, 5, 3)
    plan = allocate(outcomes, budget)
    best = best_integer_value(outcomes, budget)
    assert plan.spend <= budget
    # Fd <= F <= Fd + max step, as the dual's facts have it (rounding: 1e-12).
    assert plan.value <= best + 1e-12
    assert plan.value >= best - largest_step(outcomes) - 1e-12


@pytest.mark.parametrize("seed", range(4))
def test_plan_at_a_vertex_of_the_path_is_the_best_integer_plan_and_has_no_gap(seed):
    outcomes = random_outcomes(seed, 5, 3)
    for spent in np.asarray(budget_path(outcomes).spend[1:]):
        plan = allocate(outcomes, spent * (1 + 1e-12))  # the budget as a sum in another order
        assert float(plan.value) == pytest.approx(best_integer_value(outcomes, spent), rel=1e-12)
        assert float(plan.gap) == pytest.approx(0, abs=1e-11)


def test_known_answer():
    # Slopes are 4, 3 and 2 revenue a unit of cost; 3 of money buy the first, and the multiplier stops above 3.
    outcomes = example([[0, 8], [0, 6], [0, 4]], [[0, 2]] * 3)
    plan = allocate(outcomes, 3 / 5)
    assert plan.arm.tolist() == [1, 0, 0, 0, 0]
    assert float(plan.lam) == pytest.approx(3.0, rel=1e-12)
    assert float(plan.spend) == pytest.approx(2 / 5)
    assert float(plan.value) == pytest.approx(8 / 5)


def test_a_budget_above_the_largest_useful_spend_gives_everybody_their_best_treatment():
    outcomes = random_outcomes(1, N, M)
    plan = allocate(outcomes, 100.0)
    assert float(plan.lam) == 0
    np.testing.assert_array_equal(plan.arm, np.argmax(outcomes.r, axis=1))


plans_of_budgets = jax.jit(jax.vmap(allocate, in_axes=(None, 0)))


@pytest.mark.parametrize("seed", range(4))
def test_spend_and_multiplier_fall_against_each_other(seed):
    outcomes = random_outcomes(seed, N, M)
    budgets = np.linspace(0, 1, 25)
    plans = plans_of_budgets(outcomes, budgets)
    assert (np.diff(plans.lam) <= 0).all()
    assert (np.diff(plans.spend) >= 0).all()
    assert (np.diff(plans.value) >= 0).all()
    assert (plans.spend <= budgets).all()


@pytest.mark.parametrize("seed", range(4))
def test_multiplier_is_the_least_that_keeps_to_the_budget(seed):
    outcomes = random_outcomes(seed, N, M)
    lam = multiplier(outcomes, 0.2)
    # At the tie itself two scores round apart by a few units in the last place.
    assert pick(outcomes.c, hard(outcomes, lam * (1 + 1e-12))).mean() <= 0.2
    assert pick(outcomes.c, hard(outcomes, lam * (1 - 1e-12))).mean() > 0.2


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_units_of_money_do_not_matter(scale):
    outcomes = random_outcomes(3, N, M)
    plan = allocate(outcomes, 0.2)
    scaled = allocate(Outcomes(outcomes.r * scale, outcomes.c * scale), 0.2 * scale)
    np.testing.assert_array_equal(plan.arm, scaled.arm)
    assert float(scaled.lam) == pytest.approx(float(plan.lam), rel=1e-9)


def test_order_of_people_does_not_matter():
    outcomes = random_outcomes(2, N, M)
    order = np.random.default_rng(0).permutation(N)
    shuffled = allocate(rows_of(outcomes, order), 0.2)
    np.testing.assert_array_equal(np.asarray(allocate(outcomes, 0.2).arm)[order], shuffled.arm)


def test_no_arm_need_be_free():
    outcomes = random_outcomes(4, N, M, free_control=False)
    cheapest = float(outcomes.c.min(axis=1).mean())
    plan = allocate(outcomes, cheapest + 1e-9)
    np.testing.assert_array_equal(plan.arm, np.argmin(outcomes.c, axis=1))


def test_everybody_takes_the_cheapest_treatment_at_the_largest_multiplier():
    outcomes = random_outcomes(6, 1000, 5, free_control=False)
    np.testing.assert_array_equal(hard(outcomes, largest_multiplier(outcomes)), np.argmin(outcomes.c, axis=1))


def test_jit_vmap_and_float32_keep_to_the_budget():
    outcomes = random_outcomes(5, 20_000, 5)
    single = Outcomes(outcomes.r.astype(jnp.float32), outcomes.c.astype(jnp.float32))
    plan = jax.jit(allocate)(single, jnp.float32(0.1))
    exact = allocate(outcomes, 0.1)
    # A mean of 20,000 float32 numbers, summed by pairs, is exact to a few units of 6e-8.
    assert np.asarray(outcomes.c)[np.arange(20_000), plan.arm].mean() <= 0.1 * (1 + 1e-6)
    assert float(plan.value) == pytest.approx(float(exact.value), rel=1e-4)


@pytest.mark.parametrize("seed", range(10))
def test_with_many_people_of_few_kinds_the_plan_is_still_within_one_step_of_the_bound(seed):
    outcomes = rows_of(random_outcomes(seed, 3, M), np.random.default_rng(seed).integers(0, 3, N))
    r, c = (np.asarray(surface) for surface in outcomes)
    for budget in (0.05, 0.15, 0.3):
        plan = allocate(outcomes, budget)
        lam = float(plan.lam)
        bound = lam * budget + (r - lam * c).max(axis=1).mean()
        assert plan.spend <= budget
        assert plan.value >= bound - largest_step(outcomes) - 1e-12  # rounding


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(12))
def test_bisection_and_path_give_the_same_plan(seed):
    rng = np.random.default_rng(seed)
    whole = Outcomes(*(jnp.asarray(rng.integers(0, 6, (N, M)), jnp.float64) for _ in range(2)))
    for outcomes in (whole, random_outcomes(seed, N, M)):
        weights = rng.poisson(1.0, N) if seed % 3 == 0 else None
        spend = np.asarray(budget_path(outcomes, weights=weights).spend)
        # At vertices, where a total that is rounded may be on either side, and between them.
        vertices = spend[[0, len(spend) // 5, len(spend) // 2, -1]]
        for budget in (*vertices, *(spend[0] + np.array([0.1, 0.45, 0.9]) * np.ptp(spend))):
            for top_ups in (0, 64):
                plans = [
                    allocate(outcomes, float(budget), weights=weights, method=method, top_ups=top_ups)
                    for method in ("bisect", "path")
                ]
                np.testing.assert_array_equal(plans[0].arm, plans[1].arm)
                assert float(plans[0].lam) == float(plans[1].lam)


@pytest.mark.parametrize("method", ["bisect", "path"])
def test_of_one_persons_steps_that_tie_those_that_the_budget_pays_for_are_taken(method):
    # Both steps of either person have slope 2; of the budget of 9 the second person's first costs 3 of the 4 left.
    plan = allocate(example([[0, 6, 10]] * 2, [[0, 3, 5]] * 2), 9 / 5, method=method, top_ups=0)
    assert plan.arm.tolist() == [2, 1, 0, 0, 0]
    assert float(plan.lam) == 2


@pytest.mark.parametrize("seed", range(12))
def test_gap_is_at_most_the_largest_step(seed):
    rng = np.random.default_rng(seed)
    outcomes = Outcomes(*(jnp.asarray(rng.integers(-2, 6, (N, M)), jnp.float64) for _ in range(2)))
    cheapest, step = np.asarray(outcomes.c).min(axis=1).mean(), largest_step(outcomes)
    for budget in cheapest + np.array([0, 0.05, 0.2, 0.7, 3]):
        if budget < 0:
            continue
        for top_ups in (0, 64):
            plan = allocate(outcomes, budget, top_ups=top_ups)
            assert plan.spend <= budget
            assert 0 <= plan.gap <= step + 1e-12  # rounding


def test_topping_up_spends_what_a_dear_step_leaves():
    # The second step costs 5 of the 4 that are left; the third, less steep, costs 3 of them.
    outcomes = example([[0, 4], [0, 10], [0, 3]], [[0, 1], [0, 5], [0, 3]])
    assert allocate(outcomes, 5 / 5, top_ups=0).arm.tolist() == [1, 0, 0, 0, 0]
    plan = allocate(outcomes, 5 / 5)
    assert plan.arm.tolist() == [1, 0, 1, 0, 0]
    assert float(plan.value) == pytest.approx(7 / 5)
    assert float(plan.bound) == pytest.approx((4 + 2 * 4) / 5)


def test_rows_of_weight_zero_take_no_part_in_topping_up():
    # More of them than steps are tried.
    r, c = np.array([8.0, 10, *[3.5] * (N - 3), 3]), np.array([1.0, 5, *[3] * (N - 3), 3])
    weights = np.array([1.0, 1, *[0] * (N - 3), 1])
    outcomes = Outcomes(*(jnp.asarray(np.outer(column, [0, 1, 0, 1])) for column in (r, c)))
    plan = allocate(outcomes, 4 / 3 + 1e-6, weights=weights)
    assert float(plan.value) == pytest.approx(11 / 3)


def test_bound_in_float32_survives_costs_that_hardly_differ():
    rng = np.random.default_rng(0)
    r, c = rng.random((1000, 4), np.float32), 100 + rng.random((1000, 4), np.float32)
    plan = allocate(Outcomes(jnp.asarray(r), jnp.asarray(c)), 100.2)
    double = Outcomes(jnp.asarray(r, jnp.float64), jnp.asarray(c, jnp.float64))
    best = float(budget_path(double).at(float(np.float32(100.2))).value)
    # A float32 lam is off by 6e-8 of itself, and each cost by none: the bound is off by the rounding of a value.
    assert best * (1 - 1e-6) <= float(plan.bound) <= best * (1 + 1e-5)
    assert 0 <= plan.gap <= 1e-3


def test_whole_numbers_are_computed_with_as_floats():
    surface = jnp.asarray(np.tile([0, 1, 0, 1], (N, 1)))
    whole = Outcomes(surface, surface)
    assert float(allocate(whole, 0.5).value) == 0.5
    assert float(multiplier(whole, 0.5)) == 1


def test_a_person_of_weight_two_is_that_person_twice():
    outcomes = random_outcomes(3, N, M)
    # As many of weight 0, who are nobody: there are again N people, and the plan is the one program.
    weights = np.tile([2.0, 1.0, 0.0, 1.0], N // 4)
    plan = allocate(outcomes, 0.2, weights=weights)
    doubled = allocate(rows_of(outcomes, np.arange(N).repeat(weights.astype(int))), 0.2)
    assert float(plan.lam) == float(doubled.lam)
    assert float(plan.bound) == pytest.approx(float(doubled.bound), rel=1e-12)
    spent = (weights * np.asarray(outcomes.c)[np.arange(N), plan.arm]).sum() / weights.sum()
    assert float(plan.spend) == pytest.approx(float(spent), rel=1e-12)
    assert float(plan.spend) <= 0.2


def test_bootstrap_replicates_are_a_vmap():
    outcomes = random_outcomes(4, N, M)
    weights = np.random.default_rng(0).poisson(1.0, (4, N)).astype(float)
    plans = jax.jit(jax.vmap(lambda w: allocate(outcomes, 0.4, weights=w)))(weights)
    for arm, w in zip(np.asarray(plans.arm), weights, strict=True):
        np.testing.assert_array_equal(arm, allocate(outcomes, 0.4, weights=w).arm)


def test_plans_of_many_budgets_share_their_hulls():
    outcomes = random_outcomes(4, N, M)
    many = jax.make_jaxpr(jax.vmap(allocate, in_axes=(None, 0)))(outcomes, jnp.linspace(0.1, 0.5, 7))
    calls = [call for call in many.eqns if call.params.get("name") == "upper_hull"]
    # Arms and costs [m, n], slopes [m-1, n]: none has an axis of budgets.
    assert [[part.aval.shape for part in call.outvars] for call in calls] == [[(M, N), (M, N), (M - 1, N)]]


def test_a_budget_between_two_floats_is_rounded_down():
    step = np.tile(np.array([0, 1, 0, 0], np.float32), (1000, 1))
    outcomes = Outcomes(jnp.asarray(step), jnp.asarray(step * np.float32(0.1)))
    # float32(0.1) is above 0.1: at a budget of 0.1 the last person is not paid for.
    assert float(allocate(outcomes, 0.1).value) == pytest.approx(0.999)
    assert float(allocate(outcomes, float(np.float32(0.1))).value) == 1


def test_identical_people_share_the_budget():
    surface = jnp.asarray(np.tile([0.0, 1.0, 0.0, 1.0], (N, 1)))
    plan = allocate(Outcomes(surface, surface), 0.5)
    assert float(plan.spend) == 0.5
    assert float(plan.value) == 0.5


def test_lams_for_budgets_are_the_multipliers_of_the_plans():
    outcomes = random_outcomes(7, N, M)
    budgets = np.array([0.05, 0.1, 0.4])
    expected = [float(allocate(outcomes, b).lam) for b in budgets]
    np.testing.assert_array_equal(lams_for_budgets(outcomes, budgets), expected)


def test_a_low_temperature_gives_the_hard_decision_and_a_high_one_the_uniform():
    outcomes = random_outcomes(8, 100, 5)
    np.testing.assert_allclose(soft(outcomes, 0.5, 1e-5), jax.nn.one_hot(hard(outcomes, 0.5), 5), atol=1e-6)
    np.testing.assert_allclose(soft(outcomes, 0.5, 1e9), np.full((100, 5), 0.2), atol=1e-8)


@pytest.mark.parametrize(
    ("outcomes", "budget", "message"),
    [
        (random_outcomes(0, 5, 3), -1.0, "budget: found -1.0"),
        (random_outcomes(0, 5, 3), float("nan"), "budget: found nan"),
        (random_outcomes(0, 5, 3), float("inf"), "budget: found inf"),
        (Outcomes(jnp.ones((5, 3)), jnp.ones((5, 3))), 0.5, "budget: found 0.5, expected at least 1"),
        (Outcomes(jnp.ones((5, 3)), jnp.ones((5, 2))), 0.5, r"outcomes: found \(5, 3\) and \(5, 2\)"),
        (
            Outcomes(jnp.ones((5, 3)).at[2, 1].set(jnp.nan), jnp.ones((5, 3))),
            2.0,
            "outcomes, revenue of unit 2 at treatment 1: found nan",
        ),
    ],
)
def test_bad_input_is_named(outcomes, budget, message):
    with pytest.raises(InputError, match=message):
        allocate(outcomes, budget)
    if "budget" in message and "expected" not in message:
        with pytest.raises(InputError, match=message):
            lams_for_budgets(outcomes, jnp.array([2.0, budget]))
