"""Training on more rows than memory holds: batches are read ahead while the step before runs."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from dfcl_jax.data import StreamedTrial
from dfcl_jax.errors import refuse
from dfcl_jax.models import Model, Params
from dfcl_jax.train.config import FitConfig
from dfcl_jax.train.loop import Fit, Record, Validate, make_trainer
from dfcl_jax.train.mesh import fetch, number_of_devices, place_everywhere, place_rows, spread
from dfcl_jax.train.step import Learner, Objective, Rows
from dfcl_jax.types import Trial

T = TypeVar("T")


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
        mesh: devices to spread batches over. On several processes `trial` is what this one reads, such as
            `trial.share(jax.process_index(), jax.process_count())`, and everything else is the same in all; epochs are
            as long as the process with the fewest rows can have them. None: one device.

    Returns:
        The best parameters, and loss and value of each epoch, [epochs].

    Raises:
        InputError: the loss is no longer finite; a row that cannot be (`open_trial`); the mesh does not divide batches.
    """
    hosts = 1 if mesh is None else jax.process_count()
    rows = trial.rows if hosts == 1 else int(np.min(multihost_utils.process_allgather(np.array(trial.rows))))
    parts = config.shards or number_of_devices(mesh)
    trainer = make_trainer(model, objective, validate, config, rows * hosts // parts * parts, mesh=mesh)
    size = trainer.size // hosts

    def step(learner: Learner, batch: Rows, shared: Any) -> tuple[Learner, Array]:
        return trainer.step(learner, batch._replace(extra=extra(batch.trial)), shared)

    step = jax.jit(spread(mesh, step), donate_argnums=0)
    close = jax.jit(spread(mesh, trainer.close))
    dtype = jax.tree.leaves(params)[0].dtype
    begin = (key, params, x_valid, judge, jnp.asarray(pace, dtype))
    key, params, x_valid, judge, rate = place_everywhere(mesh, begin)
    shared = place_everywhere(mesh, shared)
    state = jax.jit(trainer.start)(key, params, x_valid, judge, rate)
    records = []
    for number in range(config.epochs):
        if renew is not None and number > 0:
            shared = renew(state.learner.params, shared)
        key, drawn = jax.random.split(state.key)
        # What the steps are given they write over; the state's best may be the same arrays.
        learner, losses = jax.tree.map(jnp.copy, state.learner), []
        batches = trial.batches(_seed(drawn), size, buffer=buffer)
        for batch in islice(prefetched(place_rows(mesh, Rows(rows)) for rows in batches), trainer.steps):
            learner, loss = step(learner, batch, shared)
            losses.append(loss)
            # One step may wait for another, but not a row of them with a batch each.
            jax.block_until_ready(losses[-2:][0])
        state, record = close(state, key, learner, jnp.stack(losses), x_valid, judge)
        record = jax.tree.map(np.asarray, record)
        if not np.isfinite(record.loss):
            refuse(f"training loss in epoch {number + 1}", found=record.loss, expected="finite: lower learning_rate")
        records.append(record)
        on_epoch(number, record)
    losses, values = (np.array(column) for column in zip(*records, strict=True))
    return Fit(fetch(mesh, state.best), losses, values)


def prefetched(items: Iterator[T], ahead: int = 2) -> Iterator[T]:
    """The items, of which a thread makes up to `ahead` while the one before is used; its errors are raised here."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        end = object()
        waiting = deque(thread.submit(next, items, end) for _ in range(ahead))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(next, items, end))
            yield item  # pyright: ignore


def _seed(key: Array) -> int:
    """A whole number from a key."""
    return int.from_bytes(np.asarray(jax.random.key_data(key)).tobytes(), "little")
