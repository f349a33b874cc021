"""Plans for an unknown budget: one for every scenario, or one commitment before the budget is seen."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.errors import refuse
from dfcl_jax.solvers.allocation import allocate
from dfcl_jax.solvers.checks import check_budgets
from dfcl_jax.solvers.path import budget_path
from dfcl_jax.types import Allocation, Outcomes


class Schedule(NamedTuple):
    """A plan for each scenario of the budget, [b] scenarios."""

    plans: Allocation  # for every scenario: arm [b, n], lam, spend, value, bound [b]
    probability: Array  # [b]
    spend: Array  # [] expected cost per person
    value: Array  # [] expected revenue per person
    bound: Array  # [] upper bound on the expected revenue of a policy that keeps to the budget in every scenario


class Commitment(NamedTuple):
    """One plan made before the budget is known."""

    plan: Allocation  # `lam` is the least revenue that makes one more unit of cost worthwhile
    budget: Array  # [] amount to commit to spending, per person
    overspend: Array  # [] expected cost per person above the budget
    value: Array  # [] expected revenue less the price of overspending, per person


def schedule(outcomes: Outcomes, budgets: ArrayLike, *, probability: ArrayLike | None = None) -> Schedule:
    """Plan for a budget that is seen before deciding: each scenario has its own plan and multiplier.

    Hulls are nested, so the policy is one ranking of steps, cut at lam(B): a larger budget only moves people to more
    expensive treatments (except for the few top-ups of `allocate`).

    Args:
        outcomes: predicted revenue and cost, [n, m] each.
        budgets: scenarios or samples of the budget, cost per person, [b].
        probability: of each scenario, [b]; equal if None.

    Raises:
        InputError: as `allocate`; probabilities that are negative or do not sum to 1.
    """
    budgets, probability = _scenarios(budgets, probability)
    plans = [allocate(outcomes, budget) for budget in budgets]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *plans)
    weights = jnp.asarray(probability, stacked.value.dtype)
    expected = (jnp.vdot(weights, part) for part in (stacked.spend, stacked.value, stacked.bound))
    return Schedule(stacked, weights, *expected)


def commit(outcomes: Outcomes, budgets: ArrayLike, *, price: float, probability: ArrayLike | None = None) -> Commitment:
    """Plan before the budget B is seen, at a `price` for each unit of cost above it.

    max_x V(x) - price E(x - B)_+  with V the optimal value of spending x (D1).

    V is concave and its slope is the multiplier, so the best x is where the multiplier falls below the expected price
    of one more unit,

        lam(x) >= price P(B < x)  up to x,  <=  beyond it:   lam* = max_k min(lam(B_k), price P(B <= B_k)),

    which is the newsvendor rule. An infinite price keeps to the smallest budget; a price of 0 spends all that is
    useful.

    Args:
        outcomes: predicted revenue and cost, [n, m] each.
        budgets: scenarios or samples of the budget, cost per person, [b].
        price: revenue lost per unit of cost above the budget, at least 0.
        probability: of each scenario, [b]; equal if None.

    Raises:
        InputError: as `allocate`; a negative price; probabilities that are negative or do not sum to 1.
    """
    if not price >= 0:
        refuse("price", found=price, expected="a number of at least 0")
    budgets, probability = _scenarios(budgets, probability)
    path = budget_path(outcomes)
    lams, spends = np.append(path.lam, 0), np.asarray(path.spend)
    order = np.argsort(budgets)
    rising = budgets[order]
    lam_after = np.asarray(path.at(rising).lam)
    # The probability of a budget up to the largest one is 1, without rounding.
    certain = np.cumsum(probability[order])
    overspending = np.where(certain > 0, price * np.where(np.arange(len(rising)) == len(rising) - 1, 1, certain), 0)
    k = int(np.argmax(np.minimum(lam_after, overspending)))
    if lam_after[k] <= overspending[k]:
        target, limit = rising[k], rising[k]
    else:
        target = spends[np.searchsorted(-lams, -overspending[k], side="left")]
        # The target is a vertex of the path, not a scenario's budget; rounding must not cost it the last step.
        limit = np.nextafter(np.asarray(target * (1 + 1e-12), outcomes.c.dtype), np.inf)
    plan = allocate(outcomes, limit)
    over = np.maximum(float(plan.spend) - budgets, 0)
    overspend = float(probability @ over)
    penalty = price * overspend if overspend else 0.0
    lam = jnp.asarray(min(lam_after[k], overspending[k]), plan.value.dtype)
    return Commitment(plan._replace(lam=lam), jnp.asarray(target), jnp.asarray(overspend), plan.value - penalty)


def _scenarios(budgets: ArrayLike, probability: ArrayLike | None) -> tuple[np.ndarray, np.ndarray]:
    budgets = np.atleast_1d(np.asarray(budgets, np.float64))
    check_budgets(budgets)
    if budgets.ndim != 1 or not budgets.size:
        refuse("budgets", found=f"shape {budgets.shape}", expected="[b], one for each scenario")
    if probability is None:
        return budgets, np.full(budgets.size, 1 / budgets.size)
    probability = np.asarray(probability, np.float64)
    if probability.shape != budgets.shape:
        refuse("probability", found=f"shape {probability.shape}", expected=f"one for each of {budgets.size} budgets")
    # Sums of decimal fractions have rounding errors.
    if not ((probability >= 0).all() and abs(probability.sum() - 1) < 1e-6):
        refuse("probability", found=f"{probability.tolist()}", expected="numbers of at least 0 that sum to 1")
    return budgets, probability
