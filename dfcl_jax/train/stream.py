"""Training on more rows than memory holds: batches are read ahead while the step before runs."""

import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from dfcl_jax.data import StreamedTrial
from dfcl_jax.data.encode import NumericColumn
from dfcl_jax.models import Model, Params
from dfcl_jax.train.checkpoint import Checkpoints, Keeper
from dfcl_jax.train.config import FitConfig
from dfcl_jax.train.loop import Fit, Record, State, Validate, check_loss, make_trainer
from dfcl_jax.train.mesh import fetch, number_of_devices, place_everywhere, place_rows, spread
from dfcl_jax.train.step import Learner, Objective, Rows
from dfcl_jax.types import Trial

T = TypeVar("T")


class Standing(NamedTuple):
    """Where a fit stands within an epoch, or between two after 0 batches of the next."""

    state: State  # before the epoch
    shared: Any  # what the objective needed last
    learner: Learner
    total: Array  # [] sum of the batches' losses
    epoch: int  # its number, from 0
    batches: int  # of it
    records: np.ndarray  # [2, epochs] loss and value of those before; then NaN


def fit_stream(
    key: Array,
    params: Params,
    trial: StreamedTrial,
    shared: Any,
    x_valid: Array,
    judge: Any,
    *,
    model: Model,
    objective: Objective,
    validate: Validate,
    config: FitConfig,
    extra: Callable[[Trial], Any] = lambda trial: None,
    pace: float = 1.0,
    renew: Callable[[Params, Any], Any] | None = None,
    on_epoch: Callable[[int, Record], None] = lambda epoch, record: None,
    buffer: int = 2**19,
    checkpoints: Checkpoints | None = None,
    mesh: Mesh | None = None,
) -> Fit:
    """`fit` for one model and a trial that is read anew in every epoch.

    The steps are those of `fit`, on batches in the order of `StreamedTrial.batches`: the same rows in the same order
    lead to the same parameters. Memory holds `buffer` rows, a piece of a row group and four batches.

    Args:
        key: with the other arguments it determines the result.
        params: where to start; the start takes part in the choice of the best.
        trial: training rows.
        shared: what `objective` needs beside rows.
        x_valid: features of the validation rows, [n_valid, d], in memory.
        judge: what `validate` needs beside predictions.
        model: the model.
        objective: loss of a batch.
        validate: value on the validation rows, higher is better.
        config: epochs, batches, optimiser.
        extra: (rows of a batch) -> what `objective` finds in `Rows.extra`. Scores of a decision loss come from a
            two-stage model: `lambda rows: scores.centred(rows, predict(model, two_stage, rows.x))`. It is to take each
            row by itself: on a mesh it is given a device's part of the batch.
        pace: learning rate as a multiple of the configuration's.
        renew: (parameters, what `objective` needed) -> what it needs from now on; called before every epoch but the
            first. None where that stays as it is.
        on_epoch: called after each epoch with its number from 0 and its record.
        buffer: rows that batches are drawn from, in each process.
        checkpoints: where to keep how far the fit came, to the batch, and its result at the end; nowhere if None. A fit
            that goes on within an epoch reads what it has learned from again, which is faster than to learn from it.
        mesh: devices to spread batches over. On several processes `trial` is what this one reads, such as
            `trial.share(jax.process_index(), jax.process_count())`, and everything else is the same in all; epochs are
            as long as the process with the fewest rows can have them. None: one device.

    Returns:
        The best parameters, and loss and value of each epoch, [epochs].

    Raises:
        InputError: the loss is no longer finite; a row that cannot be (`open_trial`); the mesh does not divide batches;
            a checkpoint is damaged, or of another fit.
        OSError: a checkpoint cannot be written; the one before it is intact.
    """
    hosts = 1 if mesh is None else jax.process_count()
    rows = trial.rows if hosts == 1 else int(np.min(multihost_utils.process_allgather(np.array(trial.rows))))
    parts = config.shards or number_of_devices(mesh)
    trainer = make_trainer(model, objective, validate, config, rows * hosts // parts * parts, mesh=mesh)
    size = trainer.size // hosts

    def step(learner: Learner, total: Array, batch: Rows, shared: Any) -> tuple[Learner, Array]:
        learner, loss = trainer.step(learner, batch._replace(extra=extra(batch.trial)), shared)
        return learner, total + loss

    def close(state: State, key: Array, learner: Learner, total: Array, *judged: Any) -> tuple[State, Record]:
        return trainer.close(state, key, learner, total / trainer.steps, *judged)

    # What may yet be written must outlive the step that it goes into.
    step = jax.jit(spread(mesh, step), donate_argnums=0 if checkpoints is None else ())
    start, close = jax.jit(trainer.start), jax.jit(spread(mesh, close))
    dtype = jax.tree.leaves(params)[0].dtype
    begin = (key, params, x_valid, judge, jnp.asarray(pace, dtype))
    everywhere = jax.tree.map(jnp.asarray, (begin, shared, jnp.zeros((), dtype)))
    begin, shared, zero = place_everywhere(mesh, everywhere)
    _, _, x_valid, judge, _ = begin
    about = None if checkpoints is None else _about(trial, buffer, mesh)

    def between(state: State, shared: Any, epoch: int, records: np.ndarray) -> Standing:
        return Standing(state, shared, state.learner, zero, epoch, 0, records)

    none = np.full((2, config.epochs), np.nan, dtype)
    with Keeper(checkpoints, config, (*begin, about, shared), mesh, leading=0) as keeper:
        finished = keeper.finished(lambda: Fit(params, *none))
        if finished is not None:
            return finished
        at = keeper.restore(lambda: between(jax.eval_shape(start, *begin), shared, 0, none))
        if at is None:
            at = between(start(*begin), shared, 0, none)
        else:
            at = Standing(*place_everywhere(mesh, at[:4]), *at[4:])
        for epoch in range(at.epoch, config.epochs):
            if renew is not None and epoch > 0 and at.batches == 0:
                at = at._replace(shared=renew(at.state.learner.params, at.shared))
            key, drawn = jax.random.split(at.state.key)
            batches = islice(trial.batches(_seed(drawn), size, buffer=buffer), trainer.steps)
            # Here, not ahead in a thread, so that an interrupt need not wait for it.
            deque(islice(batches, at.batches), maxlen=0)
            # What the steps are given they write over; the state's best may be the same arrays.
            at = at._replace(learner=jax.tree.map(jnp.copy, at.learner))
            for batch in prefetched(place_rows(mesh, Rows(rows)) for rows in batches):
                before = at.total
                learner, total = step(at.learner, before, batch, at.shared)
                at = at._replace(learner=learner, total=total, batches=at.batches + 1)
                # One step may wait for another, but not a row of them with a batch each. What is written is done: a
                # write may not wait for a step that an interrupt keeps another process from taking.
                jax.block_until_ready(before if checkpoints is None else total)
                if at.batches < trainer.steps:
                    keeper.note(epoch * trainer.steps + at.batches, at)
            state, record = close(at.state, key, at.learner, at.total, x_valid, judge)
            record = jax.tree.map(np.asarray, record)
            check_loss(epoch, record.loss[None])
            on_epoch(epoch, record)
            records = at.records.copy()
            records[:, epoch] = record
            at = between(state, at.shared, epoch + 1, records)
            keeper.note(at.epoch * trainer.steps, at)
        result = Fit(fetch(mesh, at.state.best), *at.records)
        keeper.finish(result)
        return result


def _about(trial: StreamedTrial, buffer: int, mesh: Mesh | None) -> dict[str, Any]:
    """What tells the rows of one trial, and their order, from another's."""
    groups = np.array(zlib.crc32(str([group.rows for group in trial.parts.groups]).encode()) >> 1, np.int32)
    scaling = [(column.shift, column.scale) for column in trial.encoder.columns if isinstance(column, NumericColumn)]
    return {
        "columns": np.frombuffer(f"{trial.columns} {trial.encoder.names}".encode(), np.uint8),
        "scaling": np.array(scaling),
        "p": np.array(trial.p if trial.p is not None else []),
        "row_groups": groups if mesh is None else multihost_utils.process_allgather(groups),  # of each host
        "buffer": np.array(buffer),
    }


def prefetched(items: Iterator[T], ahead: int = 2) -> Iterator[T]:
    """The items, of which a thread makes up to `ahead` while the one before is used; its errors are raised here."""
    thread, end = ThreadPoolExecutor(max_workers=1), object()
    try:
        waiting = deque(thread.submit(next, items, end) for _ in range(ahead))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(next, items, end))
            yield item  # pyright: ignore
    finally:
        thread.shutdown(cancel_futures=True)


def _seed(key: Array) -> int:
    """A whole number from a key."""
    return int.from_bytes(np.asarray(jax.random.key_data(key)).tobytes(), "little")
