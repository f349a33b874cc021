"""Sums over millions of rows without rounding errors.

A number is kept as the unevaluated sum of two floats, hi + lo, which doubles the precision of the floats. Totals in
float32 are then as exact as NumPy's in float64, also on devices without float64.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

_LANES = 16  # number of rows added in one fused pass
_ROWS = 64


class Double(NamedTuple):
    """The number hi + lo, with |lo| at most half a unit in the last place of hi."""

    hi: Array
    lo: Array


def two_sum(a: Array, b: Array) -> Double:
    """Return a + b without error (Knuth, The Art of Computer Programming 2, 4.2.2, theorem B)."""
    total = a + b
    part = total - a
    return Double(total, (a - (total - part)) + (b - part))


def add(a: Double, b: Double) -> Double:
    """Return a + b in doubled precision."""
    total, rest = two_sum(a.hi, b.hi)
    return two_sum(total, rest + (a.lo + b.lo))


def minus(a: Double, b: Double) -> Double:
    """Return a - b in doubled precision."""
    return add(a, Double(-b.hi, -b.lo))


def exact_sum(x: Array) -> Double:
    """Return sum_i x_i over the one axis of `x` [n], in doubled precision."""
    rows = _fold(x, _LANES)
    total = Double(rows[0], jnp.zeros_like(rows[0]))
    for row in rows[1:]:
        # The loop is unrolled so that this one pass over all of x is fused with the computation of x.
        hi, rest = two_sum(total.hi, row)
        total = Double(hi, total.lo + rest)
    if jax.default_backend() != "cpu":
        # One kernel: to launch those of a loop takes an accelerator longer than to run them.
        zero = jnp.zeros((), x.dtype)
        return Double(*jax.lax.reduce(tuple(total), (zero, zero), lambda a, b: add(Double(*a), Double(*b)), (0,)))
    while total.hi.shape[0] > 1:
        rows = jax.tree.map(lambda part: _fold(part, _ROWS), total)
        first, others = (jax.tree.map(lambda part, s=s: part[s], rows) for s in (0, slice(1, None)))
        total, _ = jax.lax.scan(lambda sum_so_far, row: (add(sum_so_far, row), None), first, others)
    return two_sum(total.hi[0], total.lo[0])


def exact_cumsum(x: Double) -> Double:
    """Return sum_{l <= i} x_l, [n], in doubled precision."""
    n = x.hi.shape[0]
    width = -(-n // _ROWS)
    # Block b is column b: all blocks are summed side by side, then the total of all earlier blocks is added to each.
    blocks = jax.tree.map(lambda part: jnp.pad(part, (0, _ROWS * width - n)).reshape(width, _ROWS).T, x)
    start = Double(*(jnp.zeros(width, x.hi.dtype) for _ in Double._fields))

    def accumulate(total: Double, row: Double) -> tuple[Double, Double]:
        total = add(total, row)
        return total, total

    unroll = 1 if jax.default_backend() == "cpu" else _LANES
    totals, sums = jax.lax.scan(accumulate, start, blocks, unroll=unroll)
    if width > 1:
        before = exact_cumsum(totals)
        before = jax.tree.map(lambda part: jnp.pad(part, (1, 0))[None, :-1], before)
        sums = add(sums, before)
    return jax.tree.map(lambda part: part.T.ravel()[:n], sums)


def prefix_sums(x: Array) -> Array:
    """Return sum_{l <= k} x_l along the last axis, [..., s], in the precision of `x`.

    These are matrix products with a triangle of ones, which are fast; the sums of blocks are added up in the same way.
    """
    s, rows = x.shape[-1], x.shape[:-1]
    if s <= 1:
        return x
    pad = [(0, 0)] * len(rows) + [(0, -s % _ROWS)]
    blocks = jnp.pad(x, pad).reshape(*rows, -1, _ROWS)
    sums = jnp.matmul(blocks, jnp.triu(jnp.ones((_ROWS, _ROWS), x.dtype)), precision="highest")
    if sums.shape[-2] > 1:
        before = prefix_sums(sums[..., -1])
        sums = sums + jnp.concatenate([jnp.zeros_like(before[..., :1]), before[..., :-1]], axis=-1)[..., None]
    return sums.reshape(*rows, -1)[..., :s]


def times(x: Array, n: int) -> Double:
    """Return n * x in doubled precision, for x []; repeated doubling keeps products from rounding."""
    total = Double(jnp.zeros_like(x), jnp.zeros_like(x))
    power = Double(x, jnp.zeros_like(x))
    while n:
        if n & 1:
            total = add(total, power)
        power, n = add(power, power), n >> 1
    return total


def _fold(x: Array, rows: int) -> Array:
    """Return `x` [n] as [rows, n / rows], padded with zeros."""
    width = -(-x.shape[0] // rows)
    return jnp.pad(x, (0, rows * width - x.shape[0])).reshape(rows, width)
