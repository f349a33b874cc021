"""Multi-armed Qini curves: what a policy gains over giving everybody the control, against what it spends."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.errors import refuse
from dfcl_jax.metrics.checks import as_array, as_arrays
from dfcl_jax.metrics.value_steps import Curve, Normalise, ValueSteps, value_steps
from dfcl_jax.types import Outcomes, Scores


def contrasts(outcomes: Outcomes, *, control: int = 0) -> Outcomes:
    """Revenue and cost of the K = m - 1 other treatments over the control, [n, K] each.

    The input of packages that leave the control out of their columns, such as maq; `with_control` is the way back.
    """
    return Outcomes(*(jnp.delete(s, control, axis=1) - s[:, [control]] for s in as_arrays(outcomes)))


def with_control(revenue: ArrayLike, cost: ArrayLike) -> Outcomes:
    """K contrasts, [n, K] each, as m = K + 1 treatments, the first a control that brings and costs nothing.

    Args:
        revenue: over the control's.
        cost: cost over the control's; one number for each treatment, [K], will do.

    Raises:
        InputError: shapes that disagree.
    """
    r, c = as_array(revenue), as_array(cost)
    if r.ndim != 2 or c.shape not in (r.shape, r.shape[1:]):
        refuse("contrasts", found=f"{r.shape} and {c.shape}", expected="[n, K] and [n, K] or [K]")
    c = c if c.ndim == 2 else c[None, :]
    return Outcomes(*(jnp.pad(jnp.broadcast_to(s, r.shape), ((0, 0), (1, 0))) for s in (r, c)))


def untargeted(outcomes: Outcomes, scores: Scores) -> ValueSteps:
    """The steps of a policy that knows only everybody's mean outcomes: the straight line that a Qini curve rises above.

    maq's curve without covariates: people are moved at random, along the hull of the mean predictions.
    """
    means = Outcomes(*(jnp.broadcast_to(s.mean(axis=0, keepdims=True), s.shape) for s in as_arrays(outcomes)))
    return value_steps(means, scores)


def qini(
    steps: ValueSteps,
    budgets: ArrayLike,
    *,
    control: int = 0,
    normalise: Normalise = "sample",
    weights: ArrayLike | None = None,
) -> Array:
    """The multi-armed Qini curve at each of `budgets` [b], as maq defines it: gain per person over the control, [b].

    The policy at a budget is the one whose predicted spend meets it; its gain is settled by scores.

    Args:
        steps: `value_steps` of predictions and scores; of `scores.ipw` or `scores.aipw`.
        budgets: predicted cost per person.
        control: the treatment that gain is over.
        normalise: see `policy_value`.
        weights: how many people each row stands for, [n].
    """
    value = steps.at(as_array(budgets), weights=weights, normalise=normalise, spend="predicted").revenue
    return value - _control_revenue(steps, control, normalise, weights)


def qini_area(
    steps: ValueSteps,
    budget: ArrayLike,
    *,
    control: int = 0,
    normalise: Normalise = "sample",
    weights: ArrayLike | None = None,
) -> Array:
    """The area under `qini` from the cheapest plan's spend to `budget`, [], exactly: revenue x cost per person squared.

    Above the largest spend of the curve gain stays what it is. The area between two policies, or between one and the
    `untargeted`, is the difference of two areas.
    """
    curve = steps.curve(weights=weights, normalise=normalise)
    gain = curve.revenue - _control_revenue(steps, control, normalise, weights)
    return _area(steps, curve, gain, jnp.asarray(budget, gain.dtype))


@jax.jit
def _area(steps: ValueSteps, curve: Curve, gain: Array, budget: Array) -> Array:
    x = curve.predicted
    # People who are tied are mixed: one chord from before the first of them to after the last.
    x0, x1, y0, y1 = x[steps.tie], x[1:], gain[steps.tie], gain[1:]
    stop = jnp.clip(budget, x0, x1)
    height = y0 + jnp.where(x1 > x0, (stop - x0) / jnp.where(x1 > x0, x1 - x0, 1), 0) * (y1 - y0)
    chords = jnp.where(steps.end, (stop - x0) * (y0 + height) / 2, 0)
    return chords.sum() + jnp.maximum(budget - x[steps.length], 0) * gain[steps.length]


@partial(jax.jit, static_argnums=(1, 2))
def _control_revenue(steps: ValueSteps, control: int, normalise: Normalise, weights: ArrayLike | None) -> Array:
    r, w = steps.scores.r[:, control], steps.scores.w[:, control]
    people = jnp.ones_like(r) if weights is None else jnp.asarray(weights, r.dtype)
    size = people @ w if normalise == "matched" else people.sum()
    return people @ r / jnp.where(size > 0, size, 1)
