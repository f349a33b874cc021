from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.sparse import csr_array, eye_array, kron, vstack

from dfcl_jax import InputError, Outcomes
from dfcl_jax.solvers import allocate
from dfcl_jax.solvers.constrained import allocate_within


def smooth(seed: int, n: int, m: int) -> Outcomes:
    """Costs that rise from a free control, returns that diminish."""
    rng = np.random.default_rng(seed)
    c = np.sort(rng.uniform(0, 1, (n, m)), axis=1)
    c[:, 0] = 0
    return Outcomes(
        jnp.asarray(rng.lognormal(0, 1, (n, 1)) * np.sqrt(c) * rng.uniform(0.5, 1.5, (n, m))), jnp.asarray(c)
    )


def whole(seed: int, n: int, m: int) -> Outcomes:
    """Whole numbers: ties everywhere, no treatment is free."""
    rng = np.random.default_rng(seed)
    return Outcomes(*(jnp.asarray(rng.integers(low, 6, (n, m)), jnp.float64) for low in (-2, 0)))


def limits_around(outcomes: Outcomes, seed: int, segments: int) -> dict:
    """Limits that some plan, of people who choose at random among their best and their cheapest, just keeps to."""
    rng = np.random.default_rng(seed)
    r, c = (np.asarray(surface) for surface in outcomes)
    n, m = r.shape
    arm = np.where(rng.random(n) < 0.5, r.argmax(axis=1), c.argmin(axis=1))
    spend = c[np.arange(n), arm]
    segment = np.append(np.arange(segments), rng.integers(0, segments, n - segments))
    capacity = np.bincount(arm, minlength=m).astype(float)
    capacity[rng.integers(m)] = np.inf
    # The mean as the library forms it, so that the last bit does not make the plan infeasible.
    mean_of = [float(np.sum(spend[segment == g])) / (segment == g).sum() for g in range(segments)]
    slack = 1 + 1e-12
    return {
        "budget": float(spend.mean()) * slack,
        "capacity": capacity,
        "segment": segment,
        "segment_budgets": np.array(mean_of) * slack,
    }


def keeps_to(outcomes: Outcomes, arm, budget, capacity, segment, segment_budgets) -> bool:
    c, arm = np.asarray(outcomes.c), np.asarray(arm)
    spend = c[np.arange(len(arm)), arm]
    rounding = 1 + 1e-13  # a float64 mean of at most 2e4 numbers, by pairs
    return bool(
        spend.mean() <= budget * rounding
        and (np.bincount(arm, minlength=c.shape[1]) <= capacity).all()
        and all(spend[segment == g].mean() <= b * rounding for g, b in enumerate(segment_budgets))
    )


def dual(outcomes: Outcomes, plan, budget, capacity, segment, segment_budgets) -> float:
    """The bound's formula, at the plan's multipliers."""
    r, c = (np.asarray(surface) for surface in outcomes)
    lam, nu, mu = (np.asarray(part) for part in (plan.lam, plan.nu, plan.mu))
    people = np.bincount(segment, minlength=len(segment_budgets))
    capped = np.isfinite(capacity)
    priced = r - (lam + nu[segment])[:, None] * c - mu[None]
    fixed = lam * budget + (nu * segment_budgets * people).sum() / len(r) + mu[capped] @ capacity[capped] / len(r)
    return float(fixed + priced.max(axis=1).mean())


def largest_step(outcomes: Outcomes) -> float:
    return float(np.ptp(np.asarray(outcomes.r), axis=1).max()) / len(outcomes.r)


@pytest.mark.parametrize("maker", [smooth, whole])
@pytest.mark.parametrize(("n", "m", "segments"), [(3, 2, 1), (12, 4, 2), (60, 3, 3), (150, 5, 3)])
@pytest.mark.parametrize("seed", range(3))
def test_plan_keeps_to_every_limit_and_the_bound_is_the_dual_at_its_multipliers(maker, n, m, segments, seed):
    outcomes = maker(seed, n, m)
    limits = limits_around(outcomes, seed, segments)
    plan = allocate_within(outcomes, **limits)
    assert keeps_to(outcomes, plan.arm, **limits)
    assert float(plan.spend) <= limits["budget"]
    rows = np.arange(n)
    assert float(plan.spend) == pytest.approx(float(outcomes.c[rows, plan.arm].mean()), rel=1e-12)
    assert float(plan.value) == pytest.approx(float(outcomes.r[rows, plan.arm].mean()), rel=1e-12, abs=1e-12)
    assert min(float(plan.lam), float(plan.nu.min()), float(plan.mu.min())) >= 0
    # Sums of at most 150 people in another order and other units.
    assert float(plan.bound) == pytest.approx(
        max(dual(outcomes, plan, **limits), float(plan.value)), rel=1e-11, abs=1e-11
    )


@pytest.mark.parametrize("maker", [smooth, whole])
@pytest.mark.parametrize("seed", range(10))
def test_no_integer_plan_is_better_than_the_bound_or_by_more_than_the_search_leaves(maker, seed):
    outcomes = maker(seed, 7, 3)
    limits = limits_around(outcomes, seed, 2)
    plan = allocate_within(outcomes, **limits)
    r, rows = np.asarray(outcomes.r), np.arange(7)
    plans = [np.array(arms) for arms in product(range(3), repeat=7)]
    best = max(r[rows, arms].mean() for arms in plans if keeps_to(outcomes, arms, **limits))
    assert plan.value <= best + 1e-12  # rounding
    assert best <= plan.bound + 1e-12
    # The search ends within 1e-3 of the revenue above everybody's least.
    assert plan.value >= best - 1e-3 * (best - r.min(axis=1).mean()) - 1e-12
    held = 1 + 2 + np.isfinite(limits["capacity"]).sum()
    assert plan.gap <= held * largest_step(outcomes)


def lp_value(outcomes: Outcomes, budget, capacity, segment, segment_budgets) -> float:
    r, c = (np.asarray(surface) for surface in outcomes)
    n, m = r.shape
    entries = (c.ravel(), (segment.repeat(m), np.arange(n * m)))
    by_segment = csr_array(entries, shape=(len(segment_budgets), n * m))
    capped = np.isfinite(capacity)
    places = csr_array(kron(np.ones((1, n)), eye_array(m)))[capped]
    sizes = np.bincount(segment)
    result = linprog(
        -r.ravel() / n,
        A_ub=vstack([csr_array(c.ravel()[None]), by_segment, places]),
        b_ub=np.concatenate([[n * budget], sizes * segment_budgets, capacity[capped]]),
        A_eq=kron(eye_array(n), np.ones((1, m))),
        b_eq=np.ones(n),
    )
    return -result.fun


@pytest.mark.thorough
@pytest.mark.parametrize("maker", [smooth, whole])
@pytest.mark.parametrize("n", [400, 4000])
@pytest.mark.parametrize("seed", range(2))
def test_bound_is_the_optimum_of_the_linear_programme(maker, n, seed):
    outcomes = maker(seed, n, 5)
    limits = limits_around(outcomes, seed, 4)
    plan = allocate_within(outcomes, **limits)
    lp = lp_value(outcomes, **limits)
    assert float(plan.bound) >= lp - 1e-7 * abs(lp)  # HiGHS keeps to its constraints within 1e-7
    # The noise that parts ties is 1e-5 of the spread of revenue, and the programme is solved beside it.
    assert float(plan.bound) == pytest.approx(lp, rel=3e-5)
    assert keeps_to(outcomes, plan.arm, **limits)
    assert plan.gap <= 3 * largest_step(outcomes)  # measured; one for each of up to nine limits is what theory has


@pytest.mark.thorough
@pytest.mark.parametrize("maker", [smooth, whole])
@pytest.mark.parametrize(("n", "share"), [(300, 0.0), (300, 0.3), (300, 2.0), (3000, 0.3)])
def test_with_the_budget_alone_it_is_allocate(maker, n, share):
    outcomes = maker(n, n, 4)
    cheapest = outcomes.c.min(axis=1).mean()
    budget = float(cheapest + share * (outcomes.c[jnp.arange(n), outcomes.r.argmax(axis=1)].mean() - cheapest))
    plan, simple = allocate_within(outcomes, budget), allocate(outcomes, budget)
    assert abs(float(plan.value - simple.value)) <= largest_step(outcomes)
    # Both are the optimum of one linear programme, here beside noise of 1e-5 of the spread of revenue.
    assert float(plan.bound) == pytest.approx(float(simple.bound), rel=3e-5)
    assert plan.nu.shape == (0,)
    np.testing.assert_array_equal(plan.mu, np.zeros(4))


def test_known_answer():
    # Revenue 8, 6, 4 at cost 2 each; one place: the first gets it, the second's 6 is what another place would bring.
    outcomes = Outcomes(jnp.array([[0.0, 8.0], [0.0, 6.0], [0.0, 4.0]]), jnp.array([[0.0, 2.0]] * 3))
    plan = allocate_within(outcomes, 10.0, capacity=np.array([np.inf, 1]))
    assert plan.arm.tolist() == [1, 0, 0]
    assert float(plan.lam) == 0
    # Any multiplier from 6 to 8 is optimal, up to noise of 1e-5 of the mean spread of 6.
    assert 6 - 1e-3 <= float(plan.mu[1]) <= 8 + 1e-3
    assert float(plan.bound) == pytest.approx(8 / 3, rel=1e-4)
    # The first and second are a segment that may spend 1 each: one of them is treated, and so is the third.
    plan = allocate_within(outcomes, 10.0, segment=np.array([0, 0, 1]), segment_budgets=np.array([1.0, np.inf]))
    assert plan.arm.tolist() == [1, 0, 1]
    assert 3 - 1e-3 <= float(plan.nu[0]) <= 4 + 1e-3
    assert float(plan.nu[1]) == 0


@pytest.mark.thorough
def test_multipliers_are_what_one_more_unit_of_a_limit_would_bring():
    outcomes, n = smooth(8, 2000, 4), 2000
    segment = np.arange(n) % 2
    limits = {
        "budget": 0.3,
        "capacity": np.array([np.inf, np.inf, 500, 150]),
        "segment_budgets": np.array([0.2, np.inf]),
    }
    plan = allocate_within(outcomes, segment=segment, **limits)
    # Money of all people, money of the first segment's, places at the last two treatments.
    cases = {
        "budget": (0.01, plan.lam),
        "segment_budgets": (np.array([0.01, 0]), plan.nu[0] / 2),
        "capacity": (np.array([0, 0, 0, 10]), plan.mu[3] / n),
    }
    for name, (move, slope) in cases.items():
        size = float(np.max(move))
        up, down = (
            float(allocate_within(outcomes, segment=segment, **(limits | {name: limits[name] + sign * move})).bound)
            for sign in (1, -1)
        )
        assert float(slope) > 0
        # The bound is concave in every limit; over 2,000 people its slope changes by a few per cent within the move.
        assert up - float(plan.bound) <= float(slope) * size * 1.01
        assert float(plan.bound) - down >= float(slope) * size * 0.99
        assert (up - down) / 2 == pytest.approx(float(slope) * size, rel=0.05)


def test_a_capacity_of_none_closes_a_treatment():
    outcomes = smooth(0, 300, 4)
    plan = allocate_within(outcomes, 0.2, capacity=np.array([np.inf, np.inf, 0, np.inf]))
    # Without treatment 2: in its place stands another control.
    without = allocate(Outcomes(*(surface.at[:, 2].set(surface[:, 0]) for surface in outcomes)), 0.2)
    assert not (plan.arm == 2).any()
    assert abs(float(plan.value - without.value)) <= largest_step(outcomes)
    assert float(plan.bound) == pytest.approx(float(without.bound), rel=3e-5)


@pytest.mark.parametrize("n", [300, 3000])
def test_limits_that_do_not_bind_change_nothing(n):
    outcomes = smooth(1, n, 4)
    segment = np.arange(n) % 5
    plan = allocate_within(outcomes, 0.2, capacity=np.full(4, n - 1), segment=segment, segment_budgets=np.ones(5))
    alone = allocate(outcomes, 0.2)
    assert abs(float(plan.value - alone.value)) <= largest_step(outcomes)
    assert float(plan.bound) == pytest.approx(float(alone.bound), rel=3e-5)
    # A multiplier above 0 would cost its idle share of money or places; the programmes stop within 1e-8 of the least.
    assert max(float(plan.nu.max()), float(plan.mu.max())) < 1e-6


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_units_of_money_do_not_matter(scale):
    outcomes = smooth(3, 400, 4)
    limits = limits_around(outcomes, 3, 3)
    plan = allocate_within(outcomes, **limits)
    limits |= {"budget": limits["budget"] * scale, "segment_budgets": limits["segment_budgets"] * scale}
    scaled = allocate_within(Outcomes(outcomes.r * scale, outcomes.c * scale), **limits)
    assert float(scaled.bound) == pytest.approx(float(plan.bound) * scale, rel=1e-9)
    assert float(scaled.lam) == pytest.approx(float(plan.lam), rel=1e-6, abs=1e-6)
    assert float(scaled.value) == pytest.approx(float(plan.value) * scale, abs=largest_step(outcomes) * scale)


def test_all_places_may_be_needed():
    """As many places as people: an assignment, where moving one person means moving another."""
    outcomes = smooth(4, 200, 4)
    capacity = np.array([80, 60, 40, 20])
    plan = allocate_within(outcomes, 0.5, capacity=capacity)
    np.testing.assert_array_equal(np.bincount(plan.arm, minlength=4), capacity)
    assert plan.gap <= 2 * largest_step(outcomes)


def test_the_gap_does_not_grow_with_the_number_of_people_who_tie():
    outcomes = whole(7, 20_000, 5)
    limits = limits_around(outcomes, 7, 10)
    cheapest = np.asarray(outcomes.c).min(axis=1).mean()
    limits["budget"] = cheapest + 0.9 * (limits["budget"] - cheapest)
    plan = allocate_within(outcomes, **limits)
    assert keeps_to(outcomes, plan.arm, **limits)
    assert plan.gap <= 3 * largest_step(outcomes)  # measured 0.1; over 100 where programmes start from multipliers of 0


def test_costs_that_differ_by_less_than_the_solver_sees_keep_to_the_budget():
    c = np.full((50, 3), 1.0) + np.array([[0, 1e-9, 1.0]])
    outcomes = Outcomes(jnp.asarray(np.tile([0.0, 1.0, 3.0], (50, 1))), jnp.asarray(c))
    plan = allocate_within(outcomes, 1.0 + 2e-10)
    assert np.asarray(plan.arm).tolist().count(1) == 10
    assert float(plan.spend) <= 1.0 + 2e-10


def test_numpy_in_float32_keeps_to_the_limits():
    outcomes: Outcomes = jax.tree.map(lambda surface: np.asarray(surface, np.float32), smooth(5, 3000, 5))
    limits = limits_around(outcomes, 5, 3)
    with jax.enable_x64(False):
        plan = allocate_within(outcomes, **limits)
        assert plan.value.dtype == jnp.float32
        assert plan.spend <= limits["budget"]
        assert 0 <= plan.gap <= 3 * largest_step(outcomes) + 1e-6 * plan.value  # float32 rounding
    double = jax.tree.map(lambda surface: surface.astype(np.float64), outcomes)
    assert keeps_to(double, plan.arm, **limits)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": -1.0}, r"budget: found -1\.0, expected a finite number"),
        ({"budget": 0.5}, r"budget: found 0\.5, expected at least 1, the spend of the cheapest plan"),
        ({"capacity": [4, 4]}, r"capacity: found shape \(2,\), expected one for each of 3 treatments"),
        ({"capacity": [4, -1, 4]}, r"capacity, treatment 1: found -1\.0, expected a number of at least 0"),
        ({"capacity": [4, 4, np.nan]}, r"capacity, treatment 2: found nan, expected a number"),
        ({"capacity": [1, 1, 1.9]}, r"capacity: found 3 people in all, expected at least 4"),
        ({"segment": [0, 0, 1, 1]}, "segment and segment_budgets: found one without the other"),
        ({"segment_budgets": [9.0]}, "segment and segment_budgets: found one without the other"),
        ({"segment": [0, 1, 1], "segment_budgets": [9, 9]}, r"segment: found int64 \(3,\), expected an integer"),
        ({"segment": [0.0, 1, 1, 0], "segment_budgets": [9, 9]}, r"segment: found float64 \(4,\), expected an integer"),
        ({"segment": [0, 1, 2, 0], "segment_budgets": [9, 9]}, r"segment, unit 2: found 2, expected 0 to 1"),
        ({"segment": [0, 1, -1, 0], "segment_budgets": [9, 9]}, r"segment, unit 2: found -1, expected 0 to 1"),
        ({"segment": [0, 1, 1, 0], "segment_budgets": 9}, r"segment_budgets: found shape \(\)"),
        (
            {"segment": [0, 1, 1, 0], "segment_budgets": [9, 0.5]},
            r"segment_budgets, segment 1: found 0\.5, expected at least 1, the spend per person of its cheapest plan",
        ),
        ({"segment": [0, 1, 1, 0], "segment_budgets": [np.nan, 9]}, r"segment_budgets, segment 0: found nan"),
        ({"budget": 1.5, "capacity": [1, 4, 4]}, "limits: found no plan that keeps to all of them together"),
    ],
)
def test_bad_input_is_named(options, message):
    outcomes = Outcomes(jnp.tile(jnp.array([[0.0, 1.0, 2.0]]), (4, 1)), jnp.tile(jnp.array([[1.0, 2.0, 3.0]]), (4, 1)))
    with pytest.raises(InputError, match=message):
        allocate_within(outcomes, **({"budget": 9.0} | options))


def test_surfaces_that_disagree_and_traced_values_are_named():
    with pytest.raises(InputError, match="outcomes"):
        allocate_within(Outcomes(jnp.ones((3, 2)), jnp.ones((3, 3))), 1.0)
    with pytest.raises(InputError, match="traced values"):
        jax.jit(allocate_within)(smooth(0, 5, 3), 1.0)


def test_limits_that_no_large_plan_keeps_to_are_named():
    outcomes = smooth(6, 3000, 4)
    with pytest.raises(InputError, match="limits: found no plan that keeps to all of them together"):
        allocate_within(outcomes, 0.05, capacity=np.array([100, np.inf, np.inf, np.inf]))
