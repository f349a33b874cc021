"""Losses of perturbed decisions: the expected argmax under noise, by Monte Carlo."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.solvers.decision import priced
from dfcl_jax.solvers.perturbed import Noise, perturbed, perturbed_mean
from dfcl_jax.types import Outcomes, Scores


def perturbed_loss(
    outcomes: Outcomes,
    scores: Scores,
    lams: ArrayLike,
    *,
    key: Array,
    scale: ArrayLike = 1.0,
    samples: int = 16,
    noise: Noise = "normal",
    weights: ArrayLike = 1.0,
) -> Array:
    """Dual value of the perturbed decision (DFCL, D5, with the argmax of Berthet et al. 2020).

    L = - sum_k weights_k mean_i sum_j (G^r - lam_k G^c)_ij z_ij,  z = `solvers.perturbed`(r_hat - lam_k c_hat, scale_k)

    With Gumbel noise, the expected loss and gradient are those of `policy_learning_loss` at temperature = scale. With
    normal noise, a probit softens the decision instead.

    Args:
        outcomes: predictions r_hat, c_hat, [n, m] each.
        scores: score surfaces G^r, G^c, [n, m] each.
        lams: multipliers, [k] or a scalar.
        key: for the noise, a new one at each step.
        scale: of the noise, in the unit of r_hat - lam c_hat, a scalar or [k].
        samples: number of Monte-Carlo draws.
        noise: "normal" or "gumbel".
        weights: of the multipliers' terms, a scalar or [k].

    Returns:
        The loss per person, summed over multipliers, [].
    """

    def term(key: Array, score: Array, gain: Array, scale: Array) -> Array:
        return -(gain * perturbed(key, score, scale, samples=samples, noise=noise)).sum(axis=1).mean()

    return _over_multipliers(term, outcomes, scores, lams, key, scale, weights)


def fenchel_young_loss(
    outcomes: Outcomes,
    scores: Scores,
    lams: ArrayLike,
    *,
    key: Array,
    scale: ArrayLike = 1.0,
    samples: int = 16,
    noise: Noise = "normal",
    weights: ArrayLike = 1.0,
) -> Array:
    """Distance between predictions and the decisions of the scores, for scores at or near the truth.

    L = sum_k weights_k mean_i [ E max_j (a_ij + scale_k Z_ij) - a_{i,t_i} ],  a = r_hat - lam_k c_hat,
    t_i = argmax_j (G^r - lam_k G^c)_ij

    This is the Fenchel-Young loss of the perturbed decision (Berthet et al. 2020, section 4), up to a term that does
    not depend on a. It is convex in a, with its minimum where the perturbed decision is t. On the same draws its
    gradient is

        dL/da_ij = (E 1[j = argmax_k (a_ik + scale Z_ik)] - 1[j = t_i]) / n.

    With Gumbel noise it is the cross-entropy of softmax(a / scale) for t, times scale, up to a constant. The loss
    ignores how much a decision is worth: from scores with one observation per person (`ipw`) a model would learn to
    repeat the logged treatments.

    Args:
        outcomes: predictions r_hat, c_hat, [n, m] each.
        scores: score surfaces whose best decision is the target, [n, m] each.
        lams: multipliers, [k] or a scalar.
        key: for the noise, a new one at each step.
        scale: of the noise, in the unit of r_hat - lam c_hat, a scalar or [k].
        samples: number of Monte-Carlo draws.
        noise: "normal" or "gumbel".
        weights: of the multipliers' terms, a scalar or [k].

    Returns:
        The loss per person, summed over multipliers, [].
    """

    def term(key: Array, score: Array, gain: Array, scale: Array) -> Array:
        target = jax.nn.one_hot(jnp.argmax(gain, axis=1), gain.shape[1], dtype=gain.dtype)
        return _fenchel_young(key, score, target, scale, samples, noise)

    return _over_multipliers(term, outcomes, scores, lams, key, scale, weights)


def _over_multipliers(
    term: Callable[[Array, Array, Array, Array], Array],
    outcomes: Outcomes,
    scores: Scores,
    lams: ArrayLike,
    key: Array,
    scale: ArrayLike,
    weights: ArrayLike,
) -> Array:
    # Everything except the outcomes is data, as in `dual_loss`.
    scores, lams, scale, weights = jax.lax.stop_gradient((scores, lams, scale, weights))
    lams = jnp.atleast_1d(jnp.asarray(lams, outcomes.r.dtype))
    scale, weights = (jnp.broadcast_to(jnp.asarray(v, lams.dtype), lams.shape) for v in (scale, weights))

    def add(total: Array, k: tuple[Array, Array, Array, Array]) -> tuple[Array, None]:
        lam, length, weight, draw = k
        gain = priced(Outcomes(scores.r, scores.c), lam)
        return total + weight * term(draw, priced(outcomes, lam), gain, length), None

    # Scores stored for the gradient would be [k, n, m], so they are computed again.
    add = jax.checkpoint(add, prevent_cse=False)
    start = jnp.zeros((), lams.dtype)
    return jax.lax.scan(add, start, (lams, scale, weights, jax.random.split(key, lams.shape[0])))[0]


@partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _fenchel_young(key: Array, score: Array, target: Array, scale: Array, samples: int, noise: Noise) -> Array:
    return _fenchel_young_fwd(key, score, target, scale, samples, noise)[0]


def _fenchel_young_fwd(
    key: Array, score: Array, target: Array, scale: Array, samples: int, noise: Noise
) -> tuple[Array, Array]:
    decision, maximum = perturbed_mean(key, score, scale, samples, noise)
    loss = (maximum - (score * target).sum(axis=1)).mean()
    return loss, (decision - target) / score.shape[0]


def _fenchel_young_bwd(samples: int, noise: Noise, gradient: Array, cotangent: Array) -> tuple[None, Array, None, None]:
    del samples, noise
    return None, cotangent * gradient, None, None


_fenchel_young.defvjp(_fenchel_young_fwd, _fenchel_young_bwd)
