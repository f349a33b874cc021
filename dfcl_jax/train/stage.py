"""A stage of training: what is learned, how it is judged, and what a fit tells while it runs."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jax import Array

from dfcl_jax.models import Model, Params
from dfcl_jax.train.checkpoint import Checkpoints
from dfcl_jax.train.config import FitConfig
from dfcl_jax.train.step import Objective, Step, make_step
from dfcl_jax.types import Outcomes

# (predictions on the validation rows, what they are judged by) -> scalar, higher is better
Validate = Callable[[Outcomes, Any], Array]


class Stage(NamedTuple):
    """One stage of training, what `fit` runs."""

    model: Model
    objective: Objective  # loss of a batch
    validate: Validate  # value on the validation rows, higher is better
    config: FitConfig  # epochs, batches, optimiser
    make_step: Callable[..., Step] = make_step  # another kind of training brings its own, with the same arguments
    # (parameters, what the objective shares) -> what it shares from now on; called before every epoch but the first
    renew: Callable[[Params, Any], Any] | None = None


class Validation(NamedTuple):
    """The validation part, what a checkpoint is chosen by."""

    x: Array  # [n_valid, d] features
    judge: Any  # what `Stage.validate` needs beside predictions


class Record(NamedTuple):
    """One epoch."""

    loss: Array  # [] mean over the epoch's batches
    value: Array  # [] validation value after it


class StageLog(NamedTuple):
    """What one fit tells while it runs, and where it keeps how far it came."""

    on_epoch: Callable[[int, Record], None] = lambda epoch, record: None  # after each epoch, with its number from 0
    checkpoints: Checkpoints | None = None
