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
    the budget. A policy whose tightest decisions still overspend (its predicted costs are off) is mixed with the
    treatment of least estimated cost for as large a share of people, at random, as meets the budget: nobody is credited
    for money the budget does not have. Where that treatment alone costs more than the budget, revenue and cost are NaN.

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
        lam, arm = bisect(lambda lam: hard(outcomes, lam), lambda arm: value(arm)[1], budget, ceiling)
        revenue, cost = value(arm)
        excess, room = cost - budget, cost - cheapest_cost
        share = jnp.where(excess > 0, excess / jnp.where(room > 0, room, 1), 0)
        met = (excess <= 0) | ((room > 0) & (share <= 1))
        return PolicyValue(
            revenue=jnp.where(met, (1 - share) * revenue + share * cheapest_revenue, jnp.nan),
            cost=jnp.where(met, (1 - share) * cost + share * cheapest_cost, jnp.nan),
            lam=lam,
            mixed=jnp.where(met, share, jnp.nan),
        )

    return jax.lax.map(at, budgets)


def _cheapest_treatment(scores: Scores, normalise: Normalise) -> tuple[Array, Array]:
    n, m = scores.c.shape
    everybody = [policy_value(jnp.full(n, j), scores, normalise=normalise) for j in range(m)]
    revenue, cost = (jnp.stack(values) for values in zip(*everybody, strict=True))
    least = jnp.argmin(cost)
    return revenue[least], cost[least]
