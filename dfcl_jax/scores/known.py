"""Costs that the design of a trial fixes need no estimate."""

from typing import TypeVar

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.types import Outcomes, Scores

Surfaces = TypeVar("Surfaces", Scores, Outcomes)


def known_costs(surfaces: Surfaces, known: ArrayLike, *, base: Array | float = 0.0) -> Surfaces:
    """Put costs that are known in the place of estimates: c_ij = known_j - b(x_i) for everybody where it is not NaN.

    The true surface of such a treatment is the constant itself, so scores stay unbiased, and without variance there.

    Args:
        surfaces: scores, or predicted outcomes, [n, m] each.
        known: what each treatment costs, [m]; NaN where that is to be estimated. No entries: nothing is known.
        base: what was taken off the cost scores of every treatment, [n]: b(x_i) of `centred`; 0 for all others.
    """
    known = jnp.asarray(known, surfaces.c.dtype)
    if known.size == 0:
        return surfaces
    off = jnp.broadcast_to(jnp.asarray(base, known.dtype), surfaces.c.shape[:1])
    known = jnp.broadcast_to(known[None, :], surfaces.c.shape)
    return surfaces._replace(c=jnp.where(jnp.isnan(known), surfaces.c, known - off[:, None]))
