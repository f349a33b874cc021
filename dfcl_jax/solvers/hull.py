"""Each person's upper hull: the treatments that are best at some multiplier, in order of cost."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax.types import Outcomes


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
    r, c = outcomes.r.T, outcomes.c.T
    arm, cost, revenue = jnp.zeros(n, jnp.int32), c[0], r[0]
    for j in range(1, m):
        better = (c[j] < cost) | ((c[j] == cost) & (r[j] > revenue))
        arm, cost, revenue = _choose(better, (j, c[j], r[j]), (arm, cost, revenue))

    def advance(state: tuple[Array, Array, Array, Hull]) -> tuple[Array, Array, Array, Hull]:
        k, arm, revenue, hull = state
        cost, ceiling = hull.cost[k], jnp.where(k > 0, hull.slope[k - 1], jnp.inf)
        slope, next_arm, next_cost, next_revenue = jnp.zeros_like(cost), arm, cost, revenue
        for j in range(m):
            run, rise = c[j] - cost, r[j] - revenue
            steep = jnp.where(run > 0, rise / run, 0)
            slope, next_arm, next_cost, next_revenue = _choose(
                steep > slope, (steep, j, c[j], r[j]), (slope, next_arm, next_cost, next_revenue)
            )
        # Exact slopes fall along a hull; rounded ones may not, or be past the largest float.
        slope = jnp.minimum(jnp.minimum(slope, ceiling), jnp.finfo(slope.dtype).max)
        hull = Hull(
            hull.arm.at[k + 1].set(next_arm.astype(hull.arm.dtype)),
            hull.cost.at[k + 1].set(next_cost),
            hull.slope.at[k].set(slope),
        )
        return k + 1, next_arm, next_revenue, hull

    def goes_on(state: tuple[Array, Array, Array, Hull]) -> Array:
        k, *_, hull = state
        return (k < m - 1) & ((k == 0) | (hull.slope[k - 1] > 0).any())

    hull = Hull(
        jnp.broadcast_to(arm.astype(jnp.int8 if m <= 127 else jnp.int32), (m, n)),
        jnp.broadcast_to(cost, (m, n)),
        jnp.zeros((m - 1, n), cost.dtype),
    )
    return jax.lax.while_loop(goes_on, advance, (jnp.array(0), arm, revenue, hull))[-1]


def _choose(better: Array, new: tuple[Any, ...], old: tuple[Array, ...]) -> tuple[Array, ...]:
    return tuple(jnp.where(better, a, b) for a, b in zip(new, old, strict=True))


def level_above(hull: Hull, lam: Array) -> Array:
    """How many steps of each hull are steeper than `lam`, [n] int32."""
    return (hull.slope > lam).sum(axis=0, dtype=jnp.int32)


def at_level(column: Array, level: Array) -> Array:
    """The entry of each person's `column` [k, n] at `level` [n]; 0 beyond its end."""
    entry = jnp.zeros_like(column[0])
    for k in range(column.shape[0]):
        entry = jnp.where(level == k, column[k], entry)
    return entry
