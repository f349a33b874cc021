"""How the rows of an epoch reach the step: from memory in one compiled scan, or from files batch by batch."""

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
from dfcl_jax.models import Params
from dfcl_jax.train.mesh import number_of_devices, place_everywhere, place_rows, spread
from dfcl_jax.train.seeds import Seeds
from dfcl_jax.train.stage import Record, Stage, Validation
from dfcl_jax.train.step import Learner, Rows
from dfcl_jax.train.trainer import State, make_trainer
from dfcl_jax.types import Trial

T = TypeVar("T")


class Streamed(NamedTuple):
    """Training rows that are read anew in every epoch; one seed."""

    trial: StreamedTrial
    prepare: Callable[[Trial, Any], Rows]  # (batch, context) -> what the objective is given; compiled with the step
    context: Any = None  # arrays that `prepare` needs: parameters of another model, statistics of a sample
    buffer: int = 2**19  # rows that a batch is drawn from


class Part(NamedTuple):
    """How far an epoch has come whose batches are separate programs."""

    learner: Learner
    total: Array  # [] sum of the batches' losses


class Standing(NamedTuple):
    """Where a fit stands: after some epochs, or within one after some of its batches."""

    state: State  # before the epoch in hand
    shared: Any  # what the objective was given last
    part: Part | None  # of the epoch in hand; None where an epoch is one program
    batches: int  # of the epoch in hand
    loss: np.ndarray  # [k, ...] of the epochs that are over
    value: np.ndarray  # [k, ...]

    def closed(self, state: State, record: Record, part: Part | None) -> "Standing":
        """The same after the end of an epoch."""
        loss, value = (np.append(old, np.asarray(new)[None], axis=0) for old, new in zip(self[4:], record, strict=True))
        return Standing(state, self.shared, part, 0, loss, value)


class Runner(NamedTuple):
    """The programs of a fit on one kind of source."""

    start: Callable[..., State]  # (key, params, validation, pace) -> State
    part: Callable[[State], Part | None]  # what an epoch begins with
    # (where the fit stands, validation) -> where it stands after each piece of the epoch; the last closes it
    run_epoch: Callable[[Standing, Validation], Iterator[Standing]]
    pieces: int  # of an epoch
    about: Any  # arrays that tell the rows from others


def make_runner(
    source: Rows | Streamed, stage: Stage, *, seeds: Seeds, mesh: Mesh | None, donate: bool, dtype: Any
) -> Runner:
    """The programs of a fit.

    Args:
        source: training rows, in memory with leaves [s, n, ...] (`ALL_SEEDS`) or [n, ...], or streamed.
        stage: what is trained.
        seeds: how many are trained at once.
        mesh: devices that the rows are spread over.
        donate: whether a step may write over the state that it is given.
        dtype: of the parameters.

    Raises:
        InputError: several seeds of a streamed source; what `make_trainer` refuses.
    """
    if isinstance(source, Rows):
        return _in_memory(source, stage, seeds, mesh, donate, dtype)
    if seeds.axes:
        refuse("seeds of a streamed source", found="several in one program", expected="one: `ONE_SEED`")
    return _streamed(source, stage, mesh, donate, dtype)


def _in_memory(rows: Rows, stage: Stage, seeds: Seeds, mesh: Mesh | None, donate: bool, dtype: Any) -> Runner:
    rows = place_rows(mesh, rows, leading=seeds.axes)
    trainer = make_trainer(stage, rows.trial.rows, mesh=mesh)
    trainer = seeds.compiled(trainer._replace(epoch=spread(mesh, trainer.epoch)), donate)

    def run_epoch(at: Standing, valid: Validation) -> Iterator[Standing]:
        state, record = trainer.epoch(at.state, rows, at.shared, valid)
        yield at.closed(state, record, None)

    return Runner(trainer.start, lambda state: None, run_epoch, 1, rows)


def _streamed(source: Streamed, stage: Stage, mesh: Mesh | None, donate: bool, dtype: Any) -> Runner:
    trial, buffer = source.trial, source.buffer
    hosts = 1 if mesh is None else jax.process_count()
    rows = trial.rows if hosts == 1 else int(np.min(multihost_utils.process_allgather(np.array(trial.rows))))
    shards = stage.config.shards or number_of_devices(mesh)
    trainer = make_trainer(stage, rows * hosts // shards * shards, mesh=mesh)
    size = trainer.size // hosts

    def step(part: Part, batch: Rows, shared: Any, context: Any) -> Part:
        learner, loss = trainer.step(part.learner, source.prepare(batch.trial, context), shared)
        return Part(learner, part.total + loss)

    def close(state: State, key: Array, part: Part, valid: Validation) -> tuple[State, Record]:
        return trainer.close(state, key, part.learner, part.total / trainer.steps, valid)

    step = jax.jit(spread(mesh, step), donate_argnums=0 if donate else ())
    start, close = jax.jit(trainer.start), jax.jit(spread(mesh, close))
    context = place_everywhere(mesh, jax.tree.map(jnp.asarray, source.context))
    zero = place_everywhere(mesh, jnp.zeros((), dtype))

    def begun(state: State) -> Part:
        return Part(state.learner, zero)

    def run_epoch(at: Standing, valid: Validation) -> Iterator[Standing]:
        key, drawn = jax.random.split(at.state.key)
        batches = islice(trial.batches(_seed(drawn), size, buffer=buffer), trainer.steps)
        # Here, not ahead in a thread, so that an interrupt need not wait for it.
        deque(islice(batches, at.batches), maxlen=0)
        # A step writes over what it is given, which may be the same arrays as the state's best.
        part = jax.tree.map(jnp.copy, at.part)
        for number, batch in enumerate(prefetched(place_rows(mesh, Rows(rows)) for rows in batches), at.batches + 1):
            before = part.total
            part = step(part, batch, at.shared, context)
            # One step may wait for another, but not a row of them with a batch each. What is written is done: a write
            # may not wait for a step that an interrupt keeps another process from taking.
            jax.block_until_ready(before if donate else part.total)
            if number < trainer.steps:
                yield at._replace(part=part, batches=number)
        state, record = close(at.state, key, part, valid)
        yield at.closed(state, record, begun(state))

    return Runner(start, begun, run_epoch, trainer.steps, _about(trial, buffer, mesh))


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
