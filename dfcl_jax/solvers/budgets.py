"""Budgets that make sense for a trial."""

from collections.abc import Sequence

import numpy as np
from jax.typing import ArrayLike

from dfcl_jax.errors import refuse
from dfcl_jax.solvers.checks import check_budgets

FRACTIONS = (0.1, 0.2, 0.3, 0.4, 0.55, 0.7)
# Of a trial that cannot tell six budgets apart.
FEW_FRACTIONS = (0.2, 0.5)


def default_budgets(mean_costs: ArrayLike, fractions: Sequence[float] = FRACTIONS) -> tuple[float, ...]:
    """Budgets at fractions of the way from the cheapest treatment's mean cost to the dearest's, to 3 digits of the way.

    Args:
        mean_costs: mean cost of each treatment, [m].
        fractions: of the way.

    Raises:
        InputError: all treatments cost the same.
    """
    costs = np.asarray(mean_costs, np.float64)
    if not np.ptp(costs) > 0:
        refuse("mean costs of the treatments", found=f"{costs.min():.6g} for all", expected="costs that differ")
    digits = 2 - int(np.floor(np.log10(np.ptp(costs))))
    return tuple(round(float(costs.min() + fraction * np.ptp(costs)), digits) for fraction in fractions)


def chosen_budgets(
    budgets: Sequence[float], mean_costs: ArrayLike, fractions: Sequence[float] = FRACTIONS
) -> tuple[float, ...]:
    """The budgets asked for, or `default_budgets` at these fractions where there are none.

    Raises:
        InputError: a budget that is negative, not finite, or below the cheapest treatment's mean cost.
    """
    if not budgets:
        return default_budgets(mean_costs, fractions)
    check_budgets(np.asarray(budgets))
    least = float(np.min(np.asarray(mean_costs)))
    if min(budgets) < least - 1e-6 * abs(least):
        refuse("budget", found=min(budgets), expected=f"at least {least:.4g}, the cheapest mean cost")
    return tuple(budgets)
