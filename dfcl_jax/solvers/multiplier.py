"""The multiplier of a budget, by bisection."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.errors import is_concrete
from dfcl_jax.solvers.checks import check_budget, check_budgets, check_outcomes, rounded_down
from dfcl_jax.solvers.hull import Hull, costs_above, upper_hull
from dfcl_jax.sums import Double, exact_sum, minus, times
from dfcl_jax.types import Outcomes

# Numbers of steps of a hull that searches are compiled for, beside the largest.
_LENGTHS = (8, 16, 32)


def largest_multiplier(outcomes: Outcomes) -> Array:
    """Return a multiplier at which everybody takes their cheapest treatment, [].

    It is twice the steepest slope max_ij (r_ij - r_ik) / (c_ij - c_ik) from the cheapest treatment k, so that rounding
    cannot bring back a costlier treatment. It is at most the square root of the largest float, so that lam c stays
    finite.
    """
    r, c = outcomes.r.T, outcomes.c.T  # by treatment, so that a pass over people reads a row
    base, least_cost = r[0], c[0]
    for j in range(1, c.shape[0]):
        base, least_cost = jnp.where(c[j] < least_cost, r[j], base), jnp.minimum(c[j], least_cost)
    rise, run = r - base[None], c - least_cost[None]
    slope = jnp.where(run > 0, rise / jnp.where(run > 0, run, 1), 0)
    return jnp.clip(2 * slope.max() + jnp.finfo(slope.dtype).tiny, 0, jnp.finfo(slope.dtype).max ** 0.5)


def _to_bits(x: Array) -> Array:
    # Read as integers, the bit patterns of non-negative floats have the order of the floats.
    return jax.lax.bitcast_convert_type(x, jnp.int64 if x.dtype == jnp.float64 else jnp.int32)


def _to_float(bits: Array, dtype: jnp.dtype) -> Array:
    return jax.lax.bitcast_convert_type(bits, dtype)


def least(fits: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Find the least integer k in (low, high] with fits(k), which must hold from there on; it is assumed at `high`."""

    def halve(bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = low + (high - low) // 2
        fit = fits(middle)
        return jnp.where(fit, low, middle), jnp.where(fit, middle, high)

    return jax.lax.while_loop(lambda bracket: bracket[1] - bracket[0] > 1, halve, (low, high))[1]


def least_multiplier(fits: Callable[[Array], Array], ceiling: Array, *, near: Array | None = None) -> Array:
    """Find the least lam in [0, ceiling] with fits(lam), which must hold from there on; it is assumed at `ceiling`.

    Non-negative floats have the order of their bit patterns. Halving the integers between two patterns therefore ends
    at the exact float after at most as many steps as it has bits, whatever the scale of lam. If `fits` is not monotone,
    as where it is estimated from data, the result is one at which it begins to hold. A guess `near` spares almost half
    of the steps if it is within 1% of the result.
    """
    # -1 is below the pattern of 0.0, so that lam = 0 can be the result.
    high = _to_bits(ceiling)
    low = jnp.full_like(high, -1)

    def fit_bits(bits: Array) -> Array:
        return fits(_to_float(bits, ceiling.dtype))

    if near is not None:
        # About 1% of the guess to each side, in bits; beyond it the whole rest.
        width = 2 ** (17 if high.dtype == jnp.int32 else 46)
        below, above = jnp.maximum(_to_bits(near) - width, 0), jnp.minimum(_to_bits(near) + width, high)
        below_fits, above_fits = fit_bits(below), fit_bits(above)
        low, high = (
            jnp.where(below_fits, low, jnp.where(above_fits, below, above)),
            jnp.where(below_fits, below, jnp.where(above_fits, above, high)),
        )
    return _to_float(least(fit_bits, low, high), ceiling.dtype)


def hull_multiplier(hull: Hull, budget: Array, weights: Array | None = None) -> Array:
    """Find the least lam at which all hull steps steeper than lam cost at most `budget` per person, [].

    This is exactly the slope of the first step that the budget does not cover, because spends are compared without
    rounding. It is 0 if the budget covers all steps, and the steepest slope if it covers none.
    """

    def search(steps: int) -> Array:
        few = Hull(hull.arm, hull.cost[: steps + 1], hull.slope[:steps])
        return least_multiplier(
            lambda lam: over_budget(costs_above(few, lam), budget, weights).hi <= 0, few.slope.max()
        )

    # Of many treatments few are on a hull. The search passes over its first steps alone if nobody takes more.
    steps = hull.slope.shape[0]
    lengths = [length for length in _LENGTHS if 2 * length <= steps]
    if not lengths:
        return search(steps)
    longest = (hull.slope.max(axis=1) > 0).sum()
    branches = [partial(search, length) for length in (*lengths, steps)]
    return jax.lax.switch(sum((longest > length).astype(jnp.int32) for length in lengths), branches)


def over_budget(cost: Array, budget: Array, weights: Array | None = None) -> Double:
    """Return sum_i w_i (c_i - B), the total overspend of decisions of cost `cost` [n]; w = 1 by default."""
    if weights is None:
        return minus(exact_sum(cost), times(budget, cost.shape[0]))
    return exact_sum(weights * (cost - budget))


def multiplier(outcomes: Outcomes, budget: ArrayLike) -> Array:
    """Find lam*(B), []: the revenue that one more unit of budget would bring (DFCL, D2).

    This is the least multiplier at which decisions that are strictly better than the cheaper ones cost at most `budget`
    per person. It is 0 if the budget covers everybody's best treatment, and the steepest slope if it covers no step.

    Raises:
        InputError: surfaces that disagree in shape or are not finite; a budget that is negative or not finite.
    """
    outcomes = check_outcomes(outcomes)
    return _multipliers(outcomes, check_budget(budget, outcomes.c.dtype)[None])[0]


def lams_for_budgets(outcomes: Outcomes, budgets: ArrayLike, *, weights: Array | None = None) -> Array:
    """Find lam*(B) for each of `budgets` [b], [b], as the dual losses train on them; raises as `multiplier`.

    Each budget takes one search, without a sort; `budget_path(outcomes).at(budgets).lam` is faster for dozens of
    budgets. `weights` say how many people each row stands for, [n].
    """
    outcomes = check_outcomes(outcomes)
    if is_concrete(budgets):
        check_budgets(budgets)
        budgets = rounded_down(budgets, outcomes.c.dtype)
    return _multipliers(outcomes, jnp.atleast_1d(jnp.asarray(budgets, outcomes.c.dtype)), weights)


@jax.jit
def _multipliers(outcomes: Outcomes, budgets: Array, weights: Array | None = None) -> Array:
    hull = upper_hull(outcomes)
    return for_each(lambda budget: hull_multiplier(hull, budget, weights), budgets)


def for_each(search: Callable[[Array], Array], budgets: Array) -> Array:
    """Apply a search to each of `budgets` [b], [b]: side by side, or one after another on a CPU.

    The passes of one search keep a CPU busy. An accelerator spends them on launching kernels.
    """
    return jax.lax.map(search, budgets) if jax.default_backend() == "cpu" else jax.vmap(search)(budgets)
