"""Exact gradients of any loss on batches too large for memory, one chunk of people at a time."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax.types import Outcomes


def in_chunks(apply: Callable[[Any, Array], Outcomes], chunk: int) -> Callable[[Any, Array], Outcomes]:
    """Return `apply` with its hidden layers in memory for only `chunk` people at a time.

    Both map (params, x [n, d]) to Outcomes [..., n, m].

    Not every loss is a mean over its rows: self-normalised losses divide by a sum over the batch, and primal losses
    find their multiplier on it. But every loss is a function of the predictions [n, m], which are small; only the
    layers behind them are too large. These layers are computed chunk by chunk, dropped, and computed again in the
    backward pass. `jax.grad(lambda params: loss(in_chunks(apply, chunk)(params, x), ...))` then sums over chunks the
    gradient of the loss of the whole batch. This holds for any loss and costs one more forward pass.
    """
    # Inside a loop the compiler cannot merge the two computations.
    forgetful = jax.checkpoint(apply, prevent_cse=False)

    def chunked(params: Any, x: Array) -> Outcomes:
        n = x.shape[0]
        number = -(-n // chunk)
        if number <= 1:
            return apply(params, x)
        size = -(-n // number)

        def one(first: Array) -> Outcomes:
            return forgetful(params, jax.lax.dynamic_slice_in_dim(x, first, size))

        # The last chunk overlaps the one before; repeated rows are dropped.
        parts = jax.lax.map(one, jnp.minimum(jnp.arange(number) * size, n - size))
        again = number * size - n

        def joined(part: Array) -> Array:
            part = jnp.moveaxis(part, 0, -3)
            *outer, _, _, m = part.shape
            before = part[..., :-1, :, :].reshape(*outer, (number - 1) * size, m)
            return jnp.concatenate([before, part[..., -1, again:, :]], axis=-2)

        return jax.tree.map(joined, parts)

    return chunked
