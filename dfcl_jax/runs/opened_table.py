"""A trial in files, read, checked and split into tasks and exams, in memory where it fits and streamed where not."""

import zlib
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from dfcl_jax import metrics, scores
from dfcl_jax.data import (
    Columns,
    Encoder,
    Exam,
    Split,
    Table,
    Task,
    check_leaks,
    encode,
    fold_of,
    open_observed,
    open_parts,
    open_trial,
    part_of,
    split_folds,
    split_table,
    table_trial,
    trial_table,
)
from dfcl_jax.data.streamed import Choice
from dfcl_jax.errors import refuse
from dfcl_jax.files import checksum
from dfcl_jax.runs.config import TableConfig
from dfcl_jax.train import available_memory
from dfcl_jax.types import Trial

# A trial in memory is there several times over: as a table, encoded, split for each seed, stacked, with scores.
COPIES = 12
# Of the memory that is free, what a trial may take unless --memory says otherwise.
SHARE = 0.5


class Opened(NamedTuple):
    """A trial that was read and checked, in memory or not."""

    splits: list[Split]
    arms: tuple[str, ...]
    mean_costs: np.ndarray  # [m]
    checksum: int
    rows: int
    table: Table | None  # None: it is streamed
    notes: list[str]  # what was found out, and what makes figures doubtful


def open_table(config: TableConfig, columns: Columns, table: Table | None = None) -> Opened:
    """Read and check a trial, in memory where it fits.

    Args:
        config: what is to be read and how it is split.
        columns: which column is what.
        table: the trial, where it is in memory already.

    Raises:
        InputError: what is wrong with the table; a part of a streamed trial without rows.
    """
    if table is not None or _fits(config):
        if table is not None and config.observed is not None:
            expected = "it with ./scripts/run trial, whose columns are those of the file"
            refuse("--observed", found="it with a trial that is more than the columns of its file", expected=expected)
        return _beside_logs(_in_memory(config, columns, table), config, columns)
    return _beside_logs(_streamed(config, columns), config, columns)


def _beside_logs(opened: Opened, config: TableConfig, columns: Columns) -> Opened:
    """The trial with the logs of `config.observed`, if there are any, in the task of every split."""
    if config.observed is None:
        return opened
    encoder = opened.splits[0].encoder
    assert encoder is not None
    logs = open_observed(config.observed, columns, encoder=encoder, arms=opened.arms, reading=config.reading)
    row = 4 * (len(encoder.names) + 3)
    fits = COPIES * row * logs.rows * len(opened.splits) <= _limit(config)

    def beside(split: Split) -> Split:
        assert split.encoder is not None
        # Features are encoded as each split's training rows say.
        own = logs._replace(encoder=split.encoder)
        return split._replace(task=split.task._replace(observed=jax.tree.map(jnp.asarray, own.read()) if fits else own))

    data = checksum(np.array([opened.checksum, logs.rows]), *jax.tree.leaves(logs.sample(2**18)))
    notes = [*opened.notes, *map("Logs: {}".format, logs.notes)]
    return opened._replace(splits=list(map(beside, opened.splits)), checksum=data, notes=notes)


def _limit(config: TableConfig) -> float:
    """Bytes that a data set may take."""
    return SHARE * available_memory() if config.memory is None else config.memory * 1e9


def _fits(config: TableConfig) -> bool:
    """Whether the trial fits the memory that it may take."""
    path = Path(config.data)
    if path.is_file() and not path.name.lower().endswith((".parquet", ".pq")):
        size = path.stat().st_size * (4 if path.name.endswith(".gz") else 1)
    elif path.exists():
        parts = open_parts(path, reading=config.reading)
        size = 8 * parts.rows * len(parts.schema.names)
    else:
        return True  # refused where it is read
    return COPIES * size <= _limit(config)


def _in_memory(config: TableConfig, columns: Columns, table: Table | None) -> Opened:
    table = trial_table(config.data, columns, reading=config.reading) if table is None else table
    splits = [split for number in config.seed_numbers for split in _splits(table, config, number)]
    config.two_stage.check_outcomes({f"column {columns.revenue!r}": table.r, f"column {columns.cost!r}": table.c})
    encoder = splits[0].encoder
    assert encoder is not None
    whole = table_trial(table, encode(encoder, table.features))
    mean_costs = scores.mean_costs(whole, table.known_costs)
    doubts = _doubts(whole, columns, table.arms, encoder)
    notes = [*table.notes, *map("Doubtful: {}".format, [*doubts, *check_leaks(table)])]
    return Opened(splits, table.arms, mean_costs, _checksum(table), len(table.t), table, notes)


def _splits(table: Table, config: TableConfig, number: int) -> list[Split]:
    """One random split, or the folds of one partition."""
    if config.splits:
        return [split_table(table, number, fractions=config.fractions, scaling=config.scaling)]
    return split_folds(table, number, folds=config.folds, valid=config.valid, scaling=config.scaling)


def _streamed(config: TableConfig, columns: Columns) -> Opened:
    # Values of the encoder are learned from the first split's training rows alone; folds have no rows in common for it.
    training = part_of(config.first_seed, config.fractions, 0) if config.splits else None
    trial = open_trial(config.data, columns, scaling=config.scaling, reading=config.reading, training=training)
    row = 4 * (len(trial.encoder.names) + 6 * len(trial.arms))
    choices = _streamed_parts(config)
    most = max(int(_limit(config) / COPIES / row / len(choices)), 2**16)
    splits = []
    for seed, parts in choices.items():
        train, valid, test = map(trial.select, parts)
        if not min(part.rows for part in (train, valid, test)):
            what = "rows" if not columns.cluster else f"clusters (column {columns.cluster!r})"
            refuse(f"parts of task {seed}", found="one without rows", expected=f"more {what}, or fewer folds")
        in_memory = [jax.tree.map(jnp.asarray, part.read(most, seed=seed)) for part in (valid, test)]
        task = Task(train, in_memory[0], (), seed, costs=tuple(trial.known_costs))
        splits.append(Split(task, Exam(in_memory[1], None), trial.encoder))
    sample = trial.sample(2**18)
    mean_costs = scores.mean_costs(sample, trial.known_costs)
    doubts = _doubts(sample, columns, trial.arms, trial.encoder)
    held = f"{trial.rows:,} rows are streamed; up to {most:,} of the validation and test parts are held in memory"
    notes = [held, *trial.notes, *map("Doubtful: {}".format, [*doubts, *trial.leaks])]
    about = str([(group.rows, group.start) for group in trial.parts.groups]) + str(trial.columns)
    checksum = zlib.crc32(about.encode(), zlib.crc32(np.asarray(sample.r).tobytes()))
    return Opened(splits, trial.arms, mean_costs, checksum, trial.rows, None, notes)


def _streamed_parts(config: TableConfig) -> dict[int, tuple[Choice, Choice, Choice]]:
    """Training, validation and test rows of each task, by its number."""
    if config.splits:
        parts = partial(part_of, fractions=config.fractions)
        return {seed: (parts(seed, k=0), parts(seed, k=1), parts(seed, k=2)) for seed in config.seed_numbers}
    return {
        partition * config.folds + k: fold_of(partition, config.folds, k, valid=config.valid)
        for partition in config.seed_numbers
        for k in range(config.folds)
    }


def _doubts(trial: Trial, columns: Columns, arms: tuple[str, ...], encoder: Encoder) -> list[str]:
    """What makes figures doubtful, and why a figure is not defined."""
    found = metrics.doubts(
        trial,
        arms,
        names=encoder.names,
        given_propensities=bool(columns.propensities or columns.propensity_columns),
        outcomes=(columns.revenue, columns.cost),
    )
    if trial.p.shape != (2,):
        return found
    dearer_last = trial if np.diff(scores.mean_costs(trial))[0] >= 0 else trial._replace(t=1 - trial.t)
    why = metrics.why_undefined(dearer_last, metrics.aucc, arms=arms if dearer_last is trial else arms[::-1])
    return found if why is None else [*found, f"AUCC is not defined here: {why}"]


def _checksum(table: Table) -> int:
    of_rows = [part for part in (table.cluster, table.weight) if part is not None]
    features = pd.util.hash_pandas_object(table.features).to_numpy()
    return checksum(*of_rows, table.t, table.r, table.c, table.p, features)
