"""Decision-focused causal learning for marketing budgets, in JAX.

data -> scores -> models -> solvers -> losses -> train -> metrics -> report
"""

from dfcl_jax import constants, data, losses, metrics, models, scores, solvers, study, train
from dfcl_jax.errors import InputError
from dfcl_jax.methods import METHODS, Method
from dfcl_jax.types import Allocation, Outcomes, Scores, Trial

__all__ = [
    "METHODS",
    "Allocation",
    "InputError",
    "Method",
    "Outcomes",
    "Scores",
    "Trial",
    "constants",
    "data",
    "losses",
    "metrics",
    "models",
    "scores",
    "solvers",
    "study",
    "train",
]
