"""Batches larger than a cache or a memory: the gradient of any loss, exactly, a chunk of people at a time."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax.types import Outcomes


def in_chunks(apply: Callable[[Any, Array], Outcomes], chunk: int) -> Callable[[Any, Array], Outcomes]:
    """`apply` (params, x [n, d]) -> Outcomes [..., n, m], whose hidden layers are held for `chunk` people at a time.

    Not every loss of a batch is a mean over its rows: the self-normalised ones divide by a sum over the batch, the
    primal ones find their multiplier on it. But every loss is a function of predictions [n, m], which are small; what
    does not fit is the layers behind them. So these are computed chunk by chunk, forgotten, and computed again when
    the gradient comes back: `jax.grad(lambda params: loss(in_chunks(apply, chunk)(params, x), ...))` accumulates over
    chunks the gradient of the loss of the whole batch, whatever the loss, for one more pass forward.
    """
    # Within a loop, nothing could merge the two computations.
    forgetful = jax.checkpoint(apply, prevent_cse=False)

    def chunked(params: Any, x: Array) -> Outcomes:
        n = x.shape[0]
        number = -(-n // chunk)
        if number <= 1:
            return apply(params, x)
        size = -(-n // number)

        def one(first: Array) -> Outcomes:
            return forgetful(params, jax.lax.dynamic_slice_in_dim(x, first, size))

        # The last chunk begins early enough to be a full one; whom it has again are left out of it.
        parts = jax.lax.map(one, jnp.minimum(jnp.arange(number) * size, n - size))
        again = number * size - n

        def joined(part: Array) -> Array:
            part = jnp.moveaxis(part, 0, -3)
            *outer, _, _, m = part.shape
            before = part[..., :-1, :, :].reshape(*outer, (number - 1) * size, m)
            return jnp.concatenate([before, part[..., -1, again:, :]], axis=-2)

        return jax.tree.map(joined, parts)

    return chunked
