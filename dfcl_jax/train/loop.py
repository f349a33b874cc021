"""Training: an epoch is one compiled scan over minibatches, for all seeds at once."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.errors import refuse
from dfcl_jax.losses import in_chunks
from dfcl_jax.models import Model, Params
from dfcl_jax.train.config import FitConfig, make_optimiser
from dfcl_jax.train.shuffle import shuffle
from dfcl_jax.train.step import Learner, Objective, Rows, default_chunk, make_step, rows_at
from dfcl_jax.types import Outcomes

# (predictions on the validation rows, what they are judged by) -> scalar, higher is better
Validate = Callable[[Outcomes, Any], Array]


class State(NamedTuple):
    """Where a fit stands, and the best parameters it has passed."""

    key: Array
    learner: Learner
    best: Params
    best_value: Array  # [] validation value of `best`


class Record(NamedTuple):
    """One epoch."""

    loss: Array  # [] mean over the epoch's batches
    value: Array  # [] validation value after it


class Fit(NamedTuple):
    """The end of a fit of s seeds."""

    # Of the epoch with the best validation value, the start included; of the last where none has one. Leaves [s, ...]
    params: Params
    loss: np.ndarray  # [epochs, s]
    value: np.ndarray  # [epochs, s]


class Trainer(NamedTuple):
    """Two pure functions of one seed, to be jitted and vmapped."""

    start: Callable[[Array, Params, Any, Any, Array], State]  # (key, params, x_valid, judge, pace) -> State
    epoch: Callable[[State, Rows, Any, Any, Any], tuple[State, Record]]  # (state, rows, shared, x_valid, judge)


def predict(model: Model, params: Params, x: Array, *, chunk: int | None = None) -> Outcomes:
    """The model's predictions on x [n, d]; hidden layers are held for `chunk` rows at a time, however large n is."""
    return in_chunks(model.apply, chunk or min(default_chunk(x.shape[0]), 65_536))(params, x)


def make_trainer(model: Model, objective: Objective, validate: Validate, config: FitConfig, n: int) -> Trainer:
    """The start and the epoch of a fit on n rows.

    An epoch shuffles the rows and passes over them in the fewest batches of at most `batch_size` and of equal size; the
    rows that this leaves over, fewer than there are batches, wait for another epoch. Batches are gathered one at a
    time: beside the rows, an epoch holds one batch and the layers of a chunk.
    """
    steps = -(-n // config.batch_size)
    size = n // steps
    optimiser = make_optimiser(config, steps)
    step = make_step(model, objective, optimiser, chunk=config.chunk, through=config.through, compute=config.compute)

    def start(key: Array, params: Params, x_valid: Array, judge: Any, pace: Array) -> State:
        value = _or_least(validate(predict(model, params, x_valid), judge))
        return State(key, Learner(params, optimiser.init(params), pace), params, value)

    def epoch(state: State, rows: Rows, shared: Any, x_valid: Array, judge: Any) -> tuple[State, Record]:
        key, drawn = jax.random.split(state.key)
        order = shuffle(drawn, n)

        def batch(learner: Learner, number: Array) -> tuple[Learner, Array]:
            index = order(number * size + jnp.arange(size))
            return step(learner, rows_at(rows, index), shared)

        learner, losses = jax.lax.scan(batch, state.learner, jnp.arange(steps))
        value = _or_least(validate(predict(model, learner.params, x_valid), judge))
        # Until some epoch has a value, the latest stands in for the best.
        better = (value > state.best_value) | jnp.isneginf(state.best_value)
        best = jax.tree.map(partial(jnp.where, better), learner.params, state.best)
        best_value = jnp.where(better, value, state.best_value)
        return State(key, learner, best, best_value), Record(losses.mean(), value)

    return Trainer(start, epoch)


def _or_least(value: Array) -> Array:
    """A value that is not a number loses to any that is."""
    return jnp.where(jnp.isnan(value), -jnp.inf, value)


def fit(
    keys: Array,
    params: Params,
    rows: Rows,
    shared: Any,
    x_valid: Array,
    judge: Any,
    *,
    model: Model,
    objective: Objective,
    validate: Validate,
    config: FitConfig,
    paces: ArrayLike = 1.0,
    renew: Callable[[Params, Any], Any] | None = None,
    on_epoch: Callable[[int, Record], None] = lambda epoch, record: None,
) -> Fit:
    """Train s seeds side by side and keep, for each, the parameters of its best validation value.

    Every array argument has a leading axis of s seeds. Each epoch is one compiled call; between epochs Python only
    reports, so a fit can be interrupted there.

    Args:
        keys: one key for each seed, [s]; with the other arguments they determine the result.
        params: where to start; the start takes part in the choice of the best.
        rows: training rows, leaves [s, n, ...].
        shared: what `objective` needs beside rows (constants of a loss), leaves [s, ...].
        x_valid: features of the validation rows, [s, n_valid, d].
        judge: what `validate` needs beside predictions, leaves [s, ...].
        model: the model.
        objective: loss of a batch.
        validate: value on the validation rows, higher is better.
        config: epochs, batches, optimiser.
        paces: learning rates as multiples of the configuration's, [s] or one for all.
        renew: (parameters, what `objective` needed) -> what it needs from now on, leaves [s, ...]; called before every
            epoch but the first. None where that stays as it is.
        on_epoch: called after each epoch with its number from 0 and its record, leaves [s].

    Raises:
        InputError: the loss is no longer finite.
    """
    n = rows.trial.x.shape[1]
    trainer = make_trainer(model, objective, validate, config, n)
    dtype = jax.tree.leaves(params)[0].dtype
    paces = jnp.broadcast_to(jnp.asarray(paces, dtype), (len(keys),))
    state = jax.jit(jax.vmap(trainer.start))(keys, params, x_valid, judge, paces)
    epoch = jax.jit(jax.vmap(trainer.epoch), donate_argnums=0)
    records = []
    for number in range(config.epochs):
        if renew is not None and number > 0:
            shared = renew(state.learner.params, shared)
        state, record = epoch(state, rows, shared, x_valid, judge)
        record = jax.tree.map(np.asarray, record)
        if not np.isfinite(record.loss).all():
            refuse(f"training loss in epoch {number + 1}", found=record.loss, expected="finite: lower learning_rate")
        records.append(record)
        on_epoch(number, record)
    return Fit(
        params=state.best,
        loss=np.array([record.loss for record in records]),
        value=np.array([record.value for record in records]),
    )
