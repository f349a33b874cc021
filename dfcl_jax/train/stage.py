"""A stage of training: what is learned, how it is judged, and what is logged."""

from collections.abc import Callable
from typing import Any, NamedTuple

import optax
from jax import Array

from dfcl_jax.models import Model, Params
from dfcl_jax.train.checkpoint import Checkpoints
from dfcl_jax.train.config import FitConfig, make_optimiser
from dfcl_jax.train.step import Learner, Objective, OfNetwork, Step
from dfcl_jax.types import Outcomes

# (predictions of the validation rows, `Validation.judge`) -> scalar, higher is better
Validate = Callable[[Outcomes, Any], Array]


class Stage(NamedTuple):
    """One stage of training, which `fit` runs."""

    model: Model
    objective: Objective | OfNetwork  # loss of a batch
    validate: Validate  # value of the validation rows, higher is better
    config: FitConfig  # epochs, batches, optimiser
    # (model, objective, optimiser, mean=...) -> step, of another kind of training, such as bi-level training, where
    # `mean` is that of a tree over the devices, each of which has equally many rows of a batch; None: `step.make_step`
    # with the options of `config`
    make_step: Callable[..., Step] | None = None
    # (configuration, batches of an epoch) -> from gradients to updates
    make_optimiser: Callable[[FitConfig, int], optax.GradientTransformation] = make_optimiser
    # Refuses training that goes wrong, after each epoch: (learner, leaves [s, ...] of several seeds).
    check: Callable[[Learner], None] = lambda learner: None
    # (parameters, shared) -> what the objective is given as `shared` from now on; called between two epochs
    renew: Callable[[Params, Any], Any] | None = None


class Validation(NamedTuple):
    """The validation part, which the best parameters are chosen by."""

    x: Array  # [n_valid, d] features
    judge: Any  # what `Stage.validate` needs besides predictions


class Record(NamedTuple):
    """One epoch."""

    loss: Array  # [] mean over the epoch's batches
    value: Array  # [] validation value after the epoch


class StageLog(NamedTuple):
    """What a fit calls after each epoch, and where it keeps checkpoints."""

    on_epoch: Callable[[int, Record], None] = lambda epoch, record: None  # (number of the epoch from 0, record)
    checkpoints: Checkpoints | None = None
