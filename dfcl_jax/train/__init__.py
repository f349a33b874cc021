"""Training of outcome models on a prediction loss and on decision losses."""

from dfcl_jax.train.checkpoint import Checkpoints
from dfcl_jax.train.config import FitConfig
from dfcl_jax.train.loop import Fit, Record, State, Trainer, fit, make_trainer, predict
from dfcl_jax.train.members import with_members
from dfcl_jax.train.mesh import data_mesh
from dfcl_jax.train.record import Epoch, RecordFile, TensorBoard, watch
from dfcl_jax.train.shuffle import shuffle
from dfcl_jax.train.step import Learner, MeanOverRows, Rows, Step, make_step
from dfcl_jax.train.stream import fit_stream

__all__ = [
    "Checkpoints",
    "Epoch",
    "Fit",
    "FitConfig",
    "Learner",
    "MeanOverRows",
    "Record",
    "RecordFile",
    "Rows",
    "State",
    "Step",
    "TensorBoard",
    "Trainer",
    "data_mesh",
    "fit",
    "fit_stream",
    "make_step",
    "make_trainer",
    "predict",
    "shuffle",
    "watch",
    "with_members",
]
