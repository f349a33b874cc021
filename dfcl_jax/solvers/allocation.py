"""The budgeted plan: one treatment for each person."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from dfcl_jax.errors import is_concrete, refuse
from dfcl_jax.solvers.multiplier import cross
from dfcl_jax.types import Allocation, Outcomes, pick


def allocate(outcomes: Outcomes, budget: Array | float) -> Allocation:
    """Decide a treatment for each person so that predicted revenue is high and predicted spend within `budget`.

    Solves the dual of max_z sum_ij z_ij r_ij s.t. sum_ij z_ij c_ij <= n B by bisection (DFCL, D1 to D3) and takes the
    decisions of the least multiplier that keeps to the budget; people who are tied there get the dearer treatment, in
    order, while the budget lasts. A budget above the largest useful spend is no error:
    `lam` is 0 and everybody has their best treatment.

    Args:
        outcomes: predicted revenue and cost, [n, m] each.
        budget: cost per person, [].

    Returns:
        The plan; spend and value are per person. `jax.vmap` it over budgets for several plans.

    Raises:
        InputError: surfaces that disagree in shape or hold NaN; a budget that is negative, not finite, or below the
            cheapest plan. Inside `jit` and `vmap`, where values cannot be seen, only the shapes are checked.
    """
    if outcomes.r.ndim != 2 or outcomes.r.shape != outcomes.c.shape:
        refuse("outcomes", found=f"{outcomes.r.shape} and {outcomes.c.shape}", expected="two [n, m]")
    if is_concrete(outcomes, budget):
        _check_values(outcomes, float(budget))
    return _allocate(outcomes, jnp.asarray(budget, outcomes.c.dtype))


@jax.jit
def _allocate(outcomes: Outcomes, budget: Array) -> Allocation:
    lam, within, over = cross(outcomes, budget)
    # At lam the people who differ are tied: as many as the budget still pays for get the dearer treatment.
    spend = pick(outcomes.c, within)
    dearer = jnp.cumsum(pick(outcomes.c, over) - spend) <= (budget - spend.mean()) * spend.shape[0]
    topped_up = jnp.where(dearer, over, within)
    # A running sum rounds; what it lets through is kept only if it is within the budget.
    arm = jnp.where(pick(outcomes.c, topped_up).mean() <= budget, topped_up, within)
    return Allocation(arm, lam, pick(outcomes.c, arm).mean(), pick(outcomes.r, arm).mean())


def check_budgets(budgets: Array | np.ndarray | float) -> None:
    """Refuse budgets that are negative or not finite, naming the first."""
    values = np.atleast_1d(np.asarray(budgets, np.float64))
    bad = values[~(np.isfinite(values) & (values >= 0))]
    if bad.size:
        refuse("budget", found=float(bad[0]), expected="a finite number of at least 0, per person")


def _check_values(outcomes: Outcomes, budget: float) -> None:
    check_budgets(budget)
    for name, surface in (("revenue", outcomes.r), ("cost", outcomes.c)):
        bad = np.argwhere(~np.isfinite(np.asarray(surface)))
        if bad.size:
            refuse(
                f"outcomes, {name} of unit {bad[0, 0]} at treatment {bad[0, 1]}",
                found=float(surface[tuple(bad[0])]),
                expected="a finite number",
            )
    cheapest = float(outcomes.c.min(axis=1).mean())
    if budget < cheapest - 1e-6 * abs(cheapest) - 1e-12:
        refuse("budget", found=budget, expected=f"at least {cheapest:.6g}, the spend of the cheapest plan")
