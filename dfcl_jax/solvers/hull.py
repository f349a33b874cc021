"""Upper hulls: for each person, the treatments that are best at some multiplier, in order of cost."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax.types import Outcomes

# Number of people per block on a CPU: their columns stay in its cache through all passes.
BLOCK = 4096


class Hull(NamedTuple):
    """Each person's path from the cheapest treatment to the one of highest revenue, as the multiplier decreases.

    People are the last axis, because hulls are built and searched column by column.
    """

    arm: Array  # [m, n] int, the treatment at each vertex; meaningless past a person's last vertex
    cost: Array  # [m, n] cost of that treatment, likewise
    slope: Array  # [m-1, n] revenue per cost of the step to the next vertex, decreasing; 0 if there is none


def upper_hull(outcomes: Outcomes) -> Hull:
    """Find the vertices of each person's upper concave hull of (cost, revenue) that are best at some multiplier >= 0.

    Starts at the cheapest treatment (in a tie, the one of highest revenue) and goes on to the treatment with the
    steepest rise of revenue per cost (in a tie, the first), as long as revenue rises. This is gift wrapping, in m - 1
    passes over m columns. Dominated treatments and those below the hull are skipped. Costs may differ by person and be
    zero, equal or negative.

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
        # The last block overlaps the one before.
        first = jnp.minimum(number * b, n - b)
        people = (jax.lax.dynamic_slice_in_dim(surface, first, b) for surface in outcomes)
        # Columns are copied apart once. A transpose would be a view, which every pass would read with strides.
        r, c = (jnp.stack([surface[:, j] for j in range(m)]) for surface in people)
        part = _hull_of_columns(*jax.lax.optimization_barrier((r, c)))
        put = partial(jax.lax.dynamic_update_slice_in_dim, start_index=first, axis=1)
        return Hull(*(put(old, new.astype(old.dtype)) for old, new in zip(whole, part, strict=True))), None

    return jax.lax.scan(block, whole, jnp.arange(-(-n // b)))[0]


def _hull_of_columns(r: Array, c: Array) -> Hull:
    """Return the hulls of revenue and cost, [m, n] each."""
    # Reductions over columns are not written out as m operations each: a compiler would compute them again in
    # everything that uses their result, m times over.
    m, n = r.shape
    cost = c.min(axis=0)
    revenue = jnp.where(c == cost[None], r, -jnp.inf).max(axis=0)
    arm = _first((c == cost[None]) & (r == revenue[None]), jnp.zeros(n, jnp.int32))

    def advance(
        state: tuple[Array, Array, Array, Array, Array, Hull],
    ) -> tuple[Array, Array, Array, Array, Array, Hull]:
        k, arm, cost, revenue, ceiling, hull = state
        run, rise = c - cost[None], r - revenue[None]
        steep = jnp.where(run > 0, rise / run, 0)
        # Find the steepest slope first, then its treatment: one loop for both runs at half the speed.
        slope = steep.max(axis=0)
        next_arm = jnp.where(slope > 0, _first(steep == slope[None], arm), arm)
        next_cost, next_revenue = at_level(c, next_arm), at_level(r, next_arm)
        # Exact slopes decrease along a hull; rounded ones may increase, or exceed the largest float.
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
    """Return the first true row of `holds` [m, n] in each column, [n] int; `otherwise` if there is none."""
    for j in reversed(range(holds.shape[0])):
        otherwise = jnp.where(holds[j], j, otherwise)
    return otherwise


def level_above(hull: Hull, lam: Array) -> Array:
    """Count the steps of each hull that are steeper than `lam`, [n] int32."""
    return (hull.slope > lam).sum(axis=0, dtype=jnp.int32)


def costs_above(hull: Hull, lam: Array) -> Array:
    """Return everybody's cost after all steps steeper than `lam`, [n]."""
    cost = hull.cost[0]
    for k in range(hull.slope.shape[0]):
        cost = jnp.where(hull.slope[k] > lam, hull.cost[k + 1], cost)
    return cost


def at_level(column: Array, level: Array) -> Array:
    """Return the entry of each person's `column` [k, n] at `level` [n]; 0 beyond its end."""
    entry = jnp.zeros_like(column[0])
    for k in range(column.shape[0]):
        entry = jnp.where(level == k, column[k], entry)
    return entry
