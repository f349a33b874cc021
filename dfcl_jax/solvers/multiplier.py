"""From a budget to its multiplier, by bisection."""

from collections.abc import Callable
from typing import NamedTuple

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


class Crossing(NamedTuple):
    """Where the spend of decisions crosses a budget, and the decisions on both sides of it."""

    lam: Array  # [] the least multiplier whose decisions are within the budget
    within: Array  # [n] those decisions
    over: Array  # [n] the decisions just below lam, which overspend; `within` again where lam is 0


def bisect(
    decide: Callable[[Array], Array], spend: Callable[[Array], Array], budget: Array, ceiling: Array
) -> Crossing:
    """The least lam in [0, ceiling] with spend(decide(lam)) <= budget, for a spend that falls in lam.

    Non-negative floats are ordered as their bit patterns are, so halving the integers between two patterns ends at the
    exact float after at most as many steps as it has bits, whatever the scale of lam. At `ceiling` spend is taken to
    be within the budget. Where spend is not monotone (an estimate from data), the result is some crossing.

    The answer sits at a tie, where deciding anew in other compiled code may round to the other side: so the
    decisions returned are the very ones whose spend was measured.
    """
    integer = jnp.int64 if ceiling.dtype == jnp.float64 else jnp.int32

    def to_float(bits: Array) -> Array:
        return jax.lax.bitcast_convert_type(bits, ceiling.dtype)

    def halve(bracket: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        low, high, over, within = bracket
        middle = low + (high - low) // 2
        arm = decide(to_float(middle))
        fits = spend(arm) <= budget
        return (
            jnp.where(fits, low, middle),
            jnp.where(fits, middle, high),
            jnp.where(fits, over, arm),
            jnp.where(fits, arm, within),
        )

    # -1 stands below the pattern of 0.0: lam = 0 itself may be the answer.
    bits = jax.lax.bitcast_convert_type(ceiling, integer)
    start = (jnp.array(-1, integer), bits, decide(jnp.zeros_like(ceiling)), decide(ceiling))
    _, high, over, within = jax.lax.while_loop(lambda bracket: bracket[1] - bracket[0] > 1, halve, start)
    return Crossing(to_float(high), within, over)


def cross(outcomes: Outcomes, budget: Array) -> Crossing:
    """Where the decisions' own cost crosses `budget` per person."""
    return bisect(
        lambda lam: hard(outcomes, lam),
        lambda arm: pick(outcomes.c, arm).mean(),
        budget,
        largest_multiplier(outcomes),
    )


def multiplier(outcomes: Outcomes, budget: Array) -> Array:
    """lam*(B), []: the least lam whose decisions cost at most `budget` per person (DFCL, D2)."""
    return cross(outcomes, budget).lam


def lams_for_budgets(outcomes: Outcomes, budgets: Array) -> Array:
    """lam*(B) for each of `budgets` [b], [b]: the multipliers that the dual losses train on."""
    return jax.lax.map(lambda budget: multiplier(outcomes, budget), jnp.asarray(budgets))
