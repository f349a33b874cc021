"""Policy learning: a softened decision, whose value has a gradient."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.losses.dual import People, Term, Totals, dual_loss
from dfcl_jax.types import Outcomes, Scores


def policy_learning_loss(
    outcomes: Outcomes, scores: Scores, lams: ArrayLike, *, temperature: ArrayLike = 1.0, weights: ArrayLike = 1.0
) -> Array:
    """Dual value of the softened decision: DFCL-PL, and DFCL-MER with a temperature (DFCL, D6 and D7).

    L = - sum_k weights_k mean_i sum_j (G^r - lam_k G^c)_ij softmax_j((r_hat - lam_k c_hat)_i. / temperature_k)

    With `scores.ipw` and temperature 1 this is (D6), unbiased for the loss on the true surfaces; a temperature is the
    entropy weight of (D7). The gradient is exact and computed together with the value (see `dual_loss`):
    dV/da_ij = z_ij (g_ij - sum_k z_ik g_ik) / (n temperature), g = G^r - lam G^c. The losses of batches of one size
    average to the loss of their union, and so do the gradients.

    Args:
        outcomes: predictions r_hat, c_hat, [n, m] each.
        scores: score surfaces G^r, G^c, [n, m] each.
        lams: multipliers, [k] or a scalar.
        temperature: in the unit of r_hat - lam c_hat, a scalar or [k].
        weights: of the multipliers' terms, a scalar or [k]. 1 / temperature makes the loss independent of units.

    Returns:
        The loss per person, summed over multipliers, [].
    """
    return dual_loss(SOFT_VALUE, outcomes, scores, lams, temperature, weights)


def _soft_value(people: People, lam: Array, temperature: Array, totals: Totals) -> tuple[Totals, Outcomes]:
    z = jax.nn.softmax(people.score / temperature, axis=0)
    value = (z * people.gain).sum(axis=0, keepdims=True)
    slope = z * (people.gain - value) / (temperature * totals.size)
    return Totals(value, jnp.ones_like(value), jnp.zeros_like(value)), Outcomes(r=slope, c=-lam * slope)


SOFT_VALUE = Term(_soft_value)
