"""Multipliers of large batches, which a sample of people narrows down."""

import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import Outcomes
from dfcl_jax.solvers.estimated import SAMPLE, crossings

N = 4 * SAMPLE


def people(*, kinds: int) -> tuple[Outcomes, np.ndarray]:
    """A free control and a treatment of cost 1, with the gains of the people; every `kinds`-th gains far more."""
    gain = np.random.default_rng(0).uniform(0, 1, N)
    gain[::kinds] *= 50
    zero = np.zeros(N)
    return Outcomes(jnp.asarray(np.stack([zero, gain], 1)), jnp.asarray(np.stack([zero, zero + 1], 1))), gain


# The sample is every fourth person: of kinds 3 it is like all, of kinds 4 it holds those alone who gain most.
@pytest.mark.parametrize("kinds", [3, 4])
def test_the_multiplier_of_many_people_is_the_gain_of_the_first_who_goes_without(kinds):
    outcomes, gain = people(kinds=kinds)
    budgets = np.array([0.0, 0.1, 0.3, 0.9, 1.5])
    found = crossings(outcomes, outcomes.c, None, jnp.asarray(budgets))
    steepest = np.append(np.sort(gain)[::-1], 0)
    # The treatment of the best k people costs k / n: it is theirs above the gain of person k + 1.
    expected = steepest[np.minimum((budgets * N).astype(int), N)]
    # A tie goes to the control, which comes first; the product lam * 1 is exact.
    np.testing.assert_array_equal(found, expected)


def test_sizes_weigh_people():
    outcomes, gain = people(kinds=3)
    size = jnp.broadcast_to(jnp.asarray(np.where(gain > np.median(gain), 3.0, 1.0))[:, None], (N, 2))
    found = crossings(outcomes, outcomes.c * size, size, jnp.array([0.3]))
    order = np.argsort(-gain)
    # Sizes are whole numbers, whose sums are exact; the budget is compared with their mean, 0.3 * 2.
    taken = np.cumsum(np.asarray(size)[order, 0])
    expected = gain[order][int((taken <= 0.3 * 2 * N).sum())]
    np.testing.assert_array_equal(found, [expected])


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(20))
def test_where_many_tie_the_spend_is_within_the_budget_at_the_multiplier_and_above_it_just_below(seed):
    """Six kinds of people, many of each: the multiplier sits at a tie of a sixth of them."""
    rng = np.random.default_rng(seed)
    revenue, cost = rng.normal(1, 1, (6, 3)), rng.uniform(0, 1, (6, 3))
    cost = np.sort(cost, axis=1) if seed % 2 else cost
    cost[:, 0] = 0
    who = np.random.default_rng(seed).integers(0, 6, 500)
    r, c = (np.asarray(surface, np.float32)[who] for surface in (revenue, cost))
    for r_hat in (r, r + np.float32(0.1)):
        outcomes = Outcomes(jnp.asarray(r_hat), jnp.asarray(c))
        (lam,) = np.asarray(crossings(outcomes, outcomes.c, None, jnp.array([0.15], jnp.float32)), np.float64)
        assert lam > 0
        # A tie is decided after rounding in float32: a few units of 6e-8 to each side of it are certain.
        sides = (np.argmax(r_hat - lam * (1 + side) * c.astype(np.float64), axis=1) for side in (1e-5, -1e-5))
        within, over = (c[np.arange(500), arm].mean(dtype=np.float64) for arm in sides)
        assert within <= 0.15 * (1 + 1e-6)
        assert over > 0.15 * (1 - 1e-6)
