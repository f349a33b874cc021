"""Methods: which scores, which loss, which constants, how fast. A new method is a new composition."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from dfcl_jax import losses
from dfcl_jax import scores as score_surfaces
from dfcl_jax.constants import Constants, fitted
from dfcl_jax.losses.finite_difference import Flips
from dfcl_jax.models import Through
from dfcl_jax.types import Outcomes, Scores, Trial

TWO_STAGE = "TSM-SL"


class Method(NamedTuple):
    """A way to train on decisions, started from a two-stage model."""

    scores: Callable[[Trial, Outcomes], Scores]  # (training rows, two-stage predictions) -> what decisions earn
    loss: Callable[[Outcomes, Scores, Constants], Array]  # (predictions, scores, constants) -> loss, []
    pace: float = 1.0  # learning rate as a multiple of the decision stage's
    constants: Callable[[Outcomes, Array], Constants] = fitted  # (predictions, budgets) -> constants of the loss
    by_rows: bool = False  # the loss is a mean over rows, so that chunks of a large batch need not know of each other
    tracked: bool = False  # multipliers solved anew before each epoch, see `constants.tracked`; not once at the start
    # Epoch, from 0 -> weight of the prediction loss beside the decision loss; None: the study's alpha throughout.
    alpha: optax.Schedule | None = None
    # Epoch -> temperature and windows as a multiple of the constants', see `constants.annealed`.
    annealing: optax.Schedule = optax.constant_schedule(1.0)
    through: Through | None = None  # predictions that a gradient passes; None: as the study has it


def raw(trial: Trial, outcomes_hat: Outcomes) -> Scores:
    """Raw outcomes weighted by propensities: the scores of the published losses, which look at no prediction."""
    del outcomes_hat
    return score_surfaces.ipw(trial)


def unweighted(trial: Trial, outcomes_hat: Outcomes) -> Scores:
    """Raw outcomes as they are, as the authors' code has (D6): an ablation, biased where propensities differ."""
    return raw(trial._replace(p=jnp.ones_like(trial.p)), outcomes_hat)


def centred_in_own_units(trial: Trial, outcomes_hat: Outcomes) -> Scores:
    """Centred scores, each person's in the unit of their predicted base."""
    return score_surfaces.in_own_units(
        score_surfaces.centred(trial, outcomes_hat), score_surfaces.outcome_scale(outcomes_hat)
    )


def raw_by_precision(trial: Trial, outcomes_hat: Outcomes) -> Scores:
    """Raw scores, everybody weighing 1 / scale^2: for `weighted_squares`, least squares of weighted people."""
    scale = score_surfaces.outcome_scale(outcomes_hat)[:, None]
    return Scores(*(surface / scale**2 for surface in score_surfaces.ipw(trial)))


def winsorised(trial: Trial, outcomes_hat: Outcomes) -> Scores:
    """Raw scores of outcomes without their tails."""
    return raw(score_surfaces.winsorised(trial), outcomes_hat)


def centred_winsorised(trial: Trial, outcomes_hat: Outcomes) -> Scores:
    """Centred scores of outcomes without their tails."""
    return score_surfaces.centred(score_surfaces.winsorised(trial), outcomes_hat)


def policy_learning(outcomes: Outcomes, scores: Scores, constants: Constants) -> Array:
    """DFCL-PL (D6): the softened decision at temperature 1, as published."""
    return losses.policy_learning_loss(outcomes, scores, constants.lams, weights=1.0)


def entropy_regularised(outcomes: Outcomes, scores: Scores, constants: Constants) -> Array:
    """DFCL-MER (D7): the softened decision at the constants' temperature."""
    k = constants
    return losses.policy_learning_loss(outcomes, scores, k.lams, temperature=k.temperature, weights=k.weights)


def finite_difference(outcomes: Outcomes, scores: Scores, constants: Constants) -> Array:
    """DFCL-IFD (D10) at the constants' window."""
    k = constants
    return losses.finite_difference_loss(
        outcomes, scores, k.lams, window=k.window, cost_window=k.cost_window, weights=k.weights
    )


def dual_finite_difference(outcomes: Outcomes, scores: Scores, constants: Constants, *, flips: Flips = "all") -> Array:
    """DIFD (Bi-DFCL, B5) at the constants' temperature and window; "nearest" flips: the softmax form of IFD (D10)."""
    k = constants
    return losses.dual_finite_difference_loss(
        outcomes, scores, k.lams, flips=flips, temperature=k.temperature, window=k.window, weights=k.weights
    )


def perturbed(outcomes: Outcomes, scores: Scores, constants: Constants, *, samples: int = 8) -> Array:
    """The decision perturbed by normal noise of the constants' temperature.

    The noise is the same for every batch; batches are shuffled, so it is another for each person in each epoch.
    """
    k, key = constants, jax.random.key(0)
    return losses.perturbed_loss(
        outcomes, scores, k.lams, key=key, scale=k.temperature, samples=samples, weights=k.weights
    )


def primal_policy_learning(outcomes: Outcomes, scores: Scores, constants: Constants, *, priced: bool = False) -> Array:
    """PPL (Bi-DFCL, B3) at the constants' budgets and temperature; `priced` charges decisions for their cost."""
    k = constants
    return losses.primal_policy_learning_loss(
        outcomes, scores, k.budgets, temperature=k.temperature, priced=priced, weights=k.weights
    )


def primal_finite_difference(
    outcomes: Outcomes, scores: Scores, constants: Constants, *, priced: bool = False
) -> Array:
    """PIFD (Bi-DFCL, B4) at the constants' budgets, temperature and window; `priced` as above."""
    k = constants
    return losses.primal_finite_difference_loss(
        outcomes, scores, k.budgets, temperature=k.temperature, window=k.window, priced=priced, weights=k.weights
    )


def weighted_squares(outcomes: Outcomes, scores: Scores, constants: Constants) -> Array:
    """sum_ij w_ij (G_ij / w_ij - y_hat_ij)^2 / (n m): with raw scores the prediction loss (D4), no decision in it."""
    del constants
    w = scores.w

    def misfit(score: Array, y_hat: Array) -> Array:
        return w * (score / jnp.where(w > 0, w, 1) - y_hat) ** 2

    return (misfit(scores.r, outcomes.r) + misfit(scores.c, outcomes.c)).mean()


METHODS: dict[str, Method] = {
    "DFCL-PL": Method(raw, policy_learning, pace=0.1, by_rows=True),
    "DFCL-MER": Method(raw, entropy_regularised, by_rows=True),
    "DFCL-IFD": Method(raw, finite_difference, pace=0.3),
    "PL-centred": Method(score_surfaces.centred, entropy_regularised, by_rows=True),
    "PL-own-units": Method(centred_in_own_units, entropy_regularised, by_rows=True, tracked=True),
}
