"""Score surfaces: estimators of what every treatment would bring, as [n, m] arrays.

A decision loss weighs the decision that a model makes with these surfaces, a policy value picks them at the decided
treatments; neither knows which estimator it was given.
"""

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax.types import Outcomes, Scores, Trial, num_arms


def observation_weights(trial: Trial) -> Array:
    """w_ij = 1[t_i = j] / p_ij, [n, m]: each person's observation, weighted to stand for everybody."""
    return jax.nn.one_hot(trial.t, num_arms(trial), dtype=trial.r.dtype) / jnp.atleast_2d(trial.p)


def ipw(trial: Trial) -> Scores:
    """Inverse-propensity scores, G_ij = 1[t_i = j] y_i / p_ij (Horvitz-Thompson; DFCL, D6 and D8).

    Unbiased for the true surfaces. Base demand, which no decision changes, is most of their variance.
    """
    return _weighted(trial, jnp.zeros_like(trial.r), jnp.zeros_like(trial.c))


def centred(trial: Trial, outcomes_hat: Outcomes) -> Scores:
    """Inverse-propensity scores of what is left of an outcome once its base is taken off.

    G_ij = 1[t_i = j] (y_i - b(x_i)) / p_ij with b the mean over treatments of `outcomes_hat`. The expected surface is
    the true one less b(x_i) at every treatment, so expected gradients and differences between policies are those of
    `ipw` at a fraction of the variance, while the level of revenue and of spend is lost: to meet a budget, use `aipw`.
    """
    return _weighted(trial, outcomes_hat.r.mean(axis=1), outcomes_hat.c.mean(axis=1))


def aipw(trial: Trial, outcomes_hat: Outcomes) -> Scores:
    """Doubly robust scores, G_ij = y_hat_ij + 1[t_i = j] (y_i - y_hat_ij) / p_ij.

    Unbiased for the true surfaces whatever `outcomes_hat` is, if it was fitted on other people than these.
    """
    w = observation_weights(trial)
    return Scores(
        r=outcomes_hat.r + w * (trial.r[:, None] - outcomes_hat.r),
        c=outcomes_hat.c + w * (trial.c[:, None] - outcomes_hat.c),
        w=w,
    )


def truth(outcomes: Outcomes) -> Scores:
    """The surfaces themselves: for simulations, where the truth is known, and to price a plan by a model."""
    return Scores(r=outcomes.r, c=outcomes.c, w=jnp.ones_like(outcomes.r))


def _weighted(trial: Trial, base_r: Array, base_c: Array) -> Scores:
    w = observation_weights(trial)
    return Scores(r=w * (trial.r - base_r)[:, None], c=w * (trial.c - base_c)[:, None], w=w)
