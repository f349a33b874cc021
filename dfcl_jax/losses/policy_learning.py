"""Policy learning: the decision softened, so that its value has a gradient."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.losses.dual import dual_loss
from dfcl_jax.solvers.decision import priced, soft
from dfcl_jax.types import Outcomes, Scores


def policy_learning_loss(
    outcomes: Outcomes, scores: Scores, lams: ArrayLike, *, temperature: ArrayLike = 1.0, weights: ArrayLike = 1.0
) -> Array:
    """The dual value of the softened decision: DFCL-PL, and DFCL-MER with a temperature (DFCL, D6 and D7).

    L = - sum_k weights_k mean_i sum_j (G^r - lam_k G^c)_ij softmax_j((r_hat - lam_k c_hat)_i. / temperature_k)

    With `scores.ipw` and temperature 1 this is (D6), unbiased for the loss on the true surfaces; a temperature is
    the entropy weight of (D7). The gradient is the exact one, computed beside the value (see `dual_loss`):
    dV/da_ij = z_ij (g_ij - sum_k z_ik g_ik) / (n temperature), g = G^r - lam G^c.

    Args:
        outcomes: predictions r_hat, c_hat, [n, m] each.
        scores: score surfaces G^r, G^c, [n, m] each.
        lams: multipliers, [k] or a scalar.
        temperature: in the unit of r_hat - lam c_hat, a scalar or [k].
        weights: of the multipliers' terms, a scalar or [k]. 1 / temperature makes the loss free of units.

    Returns:
        The loss per person, summed over multipliers, [].
    """
    return dual_loss(_soft_value, outcomes, scores, lams, temperature, weights)


def _soft_value(outcomes: Outcomes, scores: Scores, lam: Array, temperature: Array) -> tuple[Array, Outcomes]:
    z = soft(outcomes, lam, temperature)
    gain = priced(Outcomes(scores.r, scores.c), lam)
    value = (z * gain).sum(axis=1, keepdims=True)
    slope = z * (gain - value) / (temperature * jnp.asarray(z.shape[0], z.dtype))
    return value.mean(), Outcomes(r=slope, c=-lam * slope)
