"""Studies: methods that learn from the same tasks and are judged by the same exams."""

from dfcl_jax.study.areas import areas
from dfcl_jax.study.calibration import calibration_slopes
from dfcl_jax.study.cells import Cell, Cells, Watcher
from dfcl_jax.study.comparison import ORACLE, Judge, Study, compare
from dfcl_jax.study.evaluation import Evaluation, evaluate
from dfcl_jax.study.online import daily_budgets, online, online_lifts
from dfcl_jax.study.policies import mixture_of, policy_of
from dfcl_jax.study.proof import AUTO, Proof, prove, rows_needed
from dfcl_jax.study.sweep import Setting, Sweep, grid, sweep
from dfcl_jax.study.variance import variances

__all__ = [
    "AUTO",
    "ORACLE",
    "Cell",
    "Cells",
    "Evaluation",
    "Judge",
    "Proof",
    "Setting",
    "Study",
    "Sweep",
    "Watcher",
    "areas",
    "calibration_slopes",
    "compare",
    "daily_budgets",
    "evaluate",
    "grid",
    "mixture_of",
    "online",
    "online_lifts",
    "policy_of",
    "prove",
    "rows_needed",
    "sweep",
    "variances",
]
