"""Training of outcome models on a prediction loss and on decision losses.

One step from the outside in: `loop.fit` runs epochs, `source` brings them rows from memory or files, `seeds` compiles
them for one seed or several, `trainer` cuts an epoch into batches, and `step` takes the gradient and updates.
"""

from dfcl_jax.train.bilevel import (
    Hyper,
    Hypergradient,
    Levels,
    Upper,
    check_hypergradients,
    hypergradient,
    make_bilevel_optimiser,
    make_bilevel_step,
)
from dfcl_jax.train.checkpoint import Checkpoints
from dfcl_jax.train.config import FitConfig
from dfcl_jax.train.loop import Fit, fit
from dfcl_jax.train.members import available_memory, with_members
from dfcl_jax.train.mesh import data_mesh, mesh_of
from dfcl_jax.train.record import Epoch, RecordFile, TensorBoard, watch
from dfcl_jax.train.seeds import ALL_SEEDS, ONE_SEED, Seeds
from dfcl_jax.train.shuffle import shuffle
from dfcl_jax.train.source import Streamed
from dfcl_jax.train.stage import Record, Stage, StageLog, Validate, Validation
from dfcl_jax.train.step import Learner, MeanOverRows, Objective, OfNetwork, Rows, Step, make_step
from dfcl_jax.train.trainer import State, Trainer, make_trainer, predict

__all__ = [
    "ALL_SEEDS",
    "ONE_SEED",
    "Checkpoints",
    "Epoch",
    "Fit",
    "FitConfig",
    "Hyper",
    "Hypergradient",
    "Learner",
    "Levels",
    "MeanOverRows",
    "Objective",
    "OfNetwork",
    "Record",
    "RecordFile",
    "Rows",
    "Seeds",
    "Stage",
    "StageLog",
    "State",
    "Step",
    "Streamed",
    "TensorBoard",
    "Trainer",
    "Upper",
    "Validate",
    "Validation",
    "available_memory",
    "check_hypergradients",
    "data_mesh",
    "fit",
    "hypergradient",
    "make_bilevel_optimiser",
    "make_bilevel_step",
    "make_step",
    "make_trainer",
    "mesh_of",
    "predict",
    "shuffle",
    "watch",
    "with_members",
]
