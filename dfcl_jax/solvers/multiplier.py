"""From a budget to its multiplier, by bisection."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax.solvers.decision import hard
from dfcl_jax.types import Outcomes, pick


def largest_multiplier(outcomes: Outcomes) -> Array:
    """A multiplier at which everybody takes their cheapest treatment, [].

    Twice the steepest slope max_ij (r_ij - r_ik) / (c_ij - c_ik) from the cheapest treatment k, so that rounding cannot
    bring a costlier treatment back.
    """
    cheapest = jnp.argmin(outcomes.c, axis=1)
    rise = outcomes.r - pick(outcomes.r, cheapest)[:, None]
    run = outcomes.c - pick(outcomes.c, cheapest)[:, None]
    slope = jnp.where(run > 0, rise / jnp.where(run > 0, run, 1), 0)
    finite_max = jnp.finfo(slope.dtype).max / 4
    return jnp.clip(2 * slope.max() + jnp.finfo(slope.dtype).tiny, 0, finite_max)


def bisect(
    decide: Callable[[Array], Array], spend: Callable[[Array], Array], budget: Array, ceiling: Array
) -> tuple[Array, Array]:
    """The least lam in [0, ceiling] with spend(decide(lam)) <= budget, for a spend that falls in lam, and decide(lam).

    Non-negative floats are ordered as their bit patterns are, so halving the integers between two patterns ends at the
    exact float after at most as many steps as it has bits, whatever the scale of lam. At `ceiling` spend is taken to
    be within the budget. Where spend is not monotone (an estimate from data), the result is some crossing.

    The answer sits at a tie, where deciding anew in other compiled code may round to the other side: so the
    decisions returned are the very ones whose spend was measured.
    """
    integer = jnp.int64 if ceiling.dtype == jnp.float64 else jnp.int32

    def to_float(bits: Array) -> Array:
        return jax.lax.bitcast_convert_type(bits, ceiling.dtype)

    def halve(bracket: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        over, within, arm = bracket
        middle = over + (within - over) // 2
        middle_arm = decide(to_float(middle))
        fits = spend(middle_arm) <= budget
        return jnp.where(fits, over, middle), jnp.where(fits, middle, within), jnp.where(fits, middle_arm, arm)

    # -1 stands below the pattern of 0.0: lam = 0 itself may be the answer.
    start = (jnp.array(-1, integer), jax.lax.bitcast_convert_type(ceiling, integer), decide(ceiling))
    _, within, arm = jax.lax.while_loop(lambda bracket: bracket[1] - bracket[0] > 1, halve, start)
    return to_float(within), arm


def decide_within(outcomes: Outcomes, cost: Array, budget: Array) -> tuple[Array, Array]:
    """The least lam whose decisions cost at most `budget` per person, [], and those decisions, [n].

    Args:
        outcomes: what decides, [n, m] each.
        cost: what counts as spend, [n, m]; `outcomes.c`, or another model's prediction.
        budget: per person, [].
    """
    return bisect(
        lambda lam: hard(outcomes, lam),
        lambda arm: pick(cost, arm).mean(),
        budget,
        largest_multiplier(outcomes),
    )


def multiplier(outcomes: Outcomes, budget: Array) -> Array:
    """lam*(B), []: the least lam whose decisions cost at most `budget` per person (DFCL, D2)."""
    return decide_within(outcomes, outcomes.c, budget)[0]


def lams_for_budgets(outcomes: Outcomes, budgets: Array) -> Array:
    """lam*(B) for each of `budgets` [b], [b]: the multipliers that the dual losses train on."""
    return jax.lax.map(lambda budget: multiplier(outcomes, budget), jnp.asarray(budgets))
