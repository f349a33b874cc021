"""Training of outcome models on a prediction loss and on decision losses."""

from dfcl_jax.train.config import FitConfig
from dfcl_jax.train.loop import Fit, Record, State, Trainer, fit, make_trainer, predict
from dfcl_jax.train.members import with_members
from dfcl_jax.train.step import Learner, Rows, Step, make_step

__all__ = [
    "Fit",
    "FitConfig",
    "Learner",
    "Record",
    "Rows",
    "State",
    "Step",
    "Trainer",
    "fit",
    "make_step",
    "make_trainer",
    "predict",
    "with_members",
]
