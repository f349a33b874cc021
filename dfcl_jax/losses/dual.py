"""The dual decision loss: a sum over multipliers whose gradient is supplied, not derived.

The value of a decision is a step function of the predictions, so its derivative teaches nothing. Every dual loss
of the papers is a value together with an estimate of its gradient; `dual_loss` is the one place that hands the pair to
JAX, and each loss is a `Term` given to it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.types import Outcomes, Scores

# (outcomes, scores, lam [], scale) -> (value [], its gradient with respect to the outcomes, [n, m] each).
# `scale` is the term's own length, [] or a tuple of them: a temperature, or windows.
Term = Callable[[Outcomes, Scores, Array, Any], tuple[Array, Outcomes]]


@partial(jax.jit, static_argnums=0)
def dual_loss(
    term: Term,
    outcomes: Outcomes,
    scores: Scores,
    lams: ArrayLike,
    scale: ArrayLike | tuple[ArrayLike, ...],
    weights: ArrayLike,
) -> Array:
    """- sum_k weights_k V(outcomes, scores, lams_k, scale_k), with V and its gradient given by `term` (DFCL, D5).

    Multipliers are taken one after the other, so memory does not grow with their number. The derivative is with
    respect to `outcomes` alone: scores, multipliers, scales and weights are data, and their derivative is zero.

    Args:
        term: the value at one multiplier and the estimate of its gradient.
        outcomes: predictions, [n, m] each.
        scores: what the decision is judged by, [n, m] each.
        lams: multipliers, [k] or a scalar.
        scale: one length for each multiplier, or a scalar for all; or a tuple of such, as the term has it.
        weights: one weight for each multiplier, or a scalar for all.

    Returns:
        The loss per person, [].
    """
    lams = jnp.atleast_1d(jnp.asarray(lams, outcomes.r.dtype))
    scale, weights = jax.tree.map(
        lambda v: jnp.broadcast_to(jnp.asarray(v, outcomes.r.dtype), lams.shape), (scale, weights)
    )
    return _dual_loss(term, outcomes, scores, lams, scale, weights)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _dual_loss(term: Term, outcomes: Outcomes, scores: Scores, lams: Array, scale: Any, weights: Array) -> Array:
    def add(total: Array, k: tuple[Array, Any, Array]) -> tuple[Array, None]:
        lam, length, weight = k
        value, _ = term(outcomes, scores, lam, length)
        return total - weight * value, None

    return jax.lax.scan(add, jnp.zeros((), outcomes.r.dtype), (lams, scale, weights))[0]


def _dual_loss_fwd(
    term: Term, outcomes: Outcomes, scores: Scores, lams: Array, scale: Any, weights: Array
) -> tuple[Array, Outcomes]:
    def add(carry: tuple[Array, Outcomes], k: tuple[Array, Any, Array]) -> tuple[tuple[Array, Outcomes], None]:
        total, gradient = carry
        lam, length, weight = k
        value, slope = term(outcomes, scores, lam, length)
        return (total - weight * value, jax.tree.map(lambda g, s: g - weight * s, gradient, slope)), None

    start = (jnp.zeros((), outcomes.r.dtype), jax.tree.map(jnp.zeros_like, outcomes))
    return jax.lax.scan(add, start, (lams, scale, weights))[0]


def _dual_loss_bwd(term: Term, gradient: Outcomes, cotangent: Array) -> tuple[Outcomes, None, None, None, None]:
    return jax.tree.map(lambda g: cotangent * g, gradient), None, None, None, None


_dual_loss.defvjp(_dual_loss_fwd, _dual_loss_bwd)
