"""Studies: methods trained side by side and compared over seeds."""

from dfcl_jax.study.comparison import CHEAPEST, ORACLE, Study, compare
from dfcl_jax.study.config import Hooks, Seeds, StudyConfig, default_budgets, money_units, stack_seeds
from dfcl_jax.study.evaluation import Evaluation, evaluate
from dfcl_jax.study.online import Policy, online, online_lifts, policy_of
from dfcl_jax.study.sweep import Sweep, grid, sweep
from dfcl_jax.study.variance import variances

__all__ = [
    "CHEAPEST",
    "ORACLE",
    "Evaluation",
    "Hooks",
    "Policy",
    "Seeds",
    "Study",
    "StudyConfig",
    "Sweep",
    "compare",
    "default_budgets",
    "evaluate",
    "grid",
    "money_units",
    "online",
    "online_lifts",
    "policy_of",
    "stack_seeds",
    "sweep",
    "variances",
]
