"""How the rows of an epoch reach the training step: from memory in one compiled scan, or from files batch by batch."""

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
from dfcl_jax.errors import refuse
from dfcl_jax.train.mesh import number_of_devices, place_everywhere, place_rows, spread
from dfcl_jax.train.seeds import Seeds
from dfcl_jax.train.stage import Record, Stage, Validation
from dfcl_jax.train.step import Learner, Rows
from dfcl_jax.train.trainer import State, make_trainer
from dfcl_jax.types import Trial

T = TypeVar("T")


class Streamed(NamedTuple):
    """Training rows that are read again in every epoch; for one seed.

    Batches come in the order of `StreamedTrial.batches`: the same rows in the same order lead to the same parameters as
    in memory. Memory holds `buffer` rows, a piece of a row group and four batches. With several processes `trial` is
    what this process reads, such as `trial.share(jax.process_index(), jax.process_count())`, and epochs are as long as
    the process with the fewest rows allows.
    """

    trial: StreamedTrial
    # (batch, context) -> what the objective is given. It is compiled with the step and must treat every row by itself,
    # because on a mesh it is given a device's part of the batch.
    prepare: Callable[[Trial, Any], Rows]
    context: Any = None  # arrays that `prepare` needs: parameters of another model, statistics of a sample
    buffer: int = 2**19  # rows that batches are drawn from, in each process


class OpenEpoch(NamedTuple):
    """How far an epoch has come if every batch is a compiled call of its own."""

    learner: Learner
    total: Array  # [] sum of the losses of its batches


class Progress(NamedTuple):
    """How far a fit has come: after some epochs, or within an epoch after some of its batches."""

    state: State  # before the current epoch
    shared: Any  # what the objective was given last
    open_epoch: OpenEpoch | None  # None if an epoch is one compiled call
    epoch: int  # epochs that are done
    calls: int  # compiled calls of the current epoch that are done; 0 between two epochs
    loss: np.ndarray  # [epoch, ...] of the epochs that are done; before the first [1, ...], NaN
    value: np.ndarray  # the same of the validation value

    def close_epoch(self, state: State, record: Record, open_epoch: OpenEpoch | None) -> "Progress":
        """Return the progress after the end of the current epoch."""
        loss = np.append(self.loss[: self.epoch], np.asarray(record.loss)[None], axis=0)
        value = np.append(self.value[: self.epoch], np.asarray(record.value)[None], axis=0)
        return Progress(state, self.shared, open_epoch, self.epoch + 1, 0, loss, value)


class Runner(NamedTuple):
    """What runs the epochs of a fit on one kind of source."""

    start: Callable[..., State]  # (key, params, validation, pace) -> State
    open_epoch: Callable[[State], OpenEpoch | None]
    # (progress, validation) -> progress after each compiled call of the epoch; the last call closes the epoch
    run_epoch: Callable[[Progress, Validation], Iterator[Progress]]
    calls: int  # compiled calls of an epoch
    identity: Any  # arrays that tell these rows from others


def make_runner(
    source: Rows | Streamed, stage: Stage, *, seeds: Seeds, mesh: Mesh | None, donate: bool, dtype: Any
) -> Runner:
    """Compile the epochs of a fit.

    Args:
        source: training rows in memory, leaves [n, ...] for one seed and [s, n, ...] for several, or streamed.
        stage: what is trained.
        seeds: how many seeds one program trains.
        mesh: devices that the rows are spread over.
        donate: whether a call may overwrite the state that it is given.
        dtype: of the parameters.

    Raises:
        InputError: several seeds of a streamed source; what `make_trainer` refuses.
    """
    if isinstance(source, Rows):
        return _from_memory(source, stage, seeds, mesh, donate)
    if seeds.axes:
        refuse("seeds of a streamed source", found="several in one program", expected="one: `ONE_SEED`")
    return _from_files(source, stage, mesh, donate, dtype)


def _from_memory(rows: Rows, stage: Stage, seeds: Seeds, mesh: Mesh | None, donate: bool) -> Runner:
    rows = place_rows(mesh, rows, leading=seeds.axes)
    trainer = make_trainer(stage, rows.trial.rows, mesh=mesh)
    trainer = seeds.compiled(trainer._replace(epoch=spread(mesh, trainer.epoch)), donate)

    def run_epoch(now: Progress, valid: Validation) -> Iterator[Progress]:
        state, record = trainer.epoch(now.state, rows, now.shared, valid)
        yield now.close_epoch(state, record, None)

    return Runner(trainer.start, lambda state: None, run_epoch, 1, rows)


def _from_files(source: Streamed, stage: Stage, mesh: Mesh | None, donate: bool, dtype: Any) -> Runner:
    trial, buffer = source.trial, source.buffer
    hosts = 1 if mesh is None else jax.process_count()
    rows = trial.rows if hosts == 1 else int(np.min(multihost_utils.process_allgather(np.array(trial.rows))))
    shards = stage.config.shards or number_of_devices(mesh)
    trainer = make_trainer(stage, rows * hosts // shards * shards, mesh=mesh)
    size = trainer.size // hosts

    def step(learner: Learner, total: Array, batch: Rows, shared: Any, context: Any) -> OpenEpoch:
        learner, loss = trainer.step(learner, source.prepare(batch.trial, context), shared)
        return OpenEpoch(learner, total + loss)

    def close(state: State, key: Array, part: OpenEpoch, valid: Validation) -> tuple[State, Record]:
        return trainer.close(state, key, part.learner, part.total / trainer.steps, valid)

    step = jax.jit(spread(mesh, step), donate_argnums=0 if donate else ())
    start, close = jax.jit(trainer.start), jax.jit(spread(mesh, close))
    context = place_everywhere(mesh, jax.tree.map(jnp.asarray, source.context))
    zero = place_everywhere(mesh, jnp.zeros((), dtype))

    def open_epoch(state: State) -> OpenEpoch:
        return OpenEpoch(state.learner, zero)

    def run_epoch(now: Progress, valid: Validation) -> Iterator[Progress]:
        key, drawn = jax.random.split(now.state.key)
        batches = islice(trial.batches(_integer(drawn), size, buffer=buffer), trainer.steps)
        # Skip batches here and not in the thread that reads ahead, so that an interrupt need not wait for it.
        deque(islice(batches, now.calls), maxlen=0)
        # A step overwrites the learner that it is given, whose arrays may be those of the best parameters.
        part = jax.tree.map(jnp.copy, open_epoch(now.state) if now.open_epoch is None else now.open_epoch)
        for number, batch in enumerate(prefetched(place_rows(mesh, Rows(rows)) for rows in batches), now.calls + 1):
            before = part.total
            part = step(part.learner, before, batch, now.shared, context)
            # At most one step waits for another, because each that waits holds a batch. Where checkpoints are written
            # no step waits: another process may be interrupted and never take it.
            jax.block_until_ready(before if donate else part.total)
            if number < trainer.steps:
                yield now._replace(open_epoch=part, calls=number)
        state, record = close(now.state, key, part, valid)
        yield now.close_epoch(state, record, open_epoch(state))

    return Runner(start, open_epoch, run_epoch, trainer.steps, _identity(source, mesh))


def _identity(source: Streamed, mesh: Mesh | None) -> dict[str, Any]:
    """Arrays that tell the rows of a trial and their order from others."""
    trial = source.trial
    groups = np.array(zlib.crc32(str([group.rows for group in trial.parts.groups]).encode()) >> 1, np.int32)
    scaling = [(column.shift, column.scale) for column in trial.encoder.columns if isinstance(column, NumericColumn)]
    return {
        "columns": np.frombuffer(f"{trial.columns} {trial.encoder.names}".encode(), np.uint8),
        "scaling": np.array(scaling),
        "p": np.array(trial.p if trial.p is not None else []),
        "row_groups": groups if mesh is None else multihost_utils.process_allgather(groups),  # of each host
        "rows": np.array(trial.rows),
        "buffer": np.array(source.buffer),
    }


def prefetched(items: Iterator[T], ahead: int = 2) -> Iterator[T]:
    """Yield the items while a thread makes up to `ahead` of the next ones; its errors are raised here."""
    thread, end = ThreadPoolExecutor(max_workers=1), object()
    try:
        waiting = deque(thread.submit(next, items, end) for _ in range(ahead))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(next, items, end))
            yield item  # pyright: ignore
    finally:
        thread.shutdown(cancel_futures=True)


def _integer(key: Array) -> int:
    """The bits of a key as an integer."""
    return int.from_bytes(np.asarray(jax.random.key_data(key)).tobytes(), "little")
