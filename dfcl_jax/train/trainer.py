"""The parts of a fit that are compiled: its start, an epoch as one scan over batches, and the end of an epoch."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from dfcl_jax.errors import refuse
from dfcl_jax.losses import in_chunks
from dfcl_jax.models import Model, Params
from dfcl_jax.train.mesh import AXIS, mean_over, number_of_devices, predict_on_mesh, step_on_mesh
from dfcl_jax.train.shuffle import shuffle
from dfcl_jax.train.stage import Record, Stage, Validation
from dfcl_jax.train.step import Learner, Rows, Step, averaged, default_chunk, make_step, rows_at
from dfcl_jax.types import Outcomes


class State(NamedTuple):
    """The state of a fit between two epochs."""

    key: Array
    learner: Learner
    best: Params  # parameters with the best validation value so far
    best_value: Array  # [] validation value of `best`


class Trainer(NamedTuple):
    """Pure functions of one seed, not yet compiled; all but `start` run within `mesh.spread`."""

    start: Callable[[Array, Params, Validation, Array], State]  # (key, params, valid, pace) -> State
    epoch: Callable[[State, Rows, Any, Validation], tuple[State, Record]]  # (state, rows, shared, valid)
    step: Step
    # (state before the epoch; key, learner and mean loss after it; valid) -> (state after it, record)
    close: Callable[[State, Array, Learner, Array, Validation], tuple[State, Record]]
    steps: int  # batches of an epoch
    size: int  # rows of a batch


def predict(model: Model, params: Params, x: Array, *, chunk: int | None = None) -> Outcomes:
    """Predict for x [n, d]; layers are computed for `chunk` rows at a time, so their memory does not grow with n."""
    return in_chunks(model.apply, chunk or min(default_chunk(x.shape[0]), 65_536))(params, x)


def make_trainer(stage: Stage, n: int, *, mesh: Mesh | None = None) -> Trainer:
    """Make the start and the epoch of a fit on n rows, of which each device of a mesh has equally many.

    An epoch shuffles the rows and cuts them into as few batches as possible, of equal size and at most `batch_size`
    rows. Fewer rows than there are batches may be left over; they are skipped in this epoch. Batches are gathered one
    at a time: an epoch holds one batch and the layers of a chunk besides the rows.
    """
    model, config = stage.model, stage.config
    devices = number_of_devices(mesh)
    shards = config.shards or devices
    _check_shards(shards, devices, config.batch_size, n)
    each = n // shards
    steps = -(-n // config.batch_size)
    size = each // steps
    optimiser = stage.make_optimiser(config, steps)
    build = partial(make_step, chunk=config.chunk, through=config.through, compute=config.compute)
    predictions = partial(predict, model)
    if mesh is not None:
        build, predictions = partial(step_on_mesh, build), partial(predict_on_mesh, predictions)
    if stage.make_step is not None:
        build = partial(stage.make_step, mean=mean_over(mesh))
    step = build(model, stage.objective, optimiser)
    if config.average is not None:
        step = averaged(step, config.average)

    def start(key: Array, params: Params, valid: Validation, pace: Array) -> State:
        value = _or_least(stage.validate(predict(model, params, valid.x), valid.judge))
        average = None if config.average is None else params
        return State(key, Learner(params, optimiser.init(params), pace, average), params, value)

    def orders(drawn: Array) -> list[Callable[[Array], Array]]:
        """The order of rows in each shard of this device."""
        if shards == 1:
            return [shuffle(drawn, n)]
        held = shards // devices
        first = 0 if mesh is None else jax.lax.axis_index(AXIS) * held
        return [shuffle(jax.random.fold_in(drawn, first + shard), each) for shard in range(held)]

    def epoch(state: State, rows: Rows, shared: Any, valid: Validation) -> tuple[State, Record]:
        key, drawn = jax.random.split(state.key)
        shuffled = orders(drawn)

        def batch(learner: Learner, number: Array) -> tuple[Learner, Array]:
            position = number * size + jnp.arange(size)
            index = jnp.concatenate([order(position) + shard * each for shard, order in enumerate(shuffled)])
            return step(learner, rows_at(rows, index), shared)

        learner, losses = jax.lax.scan(batch, state.learner, jnp.arange(steps))
        return close(state, key, learner, losses.mean(), valid)

    def close(state: State, key: Array, learner: Learner, loss: Array, valid: Validation) -> tuple[State, Record]:
        value = _or_least(stage.validate(predictions(learner.judged, valid.x), valid.judge))
        # As long as no epoch has a value, the latest parameters count as the best.
        better = (value > state.best_value) | jnp.isneginf(state.best_value)
        best = jax.tree.map(partial(jnp.where, better), learner.judged, state.best)
        best_value = jnp.where(better, value, state.best_value)
        return State(key, learner, best, best_value), Record(loss, value)

    return Trainer(start, epoch, step, close, steps, size * shards)


def _check_shards(shards: int, devices: int, batch_size: int, n: int) -> None:
    if shards % devices:
        refuse("mesh", found=f"{devices} devices", expected=f"a number that divides the {shards} shards")
    if batch_size % shards:
        what = "mesh" if shards == devices else "shards"
        refuse(what, found=f"{shards} parts of the rows", expected=f"a number that divides batch_size, {batch_size}")
    if n % shards:
        refuse("rows", found=n, expected=f"a multiple of {shards}, so that all parts of them are of one size")


def _or_least(value: Array) -> Array:
    """Replace NaN by -inf, which is below every value."""
    return jnp.where(jnp.isnan(value), -jnp.inf, value)
