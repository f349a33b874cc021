"""The value of a policy on a trial: the expected outcome metric (EOM)."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.errors import is_concrete
from dfcl_jax.metrics.checks import as_array, check_arms, check_scores, check_weights
from dfcl_jax.metrics.value_steps import Normalise, PolicyValue, Spend, value_steps
from dfcl_jax.solvers import check_budgets
from dfcl_jax.types import Outcomes, Scores, pick


def policy_value(
    arm: ArrayLike,
    scores: Scores,
    *,
    normalise: Normalise | Literal["stratified"] = "sample",
    weights: ArrayLike | None = None,
) -> tuple[Array, Array]:
    """Revenue and cost per person of giving treatment `arm` [n] (DFCL, D8).

    "sample" is Horvitz-Thompson, mean_i G_{i,arm_i}; "matched" divides by the weight of the people who had that
    treatment, sum_i w_{i,arm_i}, instead of n, and belongs with `scores.ipw` (Hajek; the authors' code). "stratified"
    does so treatment by treatment, as LBCF does (Ai et al. 2022): V = sum_a share_a (sum_{i: arm_i = a} G_ia / sum_{i:
    arm_i = a} w_ia), share_a the share of people who get a. It is NaN where nobody who is to get a treatment had it.

    Args:
        arm: a ready-made policy, [n] int.
        scores: what settles, [n, m] each.
        normalise: what the sums are divided by.
        weights: how many people each row stands for, [n] (a bootstrap replicate).

    Raises:
        InputError: as `checks.check_scores`; treatments that are not one of m for each person; weights that are
            negative or not finite (outside `jit`).
    """
    scores = check_scores(scores)
    n, m = scores.r.shape
    arm, people = check_arms(arm, n, m), check_weights(weights, n, scores.r.dtype)
    if normalise == "stratified":
        given = people[:, None] * jax.nn.one_hot(arm, m, dtype=people.dtype)
        share, seen = given.sum(axis=0) / people.sum(), (given * scores.w).sum(axis=0)

        def value(surface: Array) -> Array:
            mean = (given * surface).sum(axis=0) / jnp.where(seen > 0, seen, jnp.nan)
            return jnp.where(share > 0, share * mean, 0).sum()

        return value(scores.r), value(scores.c)
    size = people @ pick(scores.w, arm) if normalise == "matched" else people.sum()
    size = jnp.where(size > 0, size, 1)
    return people @ pick(scores.r, arm) / size, people @ pick(scores.c, arm) / size


def influence(arm: ArrayLike, scores: Scores, *, normalise: Normalise = "sample") -> Outcomes:
    """Each person's part in `policy_value`, [n] each: their mean is the value, their spread its standard error.

    "sample": G_{i,arm_i}. "matched": V + (G_i - V w_i) / mean w, the linearised ratio V = mean G / mean w. The parts of
    two policies on the same people may be subtracted: `normal_interval` of that is the paired difference.

    Args:
        arm: a ready-made policy, [n] int: one that was not chosen by these scores.
        scores: what settles, [n, m] each.
        normalise: as in `policy_value`.
    """
    scores = check_scores(scores)
    arm = check_arms(arm, *scores.r.shape)
    r, c, w = (pick(surface, arm) for surface in scores)
    if normalise == "sample":
        return Outcomes(r, c)
    share = jnp.where(w.mean() > 0, w.mean(), 1)
    revenue, cost = r.mean() / share, c.mean() / share
    return Outcomes(revenue + (r - revenue * w) / share, cost + (c - cost * w) / share)


def eom(
    outcomes: Outcomes,
    scores: Scores,
    budgets: ArrayLike,
    *,
    normalise: Normalise = "sample",
    spend: Spend = "estimated",
    weights: ArrayLike | None = None,
) -> PolicyValue:
    """Expected outcome metric at each budget: decided by `outcomes`, settled by `scores` (DFCL, D8 and Algorithm 3).

    As the multiplier falls, more people get a dearer treatment (the budget path of `outcomes`). The policy at a budget
    is the one where the spend first comes up to it: of people tied at that multiplier, as large a share as the budget
    pays for gets the dearer treatment, whatever the order of the rows.

    "estimated" spend is what the scores say, as in the paper. A policy whose tightest decisions still overspend (its
    predicted costs are off) is mixed with the treatment of least estimated cost for as large a share of people, at
    random, as meets the budget: nobody is credited for money that the budget does not have. Where that treatment alone
    costs more than the budget, revenue and cost are NaN. The multiplier is chosen by the scores that settle the policy:
    an interval must choose it anew, as `bootstrap` does.

    "predicted" spend is what `outcomes` say, as a platform without a trial would plan; the estimated cost may then be
    above the budget or below it.

    Args:
        outcomes: what decides, [n, m] each.
        scores: what settles, [n, m] each, with the level of the cost in them: `ipw`, `aipw` or `truth`.
        budgets: cost per person, [b].
        normalise: see `policy_value`.
        spend: which spend meets the budgets.
        weights: how many people each row stands for, [n]. For many replicates see `value_steps`.

    Raises:
        InputError: surfaces that disagree in shape or hold NaN; a budget that is negative or not finite (outside
            `jit`).
    """
    if is_concrete(budgets):
        check_budgets(np.asarray(budgets))
    steps = value_steps(outcomes, scores)
    if weights is not None:
        weights = check_weights(weights, scores.r.shape[0], steps.lam.dtype)
    return steps.at(jnp.atleast_1d(as_array(budgets)), weights=weights, normalise=normalise, spend=spend)
