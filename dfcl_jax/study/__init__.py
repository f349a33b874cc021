"""Studies: methods trained side by side and compared over seeds."""

from dfcl_jax.study.comparison import CHEAPEST, ORACLE, Study, compare
from dfcl_jax.study.config import Hooks, Seeds, StudyConfig, default_budgets, stack_seeds

__all__ = [
    "CHEAPEST",
    "ORACLE",
    "Hooks",
    "Seeds",
    "Study",
    "StudyConfig",
    "compare",
    "default_budgets",
    "stack_seeds",
]
