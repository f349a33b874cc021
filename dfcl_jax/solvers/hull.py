"""Each person's upper hull: the treatments that are best at some multiplier, in order of cost."""

from functools import partial, reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax.types import Outcomes

# People taken at a time on a CPU: their columns then stay in its cache through all passes.
BLOCK = 4096


class Hull(NamedTuple):
    """Each person's way from the cheapest treatment to the one of most revenue, as the multiplier falls.

    People are the last axis: hulls are built and searched column by column.
    """

    arm: Array  # [m, n] int, the treatment at each vertex; past a person's last vertex without meaning
    cost: Array  # [m, n] its cost, likewise
    slope: Array  # [m-1, n] revenue per cost of the step to the next vertex, falling; 0 where there is none


def upper_hull(outcomes: Outcomes) -> Hull:
    """The vertices of each person's upper concave hull of (cost, revenue) that some multiplier >= 0 decides for.

    Starts at the cheapest treatment (of several, the one of most revenue) and goes on to the treatment with the
    steepest rise of revenue per cost (of several, the first), as long as revenue rises: a gift wrapping, of m - 1
    passes over m columns. Dominated treatments and those between a chord's ends are passed by. Costs may differ by
    person and be zero, equal or negative.

    Args:
        outcomes: revenue and cost, [n, m] each.
    """
    n, m = outcomes.r.shape
    b = min(n, BLOCK) if jax.default_backend() == "cpu" else n
    whole = Hull(
        jnp.zeros((m, n), jnp.int8 if m <= 127 else jnp.int32),
        *(jnp.zeros((k, n), outcomes.c.dtype) for k in (m, m - 1)),
    )

    def block(whole: Hull, number: Array) -> tuple[Hull, None]:
        # The last block begins early enough to be a full one.
        first = jnp.minimum(number * b, n - b)
        r, c = (jax.lax.dynamic_slice_in_dim(surface, first, b).T for surface in outcomes)
        # Turned once, not again in each of the passes.
        part = _hull_of_columns(*jax.lax.optimization_barrier((r, c)))
        put = partial(jax.lax.dynamic_update_slice_in_dim, start_index=first, axis=1)
        return Hull(*(put(old, new.astype(old.dtype)) for old, new in zip(whole, part, strict=True))), None

    return jax.lax.scan(block, whole, jnp.arange(-(-n // b)))[0]


def _hull_of_columns(r: Array, c: Array) -> Hull:
    """The hulls of revenue and cost [m, n]."""
    m, n = r.shape
    cost = reduce(jnp.minimum, c)
    revenue = reduce(jnp.maximum, jnp.where(c == cost[None], r, -jnp.inf))
    arm = _first((c == cost[None]) & (r == revenue[None]), jnp.zeros(n, jnp.int32))

    def advance(
        state: tuple[Array, Array, Array, Array, Array, Hull],
    ) -> tuple[Array, Array, Array, Array, Array, Hull]:
        k, arm, cost, revenue, ceiling, hull = state
        run, rise = c - cost[None], r - revenue[None]
        steep = jnp.where(run > 0, rise / run, 0)
        # First how steep, then which: one loop that carries all of a treatment runs at half the speed.
        slope = reduce(jnp.maximum, steep)
        next_arm = jnp.where(slope > 0, _first(steep == slope[None], arm), arm)
        next_cost, next_revenue = at_level(c, next_arm), at_level(r, next_arm)
        # Exact slopes fall along a hull; rounded ones may not, or be past the largest float.
        slope = jnp.minimum(slope, ceiling)
        hull = Hull(
            hull.arm.at[k + 1].set(next_arm),
            hull.cost.at[k + 1].set(next_cost),
            hull.slope.at[k].set(slope),
        )
        return k + 1, next_arm, next_cost, next_revenue, slope, hull

    def goes_on(state: tuple[Array, Array, Array, Array, Array, Hull]) -> Array:
        k, *_, slope, _ = state
        return (k < m - 1) & (slope > 0).any()

    hull = Hull(jnp.broadcast_to(arm, (m, n)), jnp.broadcast_to(cost, (m, n)), jnp.zeros((m - 1, n), cost.dtype))
    start = jnp.array(0), arm, cost, revenue, jnp.full_like(cost, jnp.finfo(cost.dtype).max), hull
    return jax.lax.while_loop(goes_on, advance, start)[-1]


def _first(holds: Array, otherwise: Array) -> Array:
    """The first row of `holds` [m, n] that is true in each column, [n] int; `otherwise` where none is."""
    for j in reversed(range(holds.shape[0])):
        otherwise = jnp.where(holds[j], j, otherwise)
    return otherwise


def level_above(hull: Hull, lam: Array) -> Array:
    """How many steps of each hull are steeper than `lam`, [n] int32."""
    return (hull.slope > lam).sum(axis=0, dtype=jnp.int32)


def costs_above(hull: Hull, lam: Array) -> Array:
    """Everybody's cost once all steps steeper than `lam` are taken, [n]."""
    cost = hull.cost[0]
    for k in range(hull.slope.shape[0]):
        cost = jnp.where(hull.slope[k] > lam, hull.cost[k + 1], cost)
    return cost


def at_level(column: Array, level: Array) -> Array:
    """The entry of each person's `column` [k, n] at `level` [n]; 0 beyond its end."""
    entry = jnp.zeros_like(column[0])
    for k in range(column.shape[0]):
        entry = jnp.where(level == k, column[k], entry)
    return entry
