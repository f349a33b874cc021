"""Estimators: from a trial to score surfaces."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax.types import Outcomes, Scores, Trial, num_arms


def observation_weights(trial: Trial) -> Array:
    """Return w_ij = 1[t_i = j] / p_ij, [n, m]: each person's observation, weighted to represent everybody."""
    return jax.nn.one_hot(trial.t, num_arms(trial), dtype=trial.r.dtype) / jnp.atleast_2d(trial.p)


def ipw(trial: Trial) -> Scores:
    """Inverse-propensity scores, G_ij = 1[t_i = j] y_i / p_ij (Horvitz-Thompson; DFCL, D6 and D8).

    They are unbiased for the true surfaces. Most of their variance comes from base demand, which no decision changes.
    """
    return _weighted(trial, jnp.zeros_like(trial.r), jnp.zeros_like(trial.c))


def mean_base(y_hat: Array, p: Array) -> Array:
    """Return the base b(x_i) = mean_j y_hat_ij, [n]."""
    del p
    return y_hat.mean(axis=1)


def least_variance_base(y_hat: Array, p: Array, *, contrast: Array | float = 1.0) -> Array:
    """Return the base of least variance, b(x_i) = (sum_j v_ij^2 y_hat_ij / p_ij) / (sum_j v_ij^2 / p_ij), [n].

    A direction v of decisions with sum_j v_j = 0 is worth sum_j v_j y_j, estimated by v_t (y_t - b) / p_t. The mean of
    this estimate does not depend on b; its second moment sum_j v_j^2 E[(y_j - b)^2 | x] / p_j is smallest at this b.
    With v^2 = 1 for all treatments, b is best for the surface as a whole, E[(y_t - b)^2 / p_t^2]; with equal
    propensities it is `mean_base`. With v equal to 1 and -1 at two treatments j and k, b = (p_k y_j + p_j
    y_k) / (p_j + p_k), and the difference of their scores is that of `aipw`. So with two treatments, centred and doubly
    robust scores give the same decisions.

    Args:
        y_hat: predictions of one outcome, [n, m].
        p: propensities, [m] or [n, m].
        contrast: |v|, a scalar or [n, m]; 1 at the best two treatments and 0 elsewhere gives the margin of the
            decision.
    """
    weight = contrast**2 / jnp.atleast_2d(p) * jnp.ones_like(y_hat)
    return (weight * y_hat).sum(axis=1) / weight.sum(axis=1)


def centred(trial: Trial, outcomes_hat: Outcomes, *, base: Callable[[Array, Array], Array] = mean_base) -> Scores:
    """Inverse-propensity scores of the outcome minus a base.

    G_ij = 1[t_i = j] (y_i - b(x_i)) / p_ij. The expected surface is the true one minus b(x_i) at every treatment. So
    expected gradients and differences between policies are those of `ipw`, at a fraction of the variance. But the level
    of revenue and of spend is lost: to meet a budget, use `aipw`.

    Args:
        trial: n people.
        outcomes_hat: predictions, [n, m] each.
        base: (predictions of one outcome [n, m], propensities) -> b [n]: `mean_base` or `least_variance_base`.
    """
    return _weighted(trial, base(outcomes_hat.r, trial.p), base(outcomes_hat.c, trial.p))


def aipw(trial: Trial, outcomes_hat: Outcomes) -> Scores:
    """Doubly robust scores, G_ij = y_hat_ij + 1[t_i = j] (y_i - y_hat_ij) / p_ij.

    They are unbiased for the true surfaces whatever `outcomes_hat` is, if it was fitted on other people than these.
    """
    w = observation_weights(trial)
    return Scores(
        r=outcomes_hat.r + w * (trial.r[:, None] - outcomes_hat.r),
        c=outcomes_hat.c + w * (trial.c[:, None] - outcomes_hat.c),
        w=w,
    )


def weighed(scores: Scores, weight: Array | None) -> Scores:
    """Scores and observation weights times how many people each row stands for, [n]; None: one.

    What a loss sums over rows is then a sum over people: a row of weight 2 counts as the row twice.
    """
    return scores if weight is None else Scores(*(weight[:, None] * surface for surface in scores))


def truth(outcomes: Outcomes) -> Scores:
    """Surfaces as scores: for simulations, where the truth is known, and to value a plan by a model."""
    return Scores(r=outcomes.r, c=outcomes.c, w=jnp.ones_like(outcomes.r))


def _weighted(trial: Trial, base_r: Array, base_c: Array) -> Scores:
    w = observation_weights(trial)
    return Scores(r=w * (trial.r - base_r)[:, None], c=w * (trial.c - base_c)[:, None], w=w)
