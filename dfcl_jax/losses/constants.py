"""The constants of a decision loss: multipliers, temperatures and windows."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.losses.primal import lams_at_budgets
from dfcl_jax.solvers import lams_for_budgets, priced
from dfcl_jax.types import Outcomes, Scores, mean_of_people, pick


class Constants(NamedTuple):
    """The constants of a decision loss, one entry for each multiplier."""

    lams: Array  # [k] multipliers
    temperature: Array  # [k] of the softened decision, in the unit of r_hat - lam c_hat
    window: Array  # [k] of finite differences on r_hat, same unit
    cost_window: Array  # [k] of finite differences on c_hat
    weights: Array  # [k] of the terms of the sum
    budgets: Array  # [k] cost per person that `lams` belong to; NaN if multipliers do not come from budgets


def score_spread(score: Array, people: Array | None = None) -> Array:
    """Return the standard deviation over people and treatments of a_ij - mean_j a_ij, for a `score` a [n, m], [].

    Each row counts as `people` [n] of them, as one if not given.
    """
    off = score - score.mean(axis=1, keepdims=True)
    return off.std() if people is None else jnp.sqrt(mean_of_people((off**2).mean(axis=1), people))


def best_margin(score: Array, people: Array | None = None, *, quantile: float = 0.5) -> Array:
    """Return a quantile over people of the best a_ij minus the second best, for a `score` a [n, m], [].

    A share `quantile` of people is then less than this length away from another decision. Each row counts as `people`
    [n] of them, as one if not given.
    """
    first, second = jax.lax.top_k(score, 2)[0].T
    if people is None:
        return jnp.quantile(first - second, quantile)
    order = jnp.argsort(first - second)
    below = jnp.cumsum(people[order])
    return (first - second)[order][jnp.searchsorted(below, quantile * below[-1])]


def fitted(
    outcomes: Outcomes,
    budgets: Array,
    *,
    temperature_in_spreads: Array | float = 2.0,
    window_in_spreads: Array | float = 0.25,
    spread: Callable[..., Array] = score_spread,
    people: Array | None = None,
) -> Constants:
    """Return constants in the units of a warm-started model's own scores.

    The multipliers are those of the given budgets. With sigma_lam the spread of the score a = r_hat - lam c_hat,
    temperature and window are multiples of sigma_lam, and each term has weight 1 / temperature. No loss then depends on
    the unit of money.

    Args:
        outcomes: the warm-started model's predictions, [n, m] each.
        budgets: cost per person, [k].
        temperature_in_spreads: temperature / sigma_lam.
        window_in_spreads: window / sigma_lam.
        spread: score [n, m], people -> sigma, a length of the score: `score_spread` or `best_margin`.
        people: how many people each row stands for, [n]; one if not given.
    """
    lams = lams_for_budgets(outcomes, budgets, weights=people)
    at_lams = fitted_at(
        outcomes,
        budgets,
        lams=lams,
        temperature_in_spreads=temperature_in_spreads,
        window_in_spreads=window_in_spreads,
        spread=spread,
        people=people,
    )
    return at_lams._replace(budgets=jnp.asarray(budgets))


def fitted_at(
    outcomes: Outcomes,
    budgets: Array,
    *,
    lams: ArrayLike | Sequence[float],
    temperature_in_spreads: Array | float = 2.0,
    window_in_spreads: Array | float = 0.25,
    spread: Callable[..., Array] = score_spread,
    people: Array | None = None,
) -> Constants:
    """Return `fitted` at given multipliers, [k], instead of those of the budgets."""
    lams = jnp.atleast_1d(jnp.asarray(lams, outcomes.r.dtype))
    sigma = jnp.stack([spread(priced(outcomes, lam), people) for lam in lams])
    # A model that does not distinguish treatments has no scale of its own.
    sigma = jnp.where(sigma > 0, sigma, 1)
    temperature, window = temperature_in_spreads * sigma, window_in_spreads * sigma
    weights = 1 / temperature
    return Constants(lams, temperature, window, _over(window, lams), weights, budgets=jnp.full_like(lams, jnp.nan))


def tracked(constants: Constants, outcomes: Outcomes, scores: Scores) -> Constants:
    """Move multipliers to where `outcomes` meet the budgets now, by the spend that `scores` estimate.

    A model trained on decisions alone predicts no money, so its own predicted spend cannot price a budget. Temperature
    and window keep the unit of the start: fitted again, they would grow with the scores, and the scores with them. A
    budget that even the cheapest decisions overspend has no price, and keeps the multiplier that it had: what is found
    for it is the steepest step of any one person, which may be of any size.

    Args:
        constants: those of the start, with budgets.
        outcomes: the model's predictions, [n, m] each.
        scores: of the same people, including the level of the cost: `aipw` or `ipw`.
    """
    lams = lams_at_budgets(outcomes, scores, constants.budgets)
    least = outcomes.c == outcomes.c.min(axis=1, keepdims=True)
    cheapest = jnp.where(least, outcomes.r, -jnp.inf).argmax(axis=1)
    lams = jnp.where(pick(scores.c, cheapest).mean() <= constants.budgets, lams, constants.lams)
    return constants._replace(lams=lams, cost_window=_over(constants.window, lams))


def annealed(constants: Constants, factor: ArrayLike) -> Constants:
    """Multiply temperature and windows by `factor`; weights stay, and with them the unit of the loss."""
    k = constants
    factor = jnp.asarray(factor, k.temperature.dtype)
    return k._replace(temperature=factor * k.temperature, window=factor * k.window, cost_window=factor * k.cost_window)


def _over(window: Array, lams: Array) -> Array:
    # A step on c_hat moves the score by lam times itself. At lam = 0 it moves nothing, and no window is needed.
    return jnp.where(lams > 0, window / jnp.where(lams > 0, lams, 1), 1)


def given(
    outcomes: Outcomes,
    budgets: Array,
    *,
    lams: ArrayLike | Sequence[float],
    temperature: ArrayLike = 1.0,
    window: ArrayLike = 0.3,
    people: Array | None = None,
) -> Constants:
    """Return constants in the model's units, whatever it predicts; all terms have weight 1.

    Args:
        outcomes: predictions, of which only the type of numbers matters.
        budgets: not used, because multipliers are given.
        lams: multipliers, [k].
        temperature: of the softened decision, a scalar or [k].
        window: of finite differences on r_hat and on c_hat, a scalar or [k].
        people: not used, because nothing is taken from the sample.
    """
    lams = jnp.atleast_1d(jnp.asarray(lams, outcomes.r.dtype))
    temperature, window = (jnp.broadcast_to(jnp.asarray(v, lams.dtype), lams.shape) for v in (temperature, window))
    return Constants(lams, temperature, window, window, jnp.ones_like(lams), jnp.full_like(lams, jnp.nan))


# The constants of the paper's experiments (DFCL sections 3 and 4), in its units of revenue and cost. The window of the
# marketing data is not published, so Criteo's stands in for it.
published_criteo = partial(given, lams=(0.1,), temperature=3.0, window=0.3)
published_marketing = partial(given, lams=(0.1, 0.5, 1.0), temperature=0.01, window=0.3)
