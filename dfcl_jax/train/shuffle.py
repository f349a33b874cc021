"""A random order of rows that is computed where it is read, instead of being stored."""

from collections.abc import Callable
from math import isqrt

import jax
import jax.numpy as jnp
from jax import Array

# Permutations of this form pass for random ones from five rounds on (Patarin 2004).
ROUNDS = 8

# Up to this many rows the order is drawn and stored: that is cheap, and a small rectangle has few permutations.
HELD = 4096


def shuffle(key: Array, n: int) -> Callable[[Array], Array]:
    """Draw a random bijection of 0..n-1: positions -> rows, integers of any shape.

    Positions are laid out on a rectangle, position = u b + v, 0 <= u < a, 0 <= v < b, with a b >= n as small as can be
    and a and b near sqrt(n). A round moves every column down by a random distance, then every row across by another,

        u <- u + F(v) mod a,  v <- v + G(u) mod b,

    which is a bijection of the rectangle whatever F and G are (a Feistel network: Luby and Rackoff 1988; on a
    rectangle: Black and Rogaway 2002). Both are tables of random numbers, a + b in all. A position that is mapped
    beyond n - 1 is mapped again. Nothing of size n is sorted, moved or stored: only what is read is computed.
    """
    if n <= HELD:
        held = jax.random.permutation(key, n)
        return lambda position: held[position]
    root = isqrt(n)
    b = min(range(root + 1, root * 3 // 4, -1), key=lambda width: -n % width)
    a = -(-n // b)
    down, across = jax.random.split(key)
    downs = jax.random.randint(down, (ROUNDS, b), 0, a, jnp.int32)
    acrosses = jax.random.randint(across, (ROUNDS, a), 0, b, jnp.int32)

    def once(position: Array) -> Array:
        u, v = position // b, position % b
        for f, g in zip(downs, acrosses, strict=True):
            u = _wrapped(u + f[v], a)
            v = _wrapped(v + g[u], b)
        return u * b + v

    def order(position: Array) -> Array:
        row = once(position.astype(jnp.int32))
        return jax.lax.while_loop(lambda row: (row >= n).any(), lambda row: jnp.where(row >= n, once(row), row), row)

    return order


def _wrapped(total: Array, size: int) -> Array:
    return jnp.where(total >= size, total - size, total)
