"""Solvers of the budgeted decision (a multiple-choice knapsack) and of its dual."""

from dfcl_jax.solvers.allocation import allocate
from dfcl_jax.solvers.checks import check_budgets
from dfcl_jax.solvers.decision import hard, priced, soft
from dfcl_jax.solvers.hull import Hull, upper_hull
from dfcl_jax.solvers.multiplier import Crossing, bisect, lams_for_budgets, largest_multiplier, multiplier
from dfcl_jax.solvers.path import BudgetPath, PathPoint, budget_path

__all__ = [
    "BudgetPath",
    "Crossing",
    "Hull",
    "PathPoint",
    "allocate",
    "bisect",
    "budget_path",
    "check_budgets",
    "hard",
    "lams_for_budgets",
    "largest_multiplier",
    "multiplier",
    "priced",
    "soft",
    "upper_hull",
]
