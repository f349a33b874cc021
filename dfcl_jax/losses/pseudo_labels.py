"""Losses on people whom a policy treated, not chance: what was seen of them, a teacher, and gates between the two.

They are the lower level of bi-level training (Bi-DFCL, section 2). The teacher was fitted on a randomised trial, and
the gates in [0, 1] come from a bridge that is trained by the decisions that follow. A loss maps (predictions, rows, the
teacher's predictions, gates) to a scalar; all surfaces are [n, m].
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax.errors import check_option
from dfcl_jax.types import Outcomes, Trial, pick

# (predictions, rows, predictions of the teacher, gates) -> loss, []
LowerLoss = Callable[[Outcomes, Trial, Outcomes, Outcomes], Array]
Labels = Literal["moving", "frozen"]


def pseudo_labels(outcomes: Outcomes, teacher: Outcomes, gates: Outcomes) -> Outcomes:
    """y_cf = w y_teacher + (1 - w) y_hat for revenue and cost, with gates w (Bi-DFCL, B6), [n, m] each."""
    return jax.tree.map(lambda y_hat, label, w: w * label + (1 - w) * y_hat, outcomes, teacher, gates)


def pseudo_label_loss(
    outcomes: Outcomes, trial: Trial, teacher: Outcomes, gates: Outcomes, *, labels: Labels = "moving"
) -> Array:
    """Squares to what was seen, and to pseudo-labels for every other treatment (Bi-DFCL, B7).

    L = mean_i [ (y_i - y_hat_{i,t_i})^2 + sum_{j != t_i} (y_cf_ij - y_hat_ij)^2 ], summed over revenue and cost

    with y_cf of `pseudo_labels`. Because y_cf - y_hat = w (y_teacher - y_hat), a pseudo-label adds
    w^2 (y_teacher - y_hat)^2: gates of 1 are distillation from the teacher, and gates of 0 fit what was seen alone.
    "moving" labels are this, as printed. "frozen" labels are data to the gradient, as labels usually are; its direction
    is then that of w (y_teacher - y_hat)^2, which is what is returned, so that there is a loss of which it is the
    gradient. Both are convex in the predictions.

    Args:
        outcomes: predictions, [n, m] each.
        trial: what was seen, n rows; propensities are not used.
        teacher: predictions of the teacher, [n, m] each.
        gates: w of revenue and of cost, [n, m] each.
        labels: whether the gradient sees that labels move with the predictions.

    Returns:
        The loss per person, [].
    """
    check_option("labels", labels, Labels)
    given = jax.nn.one_hot(trial.t, outcomes.r.shape[1], dtype=bool)

    def misfit(y: Array, y_hat: Array, label: Array, w: Array) -> Array:
        pull = w if labels == "frozen" else w**2
        return jnp.where(given, (y[:, None] - y_hat) ** 2, pull * (label - y_hat) ** 2).sum(axis=1).mean()

    return misfit(trial.r, outcomes.r, teacher.r, gates.r) + misfit(trial.c, outcomes.c, teacher.c, gates.c)


def gated_factual_loss(outcomes: Outcomes, trial: Trial, teacher: Outcomes, gates: Outcomes) -> Array:
    """mean_i w_{i,t_i} (y_i - y_hat_{i,t_i})^2, summed over revenue and cost: gates as weights of what was seen.

    No pseudo-labels: the second rung of Bi-DFCL's ablation, where the bridge stands in for inverse propensities.

    Args:
        outcomes: predictions, [n, m] each.
        trial: what was seen, n rows; propensities are not used.
        teacher: not used.
        gates: w of revenue and of cost, [n, m] each.
    """

    def misfit(y: Array, y_hat: Array, w: Array) -> Array:
        return (pick(w, trial.t) * (y - pick(y_hat, trial.t)) ** 2).mean()

    return misfit(trial.r, outcomes.r, gates.r) + misfit(trial.c, outcomes.c, gates.c)


def doubly_robust_label_loss(
    outcomes: Outcomes, trial: Trial, teacher: Outcomes, gates: Outcomes, *, floor: float = 0.05
) -> Array:
    """Distillation, corrected where an outcome was seen: the lower level of LTD-DR (Wang et al., WSDM 2021).

    L = mean_i [ sum_j l(teacher)_ij + (l(y)_{i,t_i} - l(teacher)_{i,t_i}) / max(w_{i,t_i}, floor) ]

    with l(y) = (y - y_hat)^2, summed over revenue and cost. The gates are propensities of the logging policy that are
    learned so that predictions on the trial come out well. The terms of degree two cancel but for one for each
    treatment, so the loss is convex in the predictions.

    Args:
        outcomes: predictions, [n, m] each.
        trial: what was seen, n rows; propensities are not used.
        teacher: predictions of the teacher, which impute errors, [n, m] each.
        gates: w, [n, m] each.
        floor: least propensity.
    """

    def misfit(y: Array, y_hat: Array, label: Array, w: Array) -> Array:
        imputed = (label - y_hat) ** 2
        seen = (y - pick(y_hat, trial.t)) ** 2
        return (imputed.sum(axis=1) + (seen - pick(imputed, trial.t)) / jnp.maximum(pick(w, trial.t), floor)).mean()

    return misfit(trial.r, outcomes.r, teacher.r, gates.r) + misfit(trial.c, outcomes.c, teacher.c, gates.c)


def auto_debias_loss(
    outcomes: Outcomes, trial: Trial, teacher: Outcomes, gates: Outcomes, *, imputed: float = 0.1
) -> Array:
    """Weighted squares to what was seen, and weighted squares to imputed outcomes: AutoDebias (Chen et al. 2021).

    L = mean_i [ exp(a_{i,t_i} / 5) (y_i - y_hat_{i,t_i})^2 + imputed sum_j exp(b_ij / 5) (o_ij - y_hat_ij)^2 ]

    summed over revenue and cost, with a, b and the imputed outcome o from the bridge, which learns that predictions on
    the trial come out well. In the source they are linear in one-hot users, items and ratings, and o is the tanh of
    one that takes at most four values; here they are linear in features, for each treatment, and o is in the unit of
    money. a does not see the outcome.

    Args:
        outcomes: predictions, [n, m] each.
        trial: what was seen, n rows; propensities are not used.
        teacher: not used.
        gates: a, b and o side by side, [n, 3m] each.
        imputed: weight of imputed outcomes.
    """

    def misfit(y: Array, y_hat: Array, bridge: Array) -> Array:
        a, b, label = jnp.split(bridge, 3, axis=1)
        seen = jnp.exp(pick(a, trial.t) / 5) * (y - pick(y_hat, trial.t)) ** 2
        return (seen + imputed * (jnp.exp(b / 5) * (label - y_hat) ** 2).sum(axis=1)).mean()

    return misfit(trial.r, outcomes.r, gates.r) + misfit(trial.c, outcomes.c, gates.c)
