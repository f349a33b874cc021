"""One step of training: the gradient of a batch's loss, and what the optimiser makes of it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax
from jax import Array

from dfcl_jax.models import Model, Params
from dfcl_jax.types import Outcomes, Trial, take


class Rows(NamedTuple):
    """What a model is trained on; every leaf of `extra` has n rows."""

    trial: Trial
    extra: Any = None  # pytree of [n, ...], such as Scores


# (predictions, rows of the batch, shared by all batches) -> scalar
Objective = Callable[[Outcomes, Rows, Any], Array]


class Learner(NamedTuple):
    """What a step changes."""

    params: Params
    optimiser: optax.OptState
    pace: Array  # [] learning rate as a multiple of the configuration's


# (learner, rows of the batch, shared by all batches) -> (learner, loss of the batch before the step)
Step = Callable[[Learner, Rows, Any], tuple[Learner, Array]]


def make_step(model: Model, objective: Objective, optimiser: optax.GradientTransformation) -> Step:
    """A step on the objective's loss of a batch; of an ensemble, on the mean of its members' losses."""

    def loss_of(params: Params, batch: Rows, shared: Any) -> Array:
        if model.members is None:
            return objective(model.apply(params, batch.trial.x), batch, shared)
        members = model.members(params, batch.trial.x)
        return jax.vmap(lambda outcomes: objective(outcomes, batch, shared))(members).mean()

    def step(learner: Learner, batch: Rows, shared: Any) -> tuple[Learner, Array]:
        loss, gradient = jax.value_and_grad(loss_of)(learner.params, batch, shared)
        updates, memory = optimiser.update(gradient, learner.optimiser, learner.params)
        # All that the learning rate does to AdamW is to scale its updates.
        updates = jax.tree.map(lambda update: learner.pace * update, updates)
        return Learner(optax.apply_updates(learner.params, updates), memory, learner.pace), loss

    return step


def rows_at(rows: Rows, index: Array) -> Rows:
    """The rows `index`."""
    return Rows(take(rows.trial, index), jax.tree.map(lambda leaf: leaf[index], rows.extra))
