"""Surfaces for methods that only rank steps: any order of steps is planned, judged and saved like predictions."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.errors import refuse
from dfcl_jax.types import Outcomes


def surfaces_from_slopes(u: Array, *, steps: ArrayLike = 1.0) -> Outcomes:
    """Surfaces whose step from treatment j to j + 1 has slope `u_ij`, [n, m] each for u [n, m - 1].

    c_ij = sum_{k<j} s_k and r_ij = sum_{k<j} s_k u_ik, so that (r_{i,j+1} - r_ij) / (c_{i,j+1} - c_ij) = u_ij. At
    multiplier lam everybody takes the steps that their upper hull has above lam: slopes that rise from a step to the
    next are pooled first, weighted by s, as `upper_hull` does (pool adjacent violators). Neither surface is money: a
    multiplier is found by spend that was measured, never by these costs.

    Args:
        u: revenue per cost of each step up in treatment, or any score that ranks the steps of all people.
        steps: s, mean cost of each step where it is known, [m - 1] or a scalar, above 0.

    Raises:
        InputError: slopes that are not [n, m - 1] with m of at least 2.
    """
    if u.ndim != 2 or u.shape[1] < 1:
        refuse("slopes", found=f"shape {u.shape}", expected="[n, m - 1], a step each")
    s = jnp.broadcast_to(jnp.asarray(steps, u.dtype), u.shape[1:])[None, :]

    def climb(rise: Array) -> Array:
        return jnp.concatenate([jnp.zeros_like(rise[:, :1]), jnp.cumsum(rise, axis=1)], axis=1)

    return Outcomes(climb(s * u), climb(s * jnp.ones_like(u)))
