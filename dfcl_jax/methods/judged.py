"""What chooses a network's checkpoint: the value of its policy on the validation people, or the area of its ranking."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax import metrics, scores
from dfcl_jax.methods.gradient import Counted
from dfcl_jax.train import Seeds
from dfcl_jax.types import Outcomes, Scores, Trial, mean_of_people

Settling = Literal["aipw", "ipw"]


def value_judge(
    settle: Settling, judged: Outcomes, counted: Counted, seeds: Seeds
) -> tuple[Scores, Array, Array | None, Array]:
    """What `mean_value` is told beside predictions, in the model's units.

    Args:
        settle: scores of the validation people.
        judged: what the two-stage network predicts of them, [n, m] each; of several seeds [s, n, m].
        counted: the tasks.
        seeds: whether leaves have an axis of seeds.
    """
    valid_hat = judged._replace(c=seeds.each(_within)(judged.c, counted.costs, counted.units.c))
    settling = (
        seeds.each(scores.aipw)(counted.valid, valid_hat) if settle == "aipw" else seeds.each(scores.ipw)(counted.valid)
    )
    how = (settling, counted.budgets, counted.valid.weight)
    # Checkpoints are judged by what networks predict as it is, the start as all others.
    return (*how, ~jnp.isnan(seeds.each(_revenue)(judged, *how)))


def _within(cost: Array, seen: Array, unit: Array) -> Array:
    """Cost predictions [n, m] in units, within what the trial has seen, [2, m] in money."""
    return jnp.clip(cost, *(seen / unit)[:, None])


def mean_value(outcomes: Outcomes, judge: tuple[Scores, Array, Array | None, Array]) -> Array:
    """Revenue per person, mean over budgets, []; NaN where one that the two-stage policy meets cannot be met.

    0 where that policy meets none, so that no checkpoint is told from the start, which is kept: the people are few, and
    their cheapest treatment seems to cost more than the budgets.

    `judge` holds scores, budgets [b], weights of rows, and which of the budgets [b] the two-stage policy meets.
    """
    settling, budgets, weight, met = judge
    return jnp.where(met, _revenue(outcomes, settling, budgets, weight), 0).sum() / jnp.maximum(met.sum(), 1)


def _revenue(outcomes: Outcomes, settling: Scores, budgets: Array, weight: Array | None) -> Array:
    return metrics.eom(outcomes, settling, budgets, weights=weight).revenue


def cost_curve_area(outcomes: Outcomes, trial: Trial) -> Array:
    """AUCC of the ranking by predicted return, []; the treatment that costs more on average counts as the treated."""
    mean_cost = mean_of_people(scores.ipw(trial).c, trial.weight)
    trial = trial._replace(t=jnp.where(mean_cost[1] < mean_cost[0], 1 - trial.t, trial.t))
    return metrics.aucc(metrics.roi_score(dearer_last(outcomes, mean_cost)), trial, weights=trial.weight)


def dearer_last(outcomes: Outcomes, mean_cost: Array) -> Outcomes:
    """Surfaces of two treatments, the one that costs more on average, [2], last."""
    swap = mean_cost[1] < mean_cost[0]
    return jax.tree.map(lambda surface: jnp.where(swap, surface[:, ::-1], surface), outcomes)


def if_finite(validate: Callable[[Outcomes, Any], Array], outcomes: Outcomes, judge: Any) -> Array:
    """The value of predictions that are numbers; NaN otherwise, for others would put people in some order, too."""
    finite = jnp.isfinite(outcomes.r).all() & jnp.isfinite(outcomes.c).all()
    return jnp.where(finite, validate(outcomes, judge), jnp.nan)
