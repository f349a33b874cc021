"""Solvers of the budgeted decision (a multiple-choice knapsack) and of its dual."""

from dfcl_jax.solvers.allocation import allocate
from dfcl_jax.solvers.budgets import chosen_budgets, default_budgets, usual_fractions
from dfcl_jax.solvers.checks import check_budgets
from dfcl_jax.solvers.constrained import ConstrainedAllocation, allocate_within
from dfcl_jax.solvers.decision import Rule, decide, dice, hard, priced, soft
from dfcl_jax.solvers.hull import Hull, upper_hull
from dfcl_jax.solvers.implicit import (
    Solution,
    argmin,
    conjugate_gradients,
    gauss_newton_product,
    hessian_product,
    implicit_hypergradient,
)
from dfcl_jax.solvers.multiplier import lams_for_budgets, largest_multiplier, multiplier
from dfcl_jax.solvers.path import BudgetPath, PathPoint, budget_path
from dfcl_jax.solvers.perturbed import perturbed
from dfcl_jax.solvers.slopes import surfaces_from_slopes
from dfcl_jax.solvers.stochastic import Commitment, Schedule, commit, schedule
from dfcl_jax.solvers.value import optimal_value, soft_multiplier

__all__ = [
    "BudgetPath",
    "Commitment",
    "ConstrainedAllocation",
    "Hull",
    "PathPoint",
    "Rule",
    "Schedule",
    "Solution",
    "allocate",
    "allocate_within",
    "argmin",
    "budget_path",
    "check_budgets",
    "chosen_budgets",
    "commit",
    "conjugate_gradients",
    "decide",
    "default_budgets",
    "dice",
    "gauss_newton_product",
    "hard",
    "hessian_product",
    "implicit_hypergradient",
    "lams_for_budgets",
    "largest_multiplier",
    "multiplier",
    "optimal_value",
    "perturbed",
    "priced",
    "schedule",
    "soft",
    "soft_multiplier",
    "surfaces_from_slopes",
    "upper_hull",
    "usual_fractions",
]
