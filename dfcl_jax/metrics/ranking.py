"""A ranking of people by a score, and what was seen down to each place of it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax.sums import prefix_sums


class Ranking(NamedTuple):
    """K observations in the order of falling score. Those of equal score form a block, whose order means nothing."""

    person: Array  # [k] int, whose it is
    arm: Array  # [k] int, the treatment they were given
    treated: Array  # [k] bool, whether it counts as treated or as control
    counts: Array  # [k] 1, or 0 for one that does not count
    low: Array  # [k+1] int, the places taken at the start of the block that a place lies in
    high: Array  # [k+1] int, and at its end; as `low` where a place lies between two blocks


class Totals(NamedTuple):
    """What was seen in the first 0..k places, [k+1] each; within a block, what a random order of it expects."""

    people: Array  # number of people
    treated: Array  # of those, treated
    treated_r: Array  # revenue of the treated
    treated_c: Array  # their cost
    control_r: Array  # revenue of the others
    control_c: Array  # their cost


def rank(
    score: Array, person: Array, arm: Array, treated: Array, *, counts: Array | None = None, distinct: bool = True
) -> Ranking:
    """Rank observations, higher scores first; `distinct` treats equal scores as one block."""
    order = jnp.argsort(-score, stable=True)
    k = order.shape[0]
    places = jnp.arange(k + 1)
    low = high = places
    if distinct:
        falling = score[order]
        border = jnp.concatenate([jnp.array([True]), falling[1:] != falling[:-1], jnp.array([True])])
        low = jax.lax.cummax(jnp.where(border, places, 0))
        high = jax.lax.cummin(jnp.where(border, places, k), reverse=True)
    counts = jnp.ones_like(score) if counts is None else counts
    return Ranking(person[order], arm[order], treated[order], counts[order], low, high)


def totals(ranking: Ranking, r: Array, c: Array, weights: Array) -> Totals:
    """Sums down the ranking of what was seen of n people.

    Args:
        ranking: k observations.
        r: revenue seen, [n].
        c: cost seen, [n].
        weights: how much an observation counts, [k] in the order of the ranking.
    """
    w = weights * ranking.counts
    one = jnp.where(ranking.treated, w, 0)
    r, c = r[ranking.person], c[ranking.person]
    columns = jnp.stack([w, one, one * r, one * c, (w - one) * r, (w - one) * c])
    sums = jnp.pad(prefix_sums(columns), ((0, 0), (1, 0)))
    return Totals(*(chord(ranking, column) for column in sums))


def chord(ranking: Ranking, values: Array) -> Array:
    """`values` [k+1] at the borders of blocks, and within a block the straight line between its ends."""
    low, high = ranking.low, ranking.high
    share = (jnp.arange(low.shape[0]) - low) / jnp.maximum(high - low, 1)
    return values[low] + share * (values[high] - values[low])


def rounding(values: Array, weights: Array) -> Array:
    """What is left of a difference of two means of `values` [n] by rounding alone, at most, []."""
    mean = (weights * jnp.abs(values)).sum() / weights.sum()
    return 32 * jnp.finfo(mean.dtype).eps * mean
