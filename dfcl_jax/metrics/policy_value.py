"""The value of a policy on a trial: the expected outcome metric (EOM)."""

from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.errors import is_concrete
from dfcl_jax.solvers import bisect, check_budgets, hard, largest_multiplier
from dfcl_jax.types import Outcomes, Scores, pick

Normalise = Literal["sample", "matched"]


class PolicyValue(NamedTuple):
    """What a policy brings at each budget, per person."""

    revenue: Array  # [b]
    cost: Array  # [b] at most the budget; NaN, as is revenue, where nothing meets it
    lam: Array  # [b] multiplier of the decisions
    dearer: Array  # [b] share of the people tied at lam who get the dearer of their two treatments
    mixed: Array  # [b] share of people moved at random to the cheapest treatment to meet the budget


def policy_value(arm: Array, scores: Scores, *, normalise: Normalise = "sample") -> tuple[Array, Array]:
    """Revenue and cost per person of giving treatment `arm` [n] (DFCL, D8).

    "sample" is Horvitz-Thompson, mean_i G_{i,arm_i}; "matched" divides by the weight of the people who had that
    treatment, sum_i w_{i,arm_i}, instead of n, and belongs with `scores.ipw` (Hajek; the authors' code).
    """
    size = pick(scores.w, arm).sum() if normalise == "matched" else jnp.asarray(arm.shape[0], scores.r.dtype)
    size = jnp.where(size > 0, size, 1)
    return pick(scores.r, arm).sum() / size, pick(scores.c, arm).sum() / size


def eom(outcomes: Outcomes, scores: Scores, budgets: ArrayLike, *, normalise: Normalise = "sample") -> PolicyValue:
    """Expected outcome metric at each budget: decided by `outcomes`, settled by `scores` (DFCL, D8 and Algorithm 3).

    Bisects the multiplier, deciding argmax_j (r_hat - lam c_hat)_ij, until the spend that the scores estimate is within
    the budget; of people tied at that multiplier, as large a share as the budget pays for gets the dearer treatment. A
    policy whose tightest decisions still overspend (its predicted costs are off) is mixed with the treatment of least
    estimated cost for as large a share of people, at random, as meets the budget: nobody is credited for money that the
    budget does not have. Where that treatment alone costs more than the budget, revenue and cost are NaN.

    Args:
        outcomes: what decides, [n, m] each.
        scores: what settles, [n, m] each, with the level of the cost in them: `ipw`, `aipw` or `truth`.
        budgets: cost per person, [b].
        normalise: see `policy_value`.

    Raises:
        InputError: a budget that is negative or not finite (outside `jit`).
    """
    if is_concrete(outcomes, scores, budgets):
        check_budgets(np.asarray(budgets))
    result = _eom(outcomes, scores, jnp.atleast_1d(jnp.asarray(budgets, scores.c.dtype)), normalise)
    if is_concrete(result):
        # Sums of n costs in the scores' precision round by less than this; a breach is a fault of this function.
        slack = jnp.sqrt(jnp.finfo(scores.c.dtype).eps) * jnp.abs(scores.c).mean()
        assert not bool((result.cost > jnp.atleast_1d(jnp.asarray(budgets)) + slack).any())
    return result


@partial(jax.jit, static_argnums=3)
def _eom(outcomes: Outcomes, scores: Scores, budgets: Array, normalise: Normalise) -> PolicyValue:
    ceiling = largest_multiplier(outcomes)
    cheapest_revenue, cheapest_cost = _cheapest_treatment(scores, normalise)

    def value(arm: Array) -> tuple[Array, Array]:
        return policy_value(arm, scores, normalise=normalise)

    def at(budget: Array) -> PolicyValue:
        lam, within, over = bisect(lambda lam: hard(outcomes, lam), lambda arm: value(arm)[1], budget, ceiling)
        revenue, cost = value(within)
        dearer_revenue, dearer_cost = value(over)
        # The share of the dearer of two policies at which their mixture costs the budget.
        fits = cost <= budget
        share = jnp.where(fits, _mixing_share(budget, cost, dearer_cost), _mixing_share(budget, cheapest_cost, cost))
        low = jnp.where(fits, jnp.stack([revenue, cost]), jnp.stack([cheapest_revenue, cheapest_cost]))
        high = jnp.where(fits, jnp.stack([dearer_revenue, dearer_cost]), jnp.stack([revenue, cost]))
        met = fits | (cheapest_cost <= budget)
        revenue, cost = jnp.where(met, (1 - share) * low + share * high, jnp.nan)
        mixed = jnp.where(met, jnp.where(fits, 0, 1 - share), jnp.nan)
        return PolicyValue(revenue, cost, lam, dearer=jnp.where(fits, share, 0), mixed=mixed)

    return jax.lax.map(at, budgets)


def _mixing_share(budget: Array, low: Array, high: Array) -> Array:
    return jnp.where(high > low, jnp.clip((budget - low) / jnp.where(high > low, high - low, 1), 0, 1), 0)


def _cheapest_treatment(scores: Scores, normalise: Normalise) -> tuple[Array, Array]:
    n, m = scores.c.shape
    everybody = [policy_value(jnp.full(n, j), scores, normalise=normalise) for j in range(m)]
    revenue, cost = (jnp.stack(values) for values in zip(*everybody, strict=True))
    least = jnp.argmin(cost)
    return revenue[least], cost[least]
