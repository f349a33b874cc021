"""Perturbed decisions: the expected argmax under noise, which has a gradient where the argmax has none."""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.errors import refuse

Noise = Literal["gumbel", "normal"]


def perturbed(key: Array, score: Array, scale: ArrayLike, *, samples: int = 64, noise: Noise = "normal") -> Array:
    """Estimate z_ij = E 1[j = argmax_k (a_ik + scale Z_ik)] by Monte Carlo, [n, m].

    This is a perturbed optimiser (Berthet et al., Learning with differentiable perturbed optimizers, NeurIPS 2020) of
    the decision at a multiplier, for a = `priced(outcomes, lam)`. With Gumbel noise its expectation is
    softmax(a / scale), with normal noise a probit choice. The derivative is that of their proposition 3.1, estimated on
    the same draws:

        dz_ij / da_ik = E[ 1[j = argmax] dnu(Z_ik) ] / scale,   dnu(Z) = Z (normal),  1 - exp(-Z) (Gumbel),

    unbiased for the derivative of the expectation. The backward pass draws the noise again, sample by sample, so memory
    does not grow with `samples`.

    Args:
        key: for the noise; the same key gives the same decision and its matching gradient.
        score: a, [n, m].
        scale: of the noise, in the unit of the score, []; positive. It is data: its derivative is zero.
        samples: number of Monte-Carlo draws.
        noise: "normal" or "gumbel".
    """
    if noise not in ("normal", "gumbel"):
        refuse("noise", found=repr(noise), expected="'normal' or 'gumbel'")
    if samples < 1:
        refuse("samples", found=samples, expected="at least 1")
    return _perturbed(key, score, jnp.asarray(scale, score.dtype), samples, noise)


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _perturbed(key: Array, score: Array, scale: Array, samples: int, noise: Noise) -> Array:
    return perturbed_mean(key, score, scale, samples, noise)[0]


def _perturbed_fwd(
    key: Array, score: Array, scale: Array, samples: int, noise: Noise
) -> tuple[Array, tuple[Array, Array, Array]]:
    return _perturbed(key, score, scale, samples, noise), (key, score, scale)


def _perturbed_bwd(
    samples: int, noise: Noise, residuals: tuple[Array, Array, Array], cotangent: Array
) -> tuple[None, Array, None]:
    key, score, scale = residuals

    def draw(total: Array, k: Array) -> tuple[Array, None]:
        z = _draw(k, score, noise)
        decided = jax.nn.one_hot(jnp.argmax(score + scale * z, axis=1), score.shape[1], dtype=score.dtype)
        slope = z if noise == "normal" else 1 - jnp.exp(-z)
        return total + (decided * cotangent).sum(axis=1, keepdims=True) * slope, None

    total, _ = jax.lax.scan(draw, jnp.zeros_like(score), jax.random.split(key, samples))
    return None, total / (samples * scale), None


_perturbed.defvjp(_perturbed_fwd, _perturbed_bwd)


def perturbed_mean(key: Array, score: Array, scale: Array, samples: int, noise: Noise) -> tuple[Array, Array]:
    """Return the mean decision [n, m] and the mean maximum max_j (a_ij + scale Z_ij) [n] over the draws."""

    def draw(total: tuple[Array, Array], k: Array) -> tuple[tuple[Array, Array], None]:
        moved = score + scale * _draw(k, score, noise)
        decided = jax.nn.one_hot(jnp.argmax(moved, axis=1), score.shape[1], dtype=score.dtype)
        return (total[0] + decided, total[1] + moved.max(axis=1)), None

    start = (jnp.zeros_like(score), jnp.zeros_like(score[:, 0]))
    (decisions, maxima), _ = jax.lax.scan(draw, start, jax.random.split(key, samples))
    return decisions / samples, maxima / samples


def _draw(key: Array, score: Array, noise: Noise) -> Array:
    draw = {"normal": jax.random.normal, "gumbel": jax.random.gumbel}[noise]
    return draw(key, score.shape, score.dtype)
