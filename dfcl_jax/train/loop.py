"""Training: an epoch is one compiled scan over minibatches, for all seeds at once."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from jax.typing import ArrayLike

from dfcl_jax.errors import refuse
from dfcl_jax.losses import in_chunks
from dfcl_jax.models import Model, Params
from dfcl_jax.train.checkpoint import Checkpoints, Keeper
from dfcl_jax.train.config import FitConfig, make_optimiser
from dfcl_jax.train.mesh import (
    AXIS,
    fetch,
    number_of_devices,
    place_everywhere,
    place_rows,
    predict_on_mesh,
    spread,
    step_on_mesh,
)
from dfcl_jax.train.shuffle import shuffle
from dfcl_jax.train.step import Learner, Objective, Rows, Step, default_chunk, make_step, rows_at
from dfcl_jax.types import Outcomes

_NO_CURVES = (np.empty(0), np.empty(0))

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


class Standing(NamedTuple):
    """Where a fit of s seeds stands after k epochs."""

    state: State  # leaves [s, ...]
    shared: Any  # what the objective needed in the last epoch, leaves [s, ...]
    loss: np.ndarray  # [k, s]
    value: np.ndarray  # [k, s]


class Trainer(NamedTuple):
    """Pure functions of one seed, to be jitted and vmapped; all but `start` run within `mesh.spread`."""

    start: Callable[[Array, Params, Any, Any, Array], State]  # (key, params, x_valid, judge, pace) -> State
    epoch: Callable[[State, Rows, Any, Any, Any], tuple[State, Record]]  # (state, rows, shared, x_valid, judge)
    step: Step
    # (state before an epoch, key, learner and mean loss after it, x_valid, judge): what an epoch ends with
    close: Callable[[State, Array, Learner, Array, Any, Any], tuple[State, Record]]
    steps: int  # batches of an epoch
    size: int  # rows of a batch


# (trainer of one seed, whether a state may be donated) -> trainer of all seeds, compiled
Compiled = Callable[[Trainer, bool], Trainer]


def all_seeds(trainer: Trainer, donate: bool) -> Trainer:
    """All seeds in one program: at once, or on a CPU one after another, for which one's rows are copied."""
    start, epoch = _of_all_seeds(trainer.start), _of_all_seeds(trainer.epoch)
    return trainer._replace(start=jax.jit(start), epoch=jax.jit(epoch, donate_argnums=0 if donate else ()))


def _of_all_seeds(function: Callable[..., Any]) -> Callable[..., Any]:
    if jax.default_backend() != "cpu":
        return jax.vmap(function)
    # One seed's products fill a CPU, and several at once leave its cache.
    return lambda *arguments: jax.lax.map(lambda one: function(*one), arguments)


def predict(model: Model, params: Params, x: Array, *, chunk: int | None = None) -> Outcomes:
    """The model's predictions on x [n, d]; hidden layers are held for `chunk` rows at a time, however large n is."""
    return in_chunks(model.apply, chunk or min(default_chunk(x.shape[0]), 65_536))(params, x)


def make_trainer(
    model: Model,
    objective: Objective,
    validate: Validate,
    config: FitConfig,
    n: int,
    *,
    mesh: Mesh | None = None,
) -> Trainer:
    """The start and the epoch of a fit on n rows, of which the devices of a mesh have equally many each.

    An epoch shuffles the rows and passes over them in the fewest batches of at most `batch_size` and of equal size; the
    rows that this leaves over, fewer than there are batches, wait for another epoch. Batches are gathered one at a
    time: beside the rows, an epoch holds one batch and the layers of a chunk.
    """
    devices = number_of_devices(mesh)
    shards = config.shards or devices
    _check_shards(shards, devices, config.batch_size, n)
    each = n // shards
    steps = -(-n // config.batch_size)
    size = each // steps
    optimiser = make_optimiser(config, steps)
    build, predictions = make_step, partial(predict, model)
    if mesh is not None:
        build, predictions = step_on_mesh, partial(predict_on_mesh, predictions)
    step = build(model, objective, optimiser, chunk=config.chunk, through=config.through, compute=config.compute)

    def start(key: Array, params: Params, x_valid: Array, judge: Any, pace: Array) -> State:
        value = _or_least(validate(predict(model, params, x_valid), judge))
        return State(key, Learner(params, optimiser.init(params), pace), params, value)

    def orders(drawn: Array) -> list[Callable[[Array], Array]]:
        """The order of each shard that the device has."""
        if shards == 1:
            return [shuffle(drawn, n)]
        held = shards // devices
        first = 0 if mesh is None else jax.lax.axis_index(AXIS) * held
        return [shuffle(jax.random.fold_in(drawn, first + shard), each) for shard in range(held)]

    def epoch(state: State, rows: Rows, shared: Any, x_valid: Array, judge: Any) -> tuple[State, Record]:
        key, drawn = jax.random.split(state.key)
        shuffled = orders(drawn)

        def batch(learner: Learner, number: Array) -> tuple[Learner, Array]:
            position = number * size + jnp.arange(size)
            index = jnp.concatenate([order(position) + shard * each for shard, order in enumerate(shuffled)])
            return step(learner, rows_at(rows, index), shared)

        learner, losses = jax.lax.scan(batch, state.learner, jnp.arange(steps))
        return close(state, key, learner, losses.mean(), x_valid, judge)

    def close(
        state: State, key: Array, learner: Learner, loss: Array, x_valid: Array, judge: Any
    ) -> tuple[State, Record]:
        value = _or_least(validate(predictions(learner.params, x_valid), judge))
        # Until some epoch has a value, the latest stands in for the best.
        better = (value > state.best_value) | jnp.isneginf(state.best_value)
        best = jax.tree.map(partial(jnp.where, better), learner.params, state.best)
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
    compiled: Compiled = all_seeds,
    on_epoch: Callable[[int, Record], None] = lambda epoch, record: None,
    checkpoints: Checkpoints | None = None,
    mesh: Mesh | None = None,
) -> Fit:
    """Train s seeds in one program and keep, for each, the parameters of its best validation value.

    Every array argument has a leading axis of s seeds. Each epoch is one compiled call; between epochs Python only
    reports, so a fit can be interrupted there. With `checkpoints` it goes on where an earlier process left it, whatever
    ended that, and comes to the same result, bit for bit on a CPU; an interrupt (SIGINT) loses the epoch in hand alone.

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
        compiled: how seeds are run in one program; by `train.with_members` each has k members, and its leaves are
            [s, k, ...].
        on_epoch: called after each epoch that is run with its number from 0 and its record, leaves [s].
        checkpoints: where to keep how far the fit came, and its result at the end; nowhere if None.
        mesh: devices to spread the rows over (`mesh.data_mesh`), to the result that one device has with as many
            `shards`, but for the order of sums. On several processes `rows` are those of this process, equally many of
            each, and everything else is the same in all. None: one device.

    Raises:
        InputError: the loss of a seed is no longer finite, nor is that of another of its members; a checkpoint is
            damaged, or of another fit; the mesh does not divide batches and rows.
        OSError: a checkpoint cannot be written; the one before it is intact.
    """
    rows = place_rows(mesh, rows, leading=1)
    keys, params, shared, x_valid, judge = place_everywhere(mesh, (keys, params, shared, x_valid, judge))
    n = rows.trial.x.shape[1]
    trainer = make_trainer(model, objective, validate, config, n, mesh=mesh)
    # A state that may yet be written must outlive the epoch that it goes into.
    trainer = compiled(trainer._replace(epoch=spread(mesh, trainer.epoch)), checkpoints is None)
    rates = jnp.asarray(paces, jax.tree.leaves(params)[0].dtype)
    rates = place_everywhere(mesh, rates if rates.ndim else jnp.broadcast_to(rates, (len(keys),)))
    begin = (keys, params, x_valid, judge, rates)
    with Keeper(checkpoints, config, (*begin, rows, shared), mesh) as keeper:
        finished = keeper.finished(lambda: Fit(params, *_NO_CURVES))
        if finished is not None:
            return finished
        kept = keeper.restore(lambda: Standing(jax.eval_shape(trainer.start, *begin), shared, *_NO_CURVES))
        if kept is None:
            state, records = trainer.start(*begin), []
        else:
            state, shared = place_everywhere(mesh, kept[:2])
            records = [Record(*both) for both in zip(kept.loss, kept.value, strict=True)]
        for number in range(len(records), config.epochs):
            if renew is not None and number > 0:
                shared = renew(state.learner.params, shared)
            state, record = trainer.epoch(state, rows, shared, x_valid, judge)
            record = jax.tree.map(np.asarray, record)
            check_loss(number, record.loss.reshape(len(keys), -1))
            on_epoch(number, record)
            records.append(record)
            keeper.note(len(records), Standing(state, shared, *_curves(records)))
        result = Fit(fetch(mesh, state.best), *_curves(records))
        keeper.finish(result)
        return result


def check_loss(epoch: int, loss: np.ndarray) -> None:
    """Refuse a loss that is no longer finite; of several members, [..., k], that of all."""
    if not np.isfinite(loss).any(axis=-1).all():
        refuse(f"training loss in epoch {epoch + 1}", found=np.squeeze(loss), expected="finite: lower learning_rate")


def _curves(records: Sequence[Record]) -> tuple[np.ndarray, np.ndarray]:
    """Losses and values, [epochs, s] each."""
    return np.array([record.loss for record in records]), np.array([record.value for record in records])
