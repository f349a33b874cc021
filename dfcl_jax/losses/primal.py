"""The primal family: decisions at a budget, whose multiplier is found from the current predictions."""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.errors import check_option, is_concrete
from dfcl_jax.losses.dual import dual_loss
from dfcl_jax.losses.finite_difference import Clip, Flips, Normalise, soft_term
from dfcl_jax.losses.policy_learning import SOFT_VALUE
from dfcl_jax.solvers import check_budgets
from dfcl_jax.solvers.estimated import crossings
from dfcl_jax.types import Outcomes, Scores

Spend = Literal["sample", "matched", "predicted"]


def lams_at_budgets(outcomes: Outcomes, scores: Scores, budgets: ArrayLike, *, spend: Spend = "sample") -> Array:
    """Find lam*(B), the least multiplier whose decisions spend at most B per person (Bi-DFCL, B1), [b].

    Bisects lam with the decisions argmax_j (r_hat - lam c_hat)_ij until the spend is within B. A dual loss can take
    these multipliers to follow the model, for example once an epoch; the primal losses find them again for every batch.
    An estimated spend need not decrease in lam; then the result is one of its crossings. If even the cheapest decisions
    overspend, everybody gets their cheapest treatment at the resulting lam. The result has no derivative.

    Args:
        outcomes: predictions that the decisions are made by, [n, m] each.
        scores: score surfaces that estimate the spend, [n, m] each, including the level of the cost (not `centred`).
        budgets: cost per person, [b] or a scalar.
        spend: "sample", mean_i G^c_{i,z_i}; "matched", sum_i G^c_{i,z_i} / sum_i w_{i,z_i}, for `ipw`; "predicted",
            mean_i c_hat_{i,z_i}, which uses no score.

    Raises:
        InputError: a budget that is negative or not finite. Values cannot be checked inside `jit`; there a NaN budget
            gives a NaN multiplier.
    """
    check_option("spend", spend, Spend)
    if is_concrete(budgets):
        check_budgets(budgets)
    return _lams_at_budgets(outcomes, scores, jnp.atleast_1d(jnp.asarray(budgets, outcomes.c.dtype)), spend)


@partial(jax.jit, static_argnums=3)
def _lams_at_budgets(outcomes: Outcomes, scores: Scores, budgets: Array, spend: Spend) -> Array:
    outcomes, scores = jax.lax.stop_gradient((outcomes, scores))
    spent, size = outcomes.c if spend == "predicted" else scores.c, scores.w if spend == "matched" else None
    return crossings(outcomes, spent, size, budgets)


def primal_policy_learning_loss(
    outcomes: Outcomes,
    scores: Scores,
    budgets: ArrayLike,
    *,
    temperature: ArrayLike = 1.0,
    priced: bool = False,
    spend: Spend = "sample",
    weights: ArrayLike = 1.0,
) -> Array:
    """PPL: the revenue of the softened decision at the multiplier of each budget (Bi-DFCL, B3).

    L = - sum_b weights_b mean_i sum_j G^r_ij softmax_j((r_hat - lam*_b c_hat)_i. / temperature_b)

    lam*_b is `lams_at_budgets` on this batch, constant in the gradient. The revenue alone then ignores cost, and
    training drifts to decisions that overspend; `priced` uses G^r - lam*_b G^c instead.

    Args:
        outcomes: predictions r_hat, c_hat, [n, m] each.
        scores: score surfaces G^r, G^c and weights w, [n, m] each.
        budgets: cost per person, [b] or a scalar.
        temperature: in the unit of r_hat - lam c_hat, a scalar or [b].
        priced: whether the decision is charged for its cost.
        spend: see `lams_at_budgets`.
        weights: of the budgets' terms, a scalar or [b].

    Returns:
        The loss per person, summed over budgets, [].
    """
    lams = lams_at_budgets(outcomes, scores, budgets, spend=spend)
    return dual_loss(SOFT_VALUE, outcomes, scores, lams, temperature, weights, lams if priced else 0.0)


def primal_finite_difference_loss(
    outcomes: Outcomes,
    scores: Scores,
    budgets: ArrayLike,
    *,
    priced: bool = False,
    spend: Spend = "sample",
    flips: Flips = "all",
    temperature: ArrayLike = 1.0,
    clip: Clip = "window",
    window: ArrayLike = 0.3,
    normalise: Normalise = "sample",
    weights: ArrayLike = 1.0,
) -> Array:
    """PIFD: the revenue of the decision at each budget, with a gradient through its softened form (Bi-DFCL, B2 and B4).

    L = - sum_b weights_b V_b,  V_b = mean_i G^r_{i,z_i},  z_i = argmax_j (r_hat - lam*_b c_hat)_ij

    with lam*_b from `lams_at_budgets` on this batch, constant in the gradient. The gradient is that of
    `dual_finite_difference_loss` for g = G^r, or with `priced` for g = G^r - lam*_b G^c.

    Args:
        outcomes: predictions r_hat, c_hat, [n, m] each, m at least 2.
        scores: score surfaces G^r, G^c and weights w, [n, m] each.
        budgets: cost per person, [b] or a scalar.
        priced: whether the decision is charged for its cost.
        spend: see `lams_at_budgets`.
        flips: see `dual_finite_difference_loss`, also for the options below.
        temperature: of the softened decision, a scalar or [b].
        clip: which steps count, and with which length.
        window: for steps on the score r_hat - lam c_hat, a scalar or [b].
        normalise: what V is divided by.
        weights: of the budgets' terms, a scalar or [b].

    Returns:
        The loss per person, summed over budgets, [].
    """
    lams = lams_at_budgets(outcomes, scores, budgets, spend=spend)
    term = soft_term(flips, clip, normalise)
    return dual_loss(term, outcomes, scores, lams, (window, temperature), weights, lams if priced else 0.0)
