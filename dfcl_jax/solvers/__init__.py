"""Solvers of the budgeted decision (a multiple-choice knapsack) and of its dual."""

from dfcl_jax.solvers.allocation import allocate, check_budgets
from dfcl_jax.solvers.decision import hard, priced, soft
from dfcl_jax.solvers.multiplier import Crossing, bisect, cross, lams_for_budgets, largest_multiplier, multiplier

__all__ = [
    "Crossing",
    "allocate",
    "bisect",
    "check_budgets",
    "cross",
    "hard",
    "lams_for_budgets",
    "largest_multiplier",
    "multiplier",
    "priced",
    "soft",
]
