"""Methods: which scores, which loss, how fast. A new method is a new composition."""

from collections.abc import Callable
from typing import NamedTuple

from jax import Array

from dfcl_jax import scores as score_surfaces
from dfcl_jax.constants import Constants, fitted
from dfcl_jax.losses import finite_difference_loss, policy_learning_loss
from dfcl_jax.types import Outcomes, Scores, Trial

TWO_STAGE = "TSM-SL"


class Method(NamedTuple):
    """A way to train on decisions, started from a two-stage model."""

    scores: Callable[[Trial, Outcomes], Scores]  # (training rows, two-stage predictions) -> what decisions earn
    loss: Callable[[Outcomes, Scores, Constants], Array]  # (predictions, scores, constants) -> loss, []
    pace: float = 1.0  # learning rate as a multiple of the decision stage's
    constants: Callable[[Outcomes, Array], Constants] = fitted  # (predictions, budgets) -> constants of the loss
    tracked: bool = False  # constants anew from the current predictions before each epoch, not once from the start


def _ipw(trial: Trial, outcomes_hat: Outcomes) -> Scores:
    del outcomes_hat
    return score_surfaces.ipw(trial)


def policy_learning(outcomes: Outcomes, scores: Scores, constants: Constants) -> Array:
    """DFCL-PL (D6): the softened decision at temperature 1, as published."""
    return policy_learning_loss(outcomes, scores, constants.lams, weights=1.0)


def entropy_regularised(outcomes: Outcomes, scores: Scores, constants: Constants) -> Array:
    """DFCL-MER (D7): the softened decision at the constants' temperature."""
    return policy_learning_loss(
        outcomes, scores, constants.lams, temperature=constants.temperature, weights=constants.weights
    )


def finite_difference(outcomes: Outcomes, scores: Scores, constants: Constants) -> Array:
    """DFCL-IFD (D10) at the constants' window."""
    k = constants
    return finite_difference_loss(
        outcomes, scores, k.lams, window=k.window, cost_window=k.cost_window, weights=k.weights
    )


METHODS: dict[str, Method] = {
    "DFCL-PL": Method(_ipw, policy_learning, pace=0.1),
    "DFCL-MER": Method(_ipw, entropy_regularised, pace=0.1),
    "DFCL-IFD": Method(_ipw, finite_difference, pace=0.1),
    "PL-centred": Method(score_surfaces.centred, entropy_regularised),
}
