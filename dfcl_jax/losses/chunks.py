"""Batches larger than memory: the gradient of any loss, exactly, a chunk of people at a time."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax.types import Outcomes


def in_chunks(apply: Callable[[Any, Array], Outcomes], chunk: int) -> Callable[[Any, Array], Outcomes]:
    """`apply` (params, x [n, d]) -> Outcomes, whose hidden layers are held for `chunk` people at a time.

    Not every loss of a batch is a mean over its rows: the self-normalised ones divide by a sum over the batch, the
    primal ones find their multiplier on it. But every loss is a function of predictions [n, m], which are small; what
    does not fit is the layers behind them. So these are computed chunk by chunk, forgotten, and computed again when
    the gradient comes back: `jax.grad(lambda params: loss(in_chunks(apply, chunk)(params, x), ...))` accumulates over
    chunks the gradient of the loss of the whole batch, whatever the loss, for one more pass forward.
    """
    forgetful = jax.checkpoint(apply)

    def chunked(params: Any, x: Array) -> Outcomes:
        whole = x.shape[0] // chunk * chunk
        parts = jax.lax.map(lambda part: forgetful(params, part), x[:whole].reshape(-1, chunk, *x.shape[1:]))
        rest = forgetful(params, x[whole:])
        return jax.tree.map(lambda a, b: jnp.concatenate([a.reshape(-1, *b.shape[1:]), b]), parts, rest)

    return chunked
