"""What treatments cost: costs that the design of a trial fixes need no estimate, of others there is a mean."""

from typing import TypeVar

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.scores.estimators import observation_weights
from dfcl_jax.types import Outcomes, Scores, Trial

Surfaces = TypeVar("Surfaces", Scores, Outcomes)


def known_costs(surfaces: Surfaces, known: ArrayLike, *, base: Array | float = 0.0) -> Surfaces:
    """Put costs that are known in the place of estimates: c_ij = known_j - b(x_i) for everybody where it is not NaN.

    The true surface of such a treatment is the constant itself, so scores stay unbiased, and without variance there.

    Args:
        surfaces: scores, or predicted outcomes, [n, m] each.
        known: what each treatment costs, [m]; NaN where that is to be estimated. No entries: nothing is known.
        base: what was taken off the cost scores of every treatment, [n]: b(x_i) of `centred`; 0 for all others.
    """
    known = jnp.asarray(known, surfaces.c.dtype)
    if known.size == 0:
        return surfaces
    off = jnp.broadcast_to(jnp.asarray(base, known.dtype), surfaces.c.shape[:1])
    known = jnp.broadcast_to(known[None, :], surfaces.c.shape)
    return surfaces._replace(c=jnp.where(jnp.isnan(known), surfaces.c, known - off[:, None]))


def mean_costs(trial: Trial, known: ArrayLike | None = None) -> np.ndarray:
    """What each treatment costs on average, [m] float64: sum_i w_ij c_i / sum_i w_ij, w_ij = v_i 1[t_i = j] / p_ij.

    v are the trial's weights, 1 if it has none. A cost that never varied is so its own mean, whatever propensities say.

    Args:
        trial: n people; the mean of a treatment that nobody had is NaN.
        known: what each treatment is known to cost, [m]; NaN, or no entries: its mean is.
    """
    weights, cost = np.asarray(observation_weights(trial), np.float64), np.asarray(trial.c, np.float64)
    weights = weights if trial.weight is None else weights * np.asarray(trial.weight, np.float64)[:, None]
    # Differences to one cost: a mean of equal costs is then that cost, to the last digit.
    least = cost.min()
    had = weights.sum(axis=0)
    means = np.where(had > 0, least + weights.T @ (cost - least) / np.where(had > 0, had, 1), np.nan)
    stated = np.zeros(0) if known is None else np.asarray(known, np.float64)
    return np.where(np.isnan(stated), means, stated) if stated.size else means
