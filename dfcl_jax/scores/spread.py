"""Heavy tails: each person in a unit of their own, or outcomes cut off."""

import jax.numpy as jnp
from jax import Array

from dfcl_jax.types import Outcomes, Scores, Trial


def outcome_level(outcomes_hat: Outcomes) -> Array:
    """Mean |b|, [], b_i the mean over treatments of person i's predicted revenue."""
    return jnp.abs(outcomes_hat.r.mean(axis=1)).mean()


def outcome_scale(outcomes_hat: Outcomes, *, floor: float = 0.1, level: Array | None = None) -> Array:
    """s(x_i) = sqrt(b_i^2 + (floor mean |b|)^2), b_i the mean over treatments of predicted revenue, [n].

    What the noise of an outcome is proportional to where it multiplies the outcome, as on orders and baskets. The floor
    keeps people of whom nothing is expected from outweighing everybody else; where nothing is of anybody, s is 1.

    Args:
        outcomes_hat: predictions, [n, m] each.
        floor: the least scale, as a share of the level.
        level: mean |b| of the sample that these people are part of; None: of these people.
    """
    level = outcome_level(outcomes_hat) if level is None else level
    scale = jnp.sqrt(outcomes_hat.r.mean(axis=1) ** 2 + (floor * level) ** 2)
    return jnp.where(scale > 0, scale, 1)


def in_own_units(scores: Scores, scale: Array) -> Scores:
    """Revenue and cost scores of each person over `scale` [n], a positive function of their features.

    sum_j (G^r - lam G^c)_ij z_ij is divided by s(x_i) as a whole, so at a given multiplier everybody's best decision
    stays what it was, and a model that can tell all people apart learns the same policy. One that cannot learns to be
    right for more people rather than for the largest. As in weighted least squares the variance is what is gained: with
    noise proportional to s, everybody's score is then equally noisy. Values and budgets need money: these scores are
    for training only.
    """
    return Scores(r=scores.r / scale[:, None], c=scores.c / scale[:, None], w=scores.w)


def tails(trial: Trial, *, quantile: float = 0.999) -> Outcomes:
    """The `quantile` of |r| and of |c|, [] each: where `winsorised` cuts outcomes off."""
    return Outcomes(*(jnp.quantile(jnp.abs(y), quantile) for y in (trial.r, trial.c)))


def winsorised(trial: Trial, *, quantile: float = 0.999, cuts: Outcomes | None = None) -> Trial:
    """The trial with outcomes cut off at their `quantile`, y <- min(max(y, -q), q), q that of |y|; r and c each.

    For every score surface alike: `scores.ipw(winsorised(trial))`. What is cut off is lost: the surfaces are biased by
    -E[(|y_j| - q)^+ sign y_j | x], most at the treatments that bring most, so differences between treatments shrink,
    for people of large outcomes above all. No weight on people, such as `in_own_units`, has that bias.

    Args:
        trial: n people.
        quantile: of |y|.
        cuts: q of revenue and of cost, of the sample that these people are part of; None: of these people.
    """
    cuts = tails(trial, quantile=quantile) if cuts is None else cuts
    return trial._replace(r=jnp.clip(trial.r, -cuts.r, cuts.r), c=jnp.clip(trial.c, -cuts.c, cuts.c))
