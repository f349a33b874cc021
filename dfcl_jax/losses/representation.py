"""Losses of a representation: how far groups of people lie apart in it."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike


def mmd(h: Array, t: Array, m: int, *, bandwidth: ArrayLike | None = None) -> Array:
    """Maximum mean discrepancy of every treatment's people to those of treatment 0, squared and summed, [].

    MMD^2_j = sum_{ik} d_i d_k K_ik with d_i = 1[t_i = j] / n_j - 1[t_i = 0] / n_0 and K_ik = exp(-|h_i - h_k|^2 / b).
    It is 0 for groups that are alike, and positive otherwise (Gretton et al. 2012; CFR-MMD, Shalit et al. 2017). A
    treatment without people counts 0.

    Args:
        h: representations, [n, k].
        t: treatments, [n] int.
        m: number of treatments.
        bandwidth: b; None: the mean of |h_i - h_k|^2, which the gradient does not see.
    """
    given = jax.nn.one_hot(t, m, dtype=h.dtype)
    people = given.sum(axis=0)
    share = given / jnp.maximum(people, 1)[None, :]
    apart = (share[:, 1:] - share[:, :1]) * ((people[1:] > 0) & (people[0] > 0))[None, :]
    # |a|^2 + |b|^2 - 2 a b keeps n^2 numbers where the differences themselves would be n^2 k. It may round to below 0.
    h = h - h.mean(axis=0, keepdims=True)
    length = (h**2).sum(axis=1)
    square = jnp.maximum(length[:, None] + length[None, :] - 2 * h @ h.T, 0)
    b = jax.lax.stop_gradient(square.mean()) if bandwidth is None else jnp.asarray(bandwidth)
    kernel = jnp.exp(-square / jnp.where(b > 0, b, 1))
    return (apart * (kernel @ apart)).sum()
