"""Decisions at a multiplier: the dual separates people, so each is decided alone."""

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax.types import Outcomes


def priced(outcomes: Outcomes, lam: Array | float) -> Array:
    """Return a_ij = r_ij - lam c_ij, [n, m]: revenue minus the cost at its shadow price."""
    return outcomes.r - lam * outcomes.c


def hard(outcomes: Outcomes, lam: Array | float) -> Array:
    """Return z_i(lam) = argmax_j (r_ij - lam c_ij), [n] int (DFCL, D3); a tie goes to the lower arm."""
    return jnp.argmax(priced(outcomes, lam), axis=1)


def soft(outcomes: Outcomes, lam: Array | float, temperature: Array | float) -> Array:
    """Return z_ij = softmax_j((r_ij - lam c_ij) / temperature), [n, m] (DFCL, D6 and D7)."""
    return jax.nn.softmax(priced(outcomes, lam) / temperature, axis=1)
