"""Training of outcome models on a prediction loss and on decision losses."""

from dfcl_jax.train.config import FitConfig
from dfcl_jax.train.loop import Fit, Record, Rows, State, Trainer, fit, make_trainer, predict

__all__ = ["Fit", "FitConfig", "Record", "Rows", "State", "Trainer", "fit", "make_trainer", "predict"]
