import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError, Outcomes
from dfcl_jax.solvers import budget_path, optimal_value, soft, soft_multiplier


def random_outcomes(seed: int, n: int = 30, m: int = 4) -> Outcomes:
    rng = np.random.default_rng(seed)
    return Outcomes(jnp.asarray(rng.normal(1, 1, (n, m))), jnp.asarray(rng.uniform(0, 1, (n, m))))


# With their gradients by outcomes, budget and temperature: one program for all cases of a shape.
value_and_gradients = jax.jit(jax.value_and_grad(optimal_value, argnums=(0, 1)))
multiplier_and_gradients = jax.jit(jax.value_and_grad(soft_multiplier, argnums=(0, 1, 2)))
softened = jax.jit(soft)


def finite_differences(function, outcomes: Outcomes, step: float = 1e-6) -> Outcomes:
    """Central differences of `function` by every entry of both surfaces."""

    def along(surface: str) -> np.ndarray:
        start = np.asarray(getattr(outcomes, surface))
        slope = np.zeros_like(start)
        for place in np.ndindex(*start.shape):
            move = np.zeros_like(start)
            move[place] = step
            up, down = (float(function(outcomes._replace(**{surface: start + s * move}))) for s in (1, -1))
            slope[place] = (up - down) / (2 * step)
        return slope

    return Outcomes(along("r"), along("c"))  # type: ignore[arg-type]


def inside_a_step(outcomes: Outcomes, share: float) -> float:
    """A budget between two vertices of the path, where the optimum has a derivative."""
    path = budget_path(outcomes)
    spend = path.spend[: int((np.asarray(path.lam) > 0).sum()) + 1]  # without padding
    k = int(share * (len(spend) - 2))
    return float(0.6 * spend[k] + 0.4 * spend[k + 1])


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(3))
def test_value_is_that_of_the_path(seed):
    outcomes = random_outcomes(seed)
    for share in (0.0, 0.3, 0.9):
        budget = inside_a_step(outcomes, share)
        expected = float(budget_path(outcomes).at(budget).value)
        assert float(optimal_value(outcomes, budget)) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_envelope_theorem_against_finite_differences(share):
    outcomes = random_outcomes(1, n=8, m=3)
    budget = inside_a_step(outcomes, share)
    _, (gradient, by_budget) = value_and_gradients(outcomes, budget)

    def value(outcomes, budget):
        return float(value_and_gradients(outcomes, budget)[0])

    expected = finite_differences(lambda o: value(o, budget), outcomes)
    # Central differences: rounding over the step is 1e-9; the square of the step over a cost gap of 1e-3 is 1e-6.
    np.testing.assert_allclose(gradient.r, expected.r, atol=1e-8)
    np.testing.assert_allclose(gradient.c, expected.c, atol=1e-8, rtol=2e-6)
    difference = (value(outcomes, budget + 1e-6) - value(outcomes, budget - 1e-6)) / 2e-6
    assert float(by_budget) == pytest.approx(difference, rel=1e-7)


def test_value_gradient_is_the_shares_of_treatments():
    outcomes = random_outcomes(2)
    budget = inside_a_step(outcomes, 0.5)
    lam, z = budget_path(outcomes).at(budget).lam, budget_path(outcomes).fractions(budget)
    _, (gradient, _) = value_and_gradients(outcomes, budget)
    np.testing.assert_allclose(gradient.r, np.asarray(z) / 30, atol=1e-12)
    np.testing.assert_allclose(gradient.c, -float(lam) * np.asarray(z) / 30, atol=1e-12)


def test_a_budget_that_does_not_bind_has_no_price():
    outcomes = random_outcomes(3)
    assert float(value_and_gradients(outcomes, 10.0)[1][1]) == 0
    multiplier, gradient = multiplier_and_gradients(outcomes, 10.0, 0.5)
    assert float(multiplier) == 0
    assert all((np.asarray(leaf) == 0).all() for leaf in jax.tree.leaves(gradient))


def test_gradients_are_the_same_under_vmap():
    outcomes = random_outcomes(4)
    budgets = np.array([inside_a_step(outcomes, share) for share in (0.2, 0.5, 0.8)])
    for function in (value_and_gradients, lambda o, b: multiplier_and_gradients(o, b, 0.3)):
        _, batched = jax.vmap(function, in_axes=(None, 0))(outcomes, budgets)
        for k, budget in enumerate(budgets):
            _, alone = function(outcomes, budget)
            for many, one in zip(jax.tree.leaves(batched), jax.tree.leaves(alone), strict=True):
                np.testing.assert_allclose(np.asarray(many)[k], one, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("temperature", [0.02, 0.3, 3.0])
def test_soft_decisions_at_the_soft_multiplier_cost_the_budget(temperature):
    outcomes = random_outcomes(5)
    cost = np.asarray(outcomes.c)

    def spend(lam) -> float:
        return (np.asarray(softened(outcomes, lam, temperature)) * cost).sum(axis=1).mean()

    cheapest = cost.min(axis=1).mean()
    for share in (0.01, 0.5, 0.99):
        budget = cheapest + share * (spend(0.0) - cheapest)
        lam, _ = multiplier_and_gradients(outcomes, budget, temperature)
        assert spend(float(lam)) == pytest.approx(budget, rel=1e-12)


def test_a_low_temperature_gives_the_hard_multiplier():
    outcomes = random_outcomes(6, n=500)
    budget = inside_a_step(outcomes, 0.5)
    # Softening moves the spend by terms of the order of the temperature squared.
    assert float(soft_multiplier(outcomes, budget, 1e-4)) == pytest.approx(
        float(budget_path(outcomes).at(budget).lam), rel=2e-2
    )


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_implicit_function_theorem_against_finite_differences(temperature):
    outcomes = random_outcomes(7, n=6, m=3)
    cost = np.asarray(outcomes.c)
    budget = 0.6 * cost.min(axis=1).mean() + 0.4 * cost.mean()
    _, (gradient, by_budget, by_temperature) = multiplier_and_gradients(outcomes, budget, temperature)

    def multiplier(outcomes, budget, temperature):
        return float(multiplier_and_gradients(outcomes, budget, temperature)[0])

    expected = finite_differences(lambda o: multiplier(o, budget, temperature), outcomes)
    # Central differences of a smooth function: step^2 and rounding over the step, both below 1e-8.
    np.testing.assert_allclose(gradient.r, expected.r, atol=1e-7)
    np.testing.assert_allclose(gradient.c, expected.c, atol=1e-7)
    for slope, move in ((by_budget, (1e-6, 0)), (by_temperature, (0, 1e-6))):
        up, down = (multiplier(outcomes, budget + s * move[0], temperature + s * move[1]) for s in (1, -1))
        assert float(slope) == pytest.approx((up - down) / 2e-6, rel=1e-6)


def test_a_huge_multiplier_is_finite_in_float32():
    single = Outcomes(*(jnp.asarray(surface, jnp.float32) for surface in random_outcomes(8)))
    cheapest = float(single.c.min(axis=1).mean())
    lam, (gradient, _, _) = multiplier_and_gradients(single, cheapest + 1e-5, 1.0)
    assert np.isfinite(lam)
    assert all(np.isfinite(leaf).all() for leaf in gradient)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda o: optimal_value(o, -1.0), "budget: found -1.0"),
        (lambda o: soft_multiplier(o, 0.5, 0.0), "temperature: found 0.0"),
        (lambda o: soft_multiplier(o, float(o.c.min(axis=1).mean()), 1.0), "budget: found .*, expected more than"),
        (lambda o: optimal_value(Outcomes(o.r, o.c[:, :2]), 0.5), r"outcomes: found \(30, 4\) and \(30, 2\)"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call(random_outcomes(0))
