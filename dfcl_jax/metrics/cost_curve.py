"""The cost curve of a ranking: incremental revenue against incremental cost."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.errors import refuse
from dfcl_jax.metrics.checks import as_array, as_arrays, check_people, check_trial, check_weights
from dfcl_jax.metrics.ranking import Ranking, rank, rounding, totals
from dfcl_jax.types import Outcomes, Trial, num_arms


def roi_score(outcomes: Outcomes) -> Array:
    """Predicted return of treating each of two-treatment outcomes, (r_1 - r_0) / max(c_1 - c_0, 1e-6), [n]."""
    return marginal_roi_score(outcomes)[:, 0]


def marginal_roi_score(outcomes: Outcomes) -> Array:
    """Predicted return of each treatment over the one before, (r_j+1 - r_j) / max(c_j+1 - c_j, 1e-6), [n, m-1]."""
    r, c = (jnp.diff(surface, axis=1) for surface in as_arrays(outcomes))
    return r / jnp.maximum(c, 1e-6)


def aucc(score: ArrayLike, trial: Trial, *, points: int = 200, weights: ArrayLike | None = None) -> Array:
    """Area under the cost curve of treating people by falling score, as the DFCL authors' code has it (DFCL section 5).

    Walk down the ranking and add up treated less control, each divided by its arm's whole count, for cost and for
    revenue. At k = 1..points take the first person at whom incremental cost reaches k / points of its total (the last
    person for k = points); the area is the sum of incremental revenue there over total incremental revenue x
    (points + 1). People of equal score, whom that code takes in the order given, come in at the mean of all orders.

    Args:
        score: [n], higher is treated first.
        trial: two treatments, of which 1 is the treated; features and propensities are not used.
        points: points on the curve.
        weights: how many people each row stands for, [n].

    Returns:
        The area, []: near 0.5 for a random ranking, higher is better; of the whole trial, not a mean over people. NaN
        where treatment does not cost more and bring more than control in total (`why_undefined`).

    Raises:
        InputError: the trial has more than two treatments, or a score is missing.
    """
    return _sampled_area(*_of_two(score, trial, weights), points)


def exact_aucc(score: ArrayLike, trial: Trial, *, weights: ArrayLike | None = None) -> Array:
    """Area under the cost curve without points: sum of trapezes between all people, over total revenue x total cost.

    Our own definition: `aucc` as its points become infinitely many, and exactly 0.5 for a straight curve.
    """
    return _exact_area(*_of_two(score, trial, weights))


def true_aucc(score: ArrayLike, truth: Outcomes, *, points: int = 200) -> Array:
    """`aucc` without the noise of a trial: that of a trial in which everybody is in both arms, with expected outcomes.

    Args:
        score: [n], higher is treated first.
        truth: expected outcomes under two treatments, of which the second costs more, [n, 2] each.
        points: as in `aucc`.

    Raises:
        InputError: surfaces that are not [n, 2], or a score is missing.
    """
    surfaces = as_arrays(truth)
    shapes = [surface.shape for surface in surfaces]
    if any(len(shape) != 2 or shape[1] != 2 or shape != shapes[0] for shape in shapes):
        refuse("truth", found=f"shapes {shapes[0]} and {shapes[1]}", expected="(n, 2) both, for a cost curve")
    n = shapes[0][0]
    r, c = (surface.T.reshape(-1) for surface in surfaces)
    both = Trial(jnp.zeros((2 * n, 1)), jnp.repeat(jnp.arange(2), n), r, c, jnp.full(2, 0.5))
    return aucc(jnp.tile(check_people("score", score, n), 2), both, points=points)


def mt_aucc(score: ArrayLike, trial: Trial, *, points: int = 200, weights: ArrayLike | None = None) -> Array:
    """AUCC of several treatments in the order of their cost, by steps from each to the next (DFCL section 6).

    Everybody counts twice: as control of the step above the treatment they were given and as treated of the step below
    it, weighted by n / N_t; all steps are ranked together, and the area is that of `aucc`.

    Args:
        score: of each step from treatment j to j + 1, [n, m-1]: `marginal_roi_score`.
        trial: m treatments, of rising cost.
        points: as in `aucc`; 0 for the exact area.
        weights: how many people each row stands for, [n].
    """
    trial, steps = check_trial(trial), as_array(score)
    n, m = trial.t.shape[0], num_arms(trial)
    if steps.shape != (n, m - 1):
        refuse("score", found=f"shape {steps.shape}", expected=f"({n}, {m - 1}), a step each")
    for j in range(m - 1):
        check_people(f"score of step {j}", steps[:, j], n)
    weights = check_weights(weights, n, trial.r.dtype)
    return _sampled_area(steps, trial, weights, points) if points else _exact_area(steps, trial, weights)


def _of_two(score: ArrayLike, trial: Trial, weights: ArrayLike | None) -> tuple[Array, Trial, Array]:
    trial = check_trial(trial)
    n = trial.t.shape[0]
    if num_arms(trial) != 2:
        refuse("trial", found=f"{num_arms(trial)} treatments", expected="2, for a cost curve; several have `mt_aucc`")
    return check_people("score", score, n)[:, None], trial, check_weights(weights, n, trial.r.dtype)


@partial(jax.jit, static_argnums=3)
def _sampled_area(score: Array, trial: Trial, weights: Array, points: int) -> Array:
    cost, revenue = (part[1:] for part in _incremental(score, trial, weights))
    # Cost is not monotone along the ranking, its running maximum is, and first reaches a level at the same person.
    levels = cost[-1] * jnp.arange(1, points) / points
    first = jnp.searchsorted(jax.lax.cummax(cost), levels, side="left")
    return (revenue[first].sum() + revenue[-1]) / (revenue[-1] * (points + 1)) + _undefined(
        cost, revenue, trial, weights
    )


@jax.jit
def _exact_area(score: Array, trial: Trial, weights: Array) -> Array:
    cost, revenue = _incremental(score, trial, weights)
    return jnp.trapezoid(revenue, cost) / (revenue[-1] * cost[-1]) + _undefined(cost, revenue, trial, weights)


def _undefined(cost: Array, revenue: Array, trial: Trial, weights: Array) -> Array:
    """Return 0, or NaN where treatment does not cost or does not bring more than control, beyond rounding."""
    costs, brings = cost[-1] > rounding(trial.c, weights), revenue[-1] > rounding(trial.r, weights)
    return jnp.where(costs & brings, 0.0, jnp.nan)


def _incremental(score: Array, trial: Trial, w: Array) -> tuple[Array, Array]:
    """Cost and revenue of treated less control down the ranking of all steps, [2n+1], or [n+1] with two treatments."""
    ranking = _rank_steps(score, trial.t)
    arms = jax.ops.segment_sum(w, trial.t, num_segments=score.shape[1] + 1)
    share = w / jnp.where(arms > 0, arms, 1)[trial.t] if score.shape[1] > 1 else w
    sums = totals(ranking, trial.r, trial.c, share[ranking.person])
    treated, control = sums.treated[-1], sums.people[-1] - sums.treated[-1]
    return (
        sums.treated_c / treated - sums.control_c / control,
        sums.treated_r / treated - sums.control_r / control,
    )


def _rank_steps(score: Array, t: Array) -> Ranking:
    n, steps = score.shape
    people = jnp.arange(n)
    if steps == 1:
        return rank(score[:, 0], people, t, t == 1)
    above, below = t < steps, t > 0
    control = jnp.take_along_axis(score, jnp.minimum(t, steps - 1)[:, None], axis=1)[:, 0]
    treated = jnp.take_along_axis(score, jnp.maximum(t - 1, 0)[:, None], axis=1)[:, 0]
    return rank(
        # Whoever has no step on one side comes last there and counts nothing.
        jnp.concatenate([jnp.where(above, control, -jnp.inf), jnp.where(below, treated, -jnp.inf)]),
        jnp.concatenate([people, people]),
        jnp.concatenate([t, t]),
        jnp.arange(2 * n) >= n,
        counts=jnp.concatenate([above, below]).astype(score.dtype),
    )
