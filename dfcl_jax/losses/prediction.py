"""The factual loss of two-stage learning."""

from typing import Literal

import jax.numpy as jnp
from jax import Array

from dfcl_jax.errors import check_option
from dfcl_jax.scores import observation_weights
from dfcl_jax.types import Outcomes, Scores, Trial, pick

Kind = Literal["squares", "cross_entropy"]


def prediction_loss(outcomes: Outcomes, trial: Trial, *, kind: Kind = "squares") -> Array:
    """Misfit of predictions to observed outcomes, with equal weight for every treatment (DFCL, D4).

    L = 1/m mean_i v_i 1/p_{t_i} [ l(r_i, r_hat_{i,t_i}) + l(c_i, c_hat_{i,t_i}) ]

    with v the trial's weights, 1 if it has none; of mean 1 (`types.of_mean_weight`), the mean is one over people. l is
    the squared difference or, for outcomes in [0, 1], the cross-entropy. If p are the arm shares, this is (D4) itself.
    Under randomisation it is unbiased for the loss over the full surfaces.

    Args:
        outcomes: predictions, [n, m] each; probabilities for "cross_entropy".
        trial: observed treatments and outcomes, n rows.
        kind: the loss l.

    Returns:
        The loss per person and treatment, [].
    """
    check_option("kind", kind, Kind)
    each = {"squares": _square, "cross_entropy": _cross_entropy}[kind]
    m = outcomes.r.shape[1]
    misfit = each(trial.r, pick(outcomes.r, trial.t)) + each(trial.c, pick(outcomes.c, trial.t))
    misfit = misfit if trial.weight is None else trial.weight * misfit
    return (pick(observation_weights(trial), trial.t) * misfit).mean() / m


def surface_loss(outcomes: Outcomes, scores: Scores) -> Array:
    """Misfit of predictions to score surfaces: sum_ij w_ij (G_ij / w_ij - y_hat_ij)^2 / (n m), of r plus of c, [].

    Scores without weight count nothing. With `scores.ipw` this is the prediction loss (DFCL, D4) by squares.

    Args:
        outcomes: predictions, [n, m] each.
        scores: surfaces G times their weights w, and the weights, [n, m] each.
    """
    w = scores.w

    def misfit(score: Array, y_hat: Array) -> Array:
        return w * (score / jnp.where(w > 0, w, 1) - y_hat) ** 2

    return (misfit(scores.r, outcomes.r) + misfit(scores.c, outcomes.c)).mean()


def _square(y: Array, y_hat: Array) -> Array:
    return (y - y_hat) ** 2


def _cross_entropy(y: Array, y_hat: Array) -> Array:
    # A float32 probability within 6e-8 of 1 rounds to 1, where the logarithm is infinite.
    y_hat = jnp.clip(y_hat, 1e-7, 1 - 1e-7)
    return -(y * jnp.log(y_hat) + (1 - y) * jnp.log1p(-y_hat))
