"""Decision-focused causal learning for marketing budgets, in JAX.

data -> scores -> models -> solvers -> losses -> metrics -> train -> methods -> study -> report -> runs
"""

from dfcl_jax import data, losses, methods, metrics, models, scores, solvers, study, train
from dfcl_jax.data import Exam, Task
from dfcl_jax.errors import InputError
from dfcl_jax.methods import METHODS, Decision, Method, Policy, TwoStage, load_policy, save_policy
from dfcl_jax.types import Allocation, Outcomes, Scores, Source, Trial

__all__ = [
    "METHODS",
    "Allocation",
    "Decision",
    "Exam",
    "InputError",
    "Method",
    "Outcomes",
    "Policy",
    "Scores",
    "Source",
    "Task",
    "Trial",
    "TwoStage",
    "data",
    "load_policy",
    "losses",
    "methods",
    "metrics",
    "models",
    "save_policy",
    "scores",
    "solvers",
    "study",
    "train",
]
