"""The cost curve of a ranking of people, for two treatments."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.errors import refuse
from dfcl_jax.types import Outcomes, Trial, num_arms


def roi_score(outcomes: Outcomes) -> Array:
    """Predicted return of treating each of two-treatment outcomes, (r_1 - r_0) / max(c_1 - c_0, 1e-6), [n]."""
    return (outcomes.r[:, 1] - outcomes.r[:, 0]) / jnp.maximum(outcomes.c[:, 1] - outcomes.c[:, 0], 1e-6)


def aucc(score: ArrayLike, trial: Trial, *, points: int = 200) -> Array:
    """Area under the cost curve of treating people by falling score, as the DFCL authors' code has it (DFCL section 5).

    Walk down the ranking and add up treated less control, each divided by its arm's whole count, for cost and for
    revenue. At k = 1..points take the first person at whom incremental cost reaches k / points of its total (the last
    person for k = points); the area is the sum of incremental revenue there over total incremental revenue x
    (points + 1).

    Args:
        score: [n], higher is treated first; people of equal score stay in the order given.
        trial: two treatments, of which 1 is the treated; features and propensities are not used.
        points: points on the curve.

    Returns:
        The area, []: near 0.5 for a random ranking, higher is better. Defined where treatment costs and brings
        something in total; on the whole trial, not a mean over people.

    Raises:
        InputError: the trial has more than two treatments.
    """
    if num_arms(trial) != 2:
        refuse("trial", found=f"{num_arms(trial)} treatments", expected="2, for a cost curve")
    return _aucc(jnp.asarray(score), trial.t, trial.r, trial.c, points)


@partial(jax.jit, static_argnums=4)
def _aucc(score: Array, t: Array, r: Array, c: Array, points: int) -> Array:
    order = jnp.argsort(-score, stable=True)
    treated = (t == 1)[order]

    def incremental(y: Array) -> Array:
        y = y[order]
        gained = jnp.cumsum(jnp.where(treated, y, 0)) / treated.sum()
        return gained - jnp.cumsum(jnp.where(treated, 0, y)) / (~treated).sum()

    cost, revenue = incremental(c), incremental(r)
    # Cost is not monotone along the ranking, its running maximum is, and first reaches a level at the same person.
    levels = cost[-1] * jnp.arange(1, points) / points
    first = jnp.searchsorted(jax.lax.cummax(cost), levels, side="left")
    return (revenue[first].sum() + revenue[-1]) / (revenue[-1] * (points + 1))
