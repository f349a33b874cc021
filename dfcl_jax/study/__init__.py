"""Studies: methods that learn from the same tasks and are judged by the same exams."""

from dfcl_jax.study.cells import Cell, Cells, Watcher
from dfcl_jax.study.comparison import ORACLE, Judge, Study, compare
from dfcl_jax.study.evaluation import Evaluation, evaluate
from dfcl_jax.study.online import online, online_lifts
from dfcl_jax.study.policies import policy_of

__all__ = [
    "ORACLE",
    "Cell",
    "Cells",
    "Evaluation",
    "Judge",
    "Study",
    "Watcher",
    "compare",
    "evaluate",
    "online",
    "online_lifts",
    "policy_of",
]
