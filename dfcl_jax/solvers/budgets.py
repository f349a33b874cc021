"""Budgets that make sense for a trial."""

from collections.abc import Sequence

import numpy as np
from jax.typing import ArrayLike

from dfcl_jax.errors import refuse
from dfcl_jax.solvers.checks import check_budgets

FRACTIONS = (0.1, 0.2, 0.3, 0.4, 0.55, 0.7)
# Of a trial that cannot tell six budgets apart.
FEW_FRACTIONS = (0.2, 0.5)
# With fewer people for each treatment it is such a trial.
FEW_PEOPLE = 100


def usual_fractions(people: int, m: int) -> tuple[float, ...]:
    """Where the budgets of a trial of so many people and treatments lie: six places, two of a small trial."""
    return FEW_FRACTIONS if people < FEW_PEOPLE * m else FRACTIONS


def default_budgets(
    mean_costs: ArrayLike, fractions: Sequence[float] = FRACTIONS, *, what: str = "mean costs of the treatments"
) -> tuple[float, ...]:
    """Budgets at fractions of the way from the cheapest treatment's mean cost to the dearest's, to 3 digits of the way.

    Where the cheapest saves money the way begins at 0, for a budget limits what is spent.

    Args:
        mean_costs: mean cost of each treatment, [m]; NaN where it is not known.
        fractions: of the way.
        what: how an error calls them.

    Raises:
        InputError: all treatments cost the same, within rounding, or none costs anything.
    """
    costs = np.asarray(mean_costs, np.float64)
    least, most = max(np.nanmin(costs), 0.0), np.nanmax(costs)
    # Costs are float32 numbers.
    if not most - least > 4 * np.finfo(np.float32).eps * np.nanmax(np.abs(costs)):
        same = np.nanmin(costs) >= 0
        refuse(
            what,
            found=f"{most:.6g} for all" if same else f"{', '.join(f'{cost:.6g}' for cost in costs)}",
            expected=f"costs that {'differ' if same else 'are spent'}: the column, or the cost of each treatment by "
            "design, that says what each of them cost",
        )
    digits = 2 - int(np.floor(np.log10(most - least)))
    return tuple(round(float(least + fraction * (most - least)), digits) for fraction in fractions)


def chosen_budgets(
    budgets: Sequence[float],
    mean_costs: ArrayLike,
    fractions: Sequence[float] = FRACTIONS,
    *,
    what: str = "mean costs of the treatments",
) -> tuple[float, ...]:
    """The budgets asked for, each once and rising, or `default_budgets` with these options where there are none.

    Raises:
        InputError: a budget that is negative, not finite, or below the cheapest treatment's mean cost.
    """
    if not budgets:
        return default_budgets(mean_costs, fractions, what=what)
    check_budgets(np.asarray(budgets))
    least = float(np.nanmin(np.asarray(mean_costs)))
    if min(budgets) < least - 1e-6 * abs(least):
        refuse("budget", found=min(budgets), expected=f"at least {least:.4g}, the cheapest mean cost")
    return tuple(sorted(set(budgets)))
