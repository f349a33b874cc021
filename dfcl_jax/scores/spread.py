"""Heavy tails: scores in each person's own unit, or outcomes cut off."""

import jax.numpy as jnp
from jax import Array

from dfcl_jax.types import Outcomes, Scores, Trial, mean_of_people


def outcome_level(outcomes_hat: Outcomes, weight: Array | None = None) -> Array:
    """Return mean |b| over people, [], with b_i the mean over treatments of row i's predicted revenue."""
    return mean_of_people(jnp.abs(outcomes_hat.r.mean(axis=1)), weight)


def outcome_scale(
    outcomes_hat: Outcomes, *, floor: float = 0.1, level: Array | None = None, power: float = 1.0
) -> Array:
    """Return s(x_i) = sqrt(b_i^2 + (floor mean |b|)^2), with b_i the mean predicted revenue over treatments, [n].

    Noise that multiplies an outcome, as with orders and baskets, is proportional to this scale. That of rare events,
    and of counts, is proportional to its root: s^power (mean |b|)^(1 - power) with `power` 1/2. The floor keeps people
    with predictions near 0 from outweighing everybody else. If all predictions are 0, s is 1.

    Args:
        outcomes_hat: predictions, [n, m] each.
        floor: the least scale, as a share of mean |b|.
        level: mean |b| of the sample that these people are part of; None: of these people.
        power: of the scale that noise is proportional to.
    """
    level = outcome_level(outcomes_hat) if level is None else level
    scale = jnp.sqrt(outcomes_hat.r.mean(axis=1) ** 2 + (floor * level) ** 2)
    if power != 1:
        scale = scale**power * level ** (1 - power)
    return jnp.where(scale > 0, scale, 1)


def in_own_units(scores: Scores, scale: Array) -> Scores:
    """Divide revenue and cost scores of each person by `scale` [n], a positive function of their features.

    This divides sum_j (G^r - lam G^c)_ij z_ij as a whole by s(x_i). At a given multiplier everybody's best decision
    stays the same, so a model that can distinguish all people learns the same policy. A model that cannot learns to be
    right for more people rather than for the largest. As in weighted least squares, the gain is in variance: with noise
    proportional to s, all scores are equally noisy. Values and budgets need money, so these scores are for training
    only.
    """
    return Scores(r=scores.r / scale[:, None], c=scores.c / scale[:, None], w=scores.w)


def tails(trial: Trial, *, quantile: float = 0.999) -> Outcomes:
    """Return the `quantile` of |r| and of |c|, [] each: where `winsorised` cuts outcomes off."""
    return Outcomes(*(jnp.quantile(jnp.abs(y), quantile) for y in (trial.r, trial.c)))


def winsorised(trial: Trial, *, quantile: float = 0.999, cuts: Outcomes | None = None) -> Trial:
    """Cut outcomes off at a quantile, y <- min(max(y, -q), q), with q the `quantile` of |y|; r and c separately.

    This works for every estimator: `scores.ipw(winsorised(trial))`. The surfaces become biased by
    -E[(|y_j| - q)^+ sign y_j | x], most at the treatments that bring most. So differences between treatments shrink,
    above all for people with large outcomes. Weights on people, such as `in_own_units`, have no such bias.

    Args:
        trial: n people.
        quantile: of |y|.
        cuts: q of revenue and of cost in the sample that these people are part of; None: of these people.
    """
    cuts = tails(trial, quantile=quantile) if cuts is None else cuts
    return trial._replace(r=jnp.clip(trial.r, -cuts.r, cuts.r), c=jnp.clip(trial.c, -cuts.c, cuts.c))
