"""Decision losses at constants: (predictions, scores, constants) -> loss, what a decision method is trained on."""

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax.losses.constants import Constants, score_spread
from dfcl_jax.losses.directional import Side, directional_loss
from dfcl_jax.losses.finite_difference import (
    Clip,
    Flips,
    dual_finite_difference_loss,
    finite_difference_loss,
)
from dfcl_jax.losses.naive import naive_finite_difference_loss
from dfcl_jax.losses.perturbed import perturbed_loss
from dfcl_jax.losses.policy_learning import policy_learning_loss
from dfcl_jax.losses.prediction import surface_loss
from dfcl_jax.losses.primal import primal_finite_difference_loss, primal_policy_learning_loss
from dfcl_jax.solvers import hard, priced
from dfcl_jax.types import Outcomes, Scores, pick


def policy_learning(outcomes: Outcomes, scores: Scores, constants: Constants) -> Array:
    """DFCL-PL (D6): the softened decision at temperature 1, as published."""
    return policy_learning_loss(outcomes, scores, constants.lams, weights=1.0)


def entropy_regularised(outcomes: Outcomes, scores: Scores, constants: Constants) -> Array:
    """DFCL-MER (D7): the softened decision at the constants' temperature."""
    k = constants
    return policy_learning_loss(outcomes, scores, k.lams, temperature=k.temperature, weights=k.weights)


def above_own_value(outcomes: Outcomes, scores: Scores, constants: Constants) -> Array:
    """DFCL-MER on gains above what the policy itself is worth: g_ij - V w_ij, V = sum_i g_i,z_i / sum_i w_i,z_i.

    V is the value of the hard decision over the batch, as in DFCL-IFD. Where every step of IFD is inside its window and
    scores are close to each other beside the temperature, both have the same gradient on r_hat, but for a factor.
    """
    k = constants

    def term(lam: Array, temperature: Array, weight: Array) -> Array:
        z = hard(outcomes, lam)
        matched = pick(scores.w, z).sum()
        r, c = (pick(surface, z).sum() / jnp.where(matched > 0, matched, 1) for surface in (scores.r, scores.c))
        above = Scores(scores.r - r * scores.w, scores.c - c * scores.w, scores.w)
        return policy_learning_loss(outcomes, above, lam, temperature=temperature, weights=weight)

    return jax.vmap(term)(k.lams, k.temperature, k.weights).sum()


def finite_difference(outcomes: Outcomes, scores: Scores, constants: Constants, *, clip: Clip = "window") -> Array:
    """DFCL-IFD (D10) at the constants' window; `clip` as in `finite_difference_loss`."""
    k = constants
    return finite_difference_loss(
        outcomes,
        scores,
        k.lams,
        clip=clip,
        window=k.window,
        cost_window=k.cost_window,
        weights=k.weights,
    )


def dual_finite_difference(outcomes: Outcomes, scores: Scores, constants: Constants, *, flips: Flips = "all") -> Array:
    """DIFD (Bi-DFCL, B5) at the constants' temperature and window; "nearest" flips: the softmax form of IFD (D10)."""
    k = constants
    return dual_finite_difference_loss(
        outcomes, scores, k.lams, flips=flips, temperature=k.temperature, window=k.window, weights=k.weights
    )


def naive_finite_difference(outcomes: Outcomes, scores: Scores, constants: Constants) -> Array:
    """Naive finite differences (D9); the constants' window is the step."""
    k = constants
    return naive_finite_difference_loss(outcomes, scores, k.lams, step=k.window, weights=k.weights)


def directional(outcomes: Outcomes, scores: Scores, constants: Constants, *, side: Side = "central") -> Array:
    """PG loss (Gupta and Huang 2024): the step towards the scores is as long as the constants' window.

    h_k = window_k / (spread over the batch of G^r - lam_k G^c), so that h g moves predictions by about the window.
    """
    k = constants

    def spread(lam: Array) -> Array:
        return score_spread(priced(Outcomes(scores.r, scores.c), lam))

    gain = jax.vmap(spread)(k.lams)
    step = k.window / jnp.where(gain > 0, gain, 1)
    return directional_loss(outcomes, scores, k.lams, step=step, side=side, weights=k.weights)


def perturbed(outcomes: Outcomes, scores: Scores, constants: Constants, *, samples: int = 8) -> Array:
    """The decision perturbed by normal noise of the constants' temperature.

    The noise is the same for every batch; batches are shuffled, so it is another for each person in each epoch.
    """
    k, key = constants, jax.random.key(0)
    return perturbed_loss(outcomes, scores, k.lams, key=key, scale=k.temperature, samples=samples, weights=k.weights)


def primal_policy_learning(outcomes: Outcomes, scores: Scores, constants: Constants, *, priced: bool = False) -> Array:
    """PPL (Bi-DFCL, B3) at the constants' budgets and temperature; `priced` charges decisions for their cost."""
    k = constants
    return primal_policy_learning_loss(
        outcomes, scores, k.budgets, temperature=k.temperature, priced=priced, weights=k.weights
    )


def primal_finite_difference(
    outcomes: Outcomes, scores: Scores, constants: Constants, *, priced: bool = False
) -> Array:
    """PIFD (Bi-DFCL, B4) at the constants' budgets, temperature and window; `priced` as above."""
    k = constants
    return primal_finite_difference_loss(
        outcomes, scores, k.budgets, temperature=k.temperature, window=k.window, priced=priced, weights=k.weights
    )


def weighted_squares(outcomes: Outcomes, scores: Scores, constants: Constants) -> Array:
    """sum_ij w_ij (G_ij / w_ij - y_hat_ij)^2 / (n m): with raw scores the prediction loss (D4), no decision in it."""
    return surface_loss(outcomes, scores)
