"""The Fenchel-Young loss of a perturbed decision: convex, with the decision's error for a gradient."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.solvers.perturbed import Noise, perturbed_mean


def fenchel_young_loss(
    key: Array, score: Array, target: Array, scale: ArrayLike, *, samples: int = 64, noise: Noise = "normal"
) -> Array:
    """mean_i [ E max_j (a_ij + scale Z_ij) - sum_j a_ij z_ij ], by Monte Carlo, [].

    The Fenchel-Young loss between scores a and a target decision z (Berthet et al. 2020, section 4), up to the part
    that depends on z alone. Convex in a, least where the perturbed decision is z; its gradient is

        dL/da_ij = (E 1[j = argmax_k (a_ik + scale Z_ik)] - z_ij) / n

    on the same draws. The target is what one would decide if one knew: the decision on the true surfaces, or on
    an estimate of them. With Gumbel noise it is the cross-entropy of softmax(a / scale), times scale, up to a constant.

    Args:
        key: of the noise.
        score: a = r_hat - lam c_hat, [n, m].
        target: z, decisions or shares of treatments, [n, m], each row summing to 1.
        scale: of the noise, in the unit of the score, [].
        samples: Monte-Carlo draws.
        noise: "normal" or "gumbel".
    """
    return _fenchel_young(key, score, target, jnp.asarray(scale, score.dtype), samples, noise)


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
