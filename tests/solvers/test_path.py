import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.sparse import csr_array, eye_array, kron

from dfcl_jax import InputError, Outcomes
from dfcl_jax.solvers import BudgetPath, allocate, budget_path, upper_hull


def outcomes_of(r, c) -> Outcomes:
    return Outcomes(jnp.asarray(r, jnp.float64), jnp.asarray(c, jnp.float64))


def beside_a_free_control(r, c) -> Outcomes:
    r, c = np.atleast_2d(r), np.atleast_2d(c)
    control = np.zeros((len(r), 1))
    return outcomes_of(np.hstack([control, r]), np.hstack([control, c]))


def awkward(seed: int, n: int, m: int) -> Outcomes:
    """Whole numbers: ties, equal and zero costs, dominated treatments, revenue that falls; no treatment is free."""
    rng = np.random.default_rng(seed)
    return outcomes_of(rng.integers(-3, 6, (n, m)), rng.integers(0, 5, (n, m)))


def steps_of(outcomes: Outcomes) -> BudgetPath:
    """The path without the steps that do nothing, which it is padded with on an accelerator."""
    path = budget_path(outcomes)
    s = int((np.asarray(path.lam) > 0).sum())
    assert s == path.lam.size or jax.default_backend() != "cpu"
    steps = {name: getattr(path, name)[:s] for name in ("unit", "before", "arm", "lam")}
    return path._replace(**steps, spend=path.spend[: s + 1], value=path.value[: s + 1])


compiled_path = jax.jit(budget_path)
compiled_point = jax.jit(lambda outcomes, budget: budget_path(outcomes).at(budget))


def hull_arms(outcomes: Outcomes) -> list[int]:
    hull = upper_hull(outcomes)
    steps = int((np.asarray(hull.slope)[:, 0] > 0).sum())
    return [int(arm) for arm in np.asarray(hull.arm)[: steps + 1, 0]]


@pytest.mark.parametrize(
    ("cost", "revenue", "expected"),
    [
        ((5, 0.5, 3, 1, 4), (3, 2, 4, 2, 3.9), [1, 2]),
        ((5, 0.5, 3, 1, 4), (3, 2, 3.8, 2, 3.9), [1, 2, 4]),
        ((5, 0.5, 3, 1, 4), (3.91, 2, 3.8, 2, 3.9), [1, 2, 4, 0]),
        ((1, 1), (10, 10.1), [1]),
        ((1, 2, 3), (-1, 0, -5), []),
    ],
)
def test_hulls_known_by_hand(cost, revenue, expected):
    # The control, arm 0, is the first vertex; arms are counted from the first that costs.
    assert hull_arms(beside_a_free_control(revenue, cost)) == [0, *(arm + 1 for arm in expected)]


def test_published_path_of_three_identical_costs():
    path = steps_of(beside_a_free_control([[30, 10], [40, 50], [10, 55]], [[3, 6]] * 3))
    np.testing.assert_allclose(path.spend[1:], [1, 2, 4, 5], rtol=1e-15)
    np.testing.assert_allclose(path.value[1:], [13.3333, 23.3333, 41.6667, 45], rtol=1e-5)  # printed to four places
    assert path.unit.tolist() == [1, 0, 2, 1]
    assert [arm - 1 for arm in path.arm.tolist()] == [0, 0, 1, 1]
    np.testing.assert_allclose(path.fractions(4.5)[1], [0, 0.5, 0.5], atol=1e-15)


def test_published_path_of_ten_treatments():
    rng = np.random.default_rng(0)
    r = 1 + 2 * rng.random((50, 10))
    c = rng.random((50, 10))
    path = steps_of(beside_a_free_control(r, c))
    assert path.lam.size == 120
    # Published to nine decimals.
    np.testing.assert_allclose([path.spend[-1], path.value[-1]], [0.499940913, 2.847399687], atol=5e-10)
    values = path.at(np.array([0.01, 0.03, 0.05])).value
    np.testing.assert_allclose(values, [0.952072178, 1.439780954, 1.807909906], atol=5e-10)


def lp_value(outcomes: Outcomes, budget: float) -> float:
    r, c = np.asarray(outcomes.r), np.asarray(outcomes.c)
    n, m = r.shape
    one_each = kron(eye_array(n), np.ones((1, m)))
    result = linprog(-r.ravel() / n, A_ub=csr_array(c.ravel()[None] / n), b_ub=[budget], A_eq=one_each, b_eq=np.ones(n))
    return -result.fun


@pytest.mark.parametrize("seed", range(6))
def test_path_is_the_optimum_of_the_linear_programme(seed):
    rng = np.random.default_rng(seed)
    smooth = outcomes_of(rng.normal(1, 1, (200, 5)), rng.uniform(0, 1, (200, 5)))
    outcomes = awkward(seed, 200, 5) if seed % 2 else smooth
    path = budget_path(outcomes)
    for share in (0.0, 0.01, 0.3, 0.7, 1.0):
        budget = float(path.spend[0] + share * (path.spend[-1] - path.spend[0]))
        point, z = path.at(budget), np.asarray(path.fractions(budget))
        # HiGHS keeps to its constraints within 1e-9.
        assert float(point.value) == pytest.approx(lp_value(outcomes, budget), rel=1e-9)
        spent, earned = ((z * np.asarray(surface)).sum() / 200 for surface in (outcomes.c, outcomes.r))
        np.testing.assert_allclose([spent, earned], point[3:], rtol=1e-12)
        np.testing.assert_allclose(z.sum(axis=1), 1, rtol=1e-12)
        assert ((z > 1e-12) & (z < 1 - 1e-12)).any(axis=1).sum() <= 1


@pytest.mark.parametrize("seed", range(4))
def test_multipliers_fall_and_spend_and_value_rise_along_the_path(seed):
    path = steps_of(awkward(seed, 70, 4))
    assert (np.diff(path.lam) <= 0).all()
    assert (np.diff(path.spend) > 0).all()
    assert (np.diff(path.value) > 0).all()


def test_every_person_moves_along_their_own_hull():
    outcomes = awkward(3, 60, 5)
    path = steps_of(outcomes)
    arm = np.array(path.arms[0])
    for k in range(path.lam.size):
        assert arm[path.unit[k]] == path.before[k]
        arm[path.unit[k]] = path.arm[k]
        np.testing.assert_array_equal(path.decisions(k + 1), arm)
    assert (arm == np.asarray(outcomes.r).argmax(axis=1)).mean() > 0.5  # others tie for the most revenue
    np.testing.assert_allclose(np.asarray(outcomes.r)[np.arange(60), arm], outcomes.r.max(axis=1))


def test_decisions_at_many_budgets_are_those_at_each():
    path = budget_path(awkward(1, 70, 4))
    budgets = np.array([[2.0, 0.9], [1.4, 1.1]])
    many = path.decisions(path.at(budgets).steps)
    for place in np.ndindex(2, 2):
        np.testing.assert_array_equal(many[place], path.decisions(path.at(budgets[place]).steps))


@pytest.mark.parametrize("seed", range(3))
def test_compiled_path_is_the_same_path_padded(seed):
    outcomes = awkward(seed, 70, 4)
    eager, compiled = budget_path(outcomes), compiled_path(outcomes)
    s = eager.lam.size
    for name in ("unit", "before", "arm", "lam", "spend", "value"):
        mine, theirs = getattr(eager, name), getattr(compiled, name)
        np.testing.assert_allclose(np.asarray(theirs)[: len(mine)], mine, rtol=1e-13)
    assert (np.asarray(compiled.unit)[s:] == 70).all()
    assert (np.asarray(compiled.lam)[s:] == 0).all()
    budgets = np.linspace(float(eager.spend[0]), float(eager.spend[-1]), 7)[1:]
    point = compiled_point(outcomes, budgets)
    for mine, theirs in zip(eager.at(budgets)[1:], point[1:], strict=True):
        np.testing.assert_allclose(theirs, mine, rtol=1e-9, atol=1e-9)  # a step's start and end are the same plan
    np.testing.assert_array_equal(compiled.decisions(jnp.arange(s + 1)), eager.decisions(np.arange(s + 1)))


@pytest.mark.parametrize(("n", "m"), [(1, 5), (3, 6), (60, 9)])
def test_compiled_path_ends_where_its_steps_do(n, m):
    outcomes = awkward(n, n, m)
    eager, compiled = budget_path(outcomes), compiled_path(outcomes)
    assert (np.diff(compiled.spend) >= 0).all()
    assert float(compiled.spend[-1]) == pytest.approx(float(eager.spend[-1]), rel=1e-13)
    assert float(compiled.at(100.0).value) == pytest.approx(np.asarray(outcomes.r).max(axis=1).mean(), rel=1e-12)


@pytest.mark.thorough
def test_outcomes_may_be_closed_over_and_budgets_traced():
    outcomes = awkward(2, 70, 4)
    path = budget_path(outcomes)
    budgets = np.linspace(float(path.spend[0]), float(path.spend[-1]), 5)[1:4]
    np.testing.assert_allclose(jax.jit(lambda b: budget_path(outcomes).at(b).value)(budgets), path.at(budgets).value)
    np.testing.assert_allclose(jax.jit(jax.vmap(lambda b: path.at(b).value))(budgets), path.at(budgets).value)
    alone = [allocate(outcomes, budget).arm for budget in budgets]
    for batched in (lambda b: allocate(outcomes, b), lambda b: allocate(outcomes, b, method="path")):
        np.testing.assert_array_equal(jax.jit(jax.vmap(batched))(budgets).arm, alone)


def test_a_person_of_weight_two_is_that_person_twice():
    outcomes = awkward(5, 40, 4)
    twice = np.arange(40).repeat(np.where(np.arange(40) % 3 == 0, 2, 1))
    weights = np.where(np.arange(40) % 3 == 0, 2.0, 1.0)
    weighted = budget_path(outcomes, weights=weights)
    doubled = budget_path(Outcomes(*(jnp.asarray(np.asarray(surface)[twice]) for surface in outcomes)))
    budgets = np.linspace(float(weighted.spend[0]), float(weighted.spend[-1]), 50)
    np.testing.assert_allclose(weighted.at(budgets).value, doubled.at(budgets).value, rtol=1e-12)
    np.testing.assert_allclose(weighted.at(budgets).lam, doubled.at(budgets).lam, rtol=1e-12)


def test_bootstrap_replicates_are_a_vmap():
    outcomes = awkward(6, 40, 4)
    weights = np.random.default_rng(0).poisson(1.0, (3, 40)).astype(float)
    values = jax.jit(jax.vmap(lambda w: budget_path(outcomes, weights=w).at(1.8).value))(weights)
    expected = [budget_path(outcomes, weights=w).at(1.8).value for w in weights]
    np.testing.assert_allclose(values, expected, rtol=1e-12)


@pytest.mark.slow
def test_in_float32_a_million_people_are_planned_as_in_float64():
    rng = np.random.default_rng(0)
    r, c = rng.random((1_000_000, 5), np.float32), 0.05 + rng.random((1_000_000, 5), np.float32)
    c[:, 0] = 0
    single = Outcomes(jnp.asarray(r), jnp.asarray(c))
    double = Outcomes(jnp.asarray(r, jnp.float64), jnp.asarray(c, jnp.float64))
    paths = budget_path(single), budget_path(double)
    for budget in (0.01, 0.1, 0.25):
        # Steps of a millionth each: the same optimum but for the rounding of single slopes.
        assert float(paths[0].at(budget).value) == pytest.approx(float(paths[1].at(budget).value), rel=1e-6)
        plan = allocate(single, budget)
        assert float(plan.value) == pytest.approx(float(allocate(double, budget).value), rel=1e-6)
        assert c[np.arange(1_000_000), plan.arm].mean(dtype=np.float64) <= budget


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (-0.1, "budget: found -0.1"),
        ([2.0, float("nan")], "budget: found nan"),
        (0.0, "budget: found 0.0, expected at least 1"),
    ],
)
def test_bad_budgets_are_named(budget, message):
    path = budget_path(outcomes_of([[1.0, 2.0]] * 3, [[1.0, 2.0]] * 3))
    with pytest.raises(InputError, match=message):
        path.at(budget)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(2), r"weights: found shape \(2,\), expected one for each of 3 units"),
        (np.array([1.0, -1.0, 1.0]), "weights, unit 1: found -1.0"),
        (np.zeros(3), "weights: found only zeros"),
    ],
)
def test_bad_weights_are_named(weights, message):
    with pytest.raises(InputError, match=message):
        budget_path(outcomes_of([[1.0, 2.0]] * 3, [[1.0, 2.0]] * 3), weights=weights)


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("at_once", [1, 7])
def test_totals_taken_some_steps_at_a_time_are_those_of_all_at_once(at_once, weighed, monkeypatch):
    outcomes = awkward(3, 40, 5)
    weights = np.random.default_rng(0).integers(0, 3, 40) if weighed else None
    whole = budget_path(outcomes, weights=weights)
    assert len(whole.lam) % 7 != 0
    monkeypatch.setattr("dfcl_jax.solvers.path._AT_ONCE", at_once)
    for one, other in zip(budget_path(outcomes, weights=weights), whole, strict=True):
        np.testing.assert_array_equal(one, other)
