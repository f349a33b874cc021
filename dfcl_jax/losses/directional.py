"""PG losses: the directional derivative of the best value towards the scores, by a finite difference."""

from typing import Literal

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.errors import check_option
from dfcl_jax.losses.dual import People, Term, Totals, dual_loss
from dfcl_jax.losses.finite_difference import best
from dfcl_jax.types import Outcomes, Scores

Side = Literal["central", "forward", "backward"]


def directional_loss(
    outcomes: Outcomes,
    scores: Scores,
    lams: ArrayLike,
    *,
    step: ArrayLike,
    side: Side = "central",
    weights: ArrayLike = 1.0,
) -> Array:
    """Perturbation-gradient loss (Gupta and Huang, NeurIPS 2024) of the decision at each multiplier.

    With V(a) = mean_i max_j a_ij, a = r_hat - lam_k c_hat and g = G^r - lam_k G^c,

        L = - sum_k weights_k (V(a + above h_k g) - V(a - below h_k g)) / ((above + below) h_k)

    with (above, below) = (1, 1) central, (1, 0) forward, (0, 1) backward. By the envelope theorem L goes to - mean_i
    g_{i, argmax a_i}, the true decision loss, as h goes to 0. Where no two treatments tie its gradient is dL/da_ij =
    - weights_k (1[j = argmax(a + above h g)] - 1[j = argmax(a - below h g)])_i / ((above + below) h_k n).

    Args:
        outcomes: predictions r_hat, c_hat, [n, m] each.
        scores: score surfaces G^r, G^c, [n, m] each, of any estimator.
        lams: multipliers, [k] or a scalar.
        step: h, in units of a over units of g, a scalar or [k], above 0.
        side: of the difference.
        weights: of the multipliers' terms, a scalar or [k].

    Returns:
        The loss per person, summed over multipliers, [].

    Raises:
        InputError: a side that is not known.
    """
    check_option("side", side, Side)
    return dual_loss(_TERMS[side], outcomes, scores, lams, step, weights)


def _term(above: float, below: float) -> Term:
    def difference(people: People, lam: Array, step: Array, totals: Totals) -> tuple[Totals, Outcomes]:
        over, under = people.score + above * step * people.gain, people.score - below * step * people.gain
        length = (above + below) * step
        value = (over.max(axis=0, keepdims=True) - under.max(axis=0, keepdims=True)) / length
        # 1[j = argmax] above less 1[j = argmax] below.
        slope = (best(over).astype(length.dtype) - best(under)) / (length * totals.size)
        return Totals(value, jnp.ones_like(value), jnp.zeros_like(value)), Outcomes(r=slope, c=-lam * slope)

    return Term(difference)


_TERMS = {"central": _term(1.0, 1.0), "forward": _term(1.0, 0.0), "backward": _term(0.0, 1.0)}
