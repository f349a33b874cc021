"""Trials larger than memory: a Parquet data set, checked once and then read as batches of shuffled rows."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from dfcl_jax.data.encode import Encoder, Scaling, encode, fit_encoder
from dfcl_jax.data.parts import Parts, Piece, finite, open_parts, refuse_first, refuse_infinite
from dfcl_jax.data.tables import (
    CODE,
    Columns,
    arm_codes,
    check_arms,
    check_propensities,
    is_code,
    shared_propensities,
)
from dfcl_jax.errors import refuse
from dfcl_jax.types import Trial

# Rows that are read, checked and encoded at a time.
PIECE = 2**16


class StreamedTrial(NamedTuple):
    """A randomised trial in a Parquet data set; its rows are read when they are asked for."""

    parts: Parts
    columns: Columns
    encoder: Encoder
    arms: tuple[str, ...]  # [m] names of the treatments
    p: np.ndarray | None  # [m] float32; None where everybody has their own, in `columns.propensity_columns`

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return self.parts.rows

    def share(self, k: int, of: int) -> "StreamedTrial":
        """The k-th of `of` shares of the row groups, for one of as many hosts; encoder and propensities are of all."""
        return self._replace(parts=self.parts.share(k, of))

    def read(self) -> Trial:
        """All rows in their order, as NumPy arrays in memory."""
        trials = [self._trial(piece) for piece in self.parts.pieces(PIECE)]
        x, t, r, c = (np.concatenate([trial[k] for trial in trials]) for k in range(4))
        p = np.concatenate([trial.p for trial in trials]) if self.p is None else self.p
        return Trial._make((x, t, r, c, p))

    def batches(self, seed: int, size: int, *, buffer: int) -> Iterator[Trial]:
        """Batches of `size` shuffled rows, as NumPy arrays; rows that fill no batch at the end are left out.

        Row groups come in random order into a buffer, and every batch is drawn from it at random without replacement.
        Memory holds the buffer and one piece of a row group, however many rows there are. With a buffer that holds them
        all, every order is as likely as any other; otherwise rows far apart in the data meet in a batch as far as row
        groups are small beside the buffer.

        Args:
            seed: with the data and the other arguments it determines the batches.
            size: rows of a batch.
            buffer: rows that a batch is drawn from; at least `size` are.
        """
        rng = np.random.default_rng(seed)
        buffer = max(buffer, size)
        held = _Buffer(min(buffer, self.rows) + PIECE)
        for piece in self.parts.pieces(PIECE, rng):
            held.add(self._leaves(self._trial(piece)))
            while held.rows >= buffer:
                yield self._from(held.draw(size, rng))
        while held.rows >= size:
            yield self._from(held.draw(size, rng))

    def _leaves(self, trial: Trial) -> tuple[np.ndarray, ...]:
        return tuple(map(np.asarray, trial if self.p is None else trial[:4]))

    def _from(self, leaves: list[np.ndarray]) -> Trial:
        return Trial._make(leaves if self.p is None else [*leaves, self.p])

    def _trial(self, piece: Piece) -> Trial:
        file, before, table = piece
        codes = arm_codes(_series(table, self.columns.treatment), self.arms)
        expected = f"one of {', '.join(self.arms)}"
        refuse_first(table, self.columns.treatment, codes < 0, before=before, file=file, expected=expected)
        r, c = (finite(table, column, before=before, file=file) for column in self.columns.roles[1:3])
        x = encode(self.encoder, _features(piece, [column.name for column in self.encoder.columns]))
        p = _everybodys(piece, self.columns, self.arms) if self.p is None else self.p
        return Trial._make((x, codes, r, c, p))


class _Buffer:
    """Rows of which some are drawn at random while others come in; leaves are arrays with one entry a row."""

    def __init__(self, capacity: int):
        self.rows = 0
        self._capacity = capacity
        self._leaves: list[np.ndarray] = []

    def add(self, leaves: tuple[np.ndarray, ...]) -> None:
        if not self._leaves:
            self._leaves = [np.empty((self._capacity, *leaf.shape[1:]), leaf.dtype) for leaf in leaves]
        end = self.rows + len(leaves[0])
        for held, leaf in zip(self._leaves, leaves, strict=True):
            held[self.rows : end] = leaf
        self.rows = end

    def draw(self, size: int, rng: np.random.Generator) -> list[np.ndarray]:
        chosen = rng.choice(self.rows, size, replace=False, shuffle=False)
        drawn = [leaf[chosen] for leaf in self._leaves]
        # The rows at the end that stay move to where others went out.
        rest = self.rows - size
        stay = np.ones(size, bool)
        stay[chosen[chosen >= rest] - rest] = False
        free = chosen[chosen < rest]
        for leaf in self._leaves:
            leaf[free] = leaf[rest : self.rows][stay]
        self.rows = rest
        return drawn


def open_trial(
    path: Path | str,
    columns: Columns,
    *,
    like: StreamedTrial | None = None,
    scaling: Scaling = "standard",
    sample: int = 2**18,
) -> StreamedTrial:
    """Find a trial in a Parquet data set; unless it is `like` another, read it once, to check it and to learn from it.

    The pass checks every row, counts treatments, and keeps every k-th row, about `sample` of them from all over the
    data, which the encoder is fitted on (`fit_encoder`). With at most `sample` rows that is the encoder of all rows.
    With more, its medians, means and scales are estimates to about 1 / sqrt(sample) of a standard deviation, a gap in a
    column whose sample had none is filled but not flagged, and a level that was not in the sample is all zeros.

    Args:
        path: a Parquet file or a folder of parts (`data.parts.open_parts`), training rows alone.
        columns: which column is what. Treatments are numbers from 0 to m-1, or names in `columns.arms`.
        like: a trial whose encoder, treatments and propensities are taken over, as for a validation part. Rows are then
            checked when they are read.
        scaling: of the encoder.
        sample: rows to fit the encoder on.

    Raises:
        InputError: what `open_parts`, `fit_encoder` and `trial_table` refuse; rows are named with their file.
    """
    if like is not None:
        needed = [*columns.roles, *(column.name for column in like.encoder.columns)]
        return like._replace(parts=open_parts(Path(path), needed, numeric=columns.roles[1:]), columns=columns)
    some = [*columns.roles, *columns.features] if columns.features else None
    parts = open_parts(Path(path), some, numeric=columns.roles[1:] if some else ())
    features = columns.features_among(parts.schema.names)
    parts = open_parts(Path(path), [*columns.roles, *features], numeric=columns.roles[1:])
    every = -(-parts.rows // sample)
    counts, kept, before = np.zeros(len(columns.arms), np.int64), [], 0
    for piece in parts.pieces(PIECE):
        counts = _counted(piece, columns, counts)
        for column in columns.roles[1:3]:
            finite(piece.table, column, before=piece.before, file=piece.file)
        kept.append(_features(piece, features).iloc[-before % every :: every])
        before += piece.table.num_rows
    arms = columns.arms or tuple(map(str, range(len(counts))))
    check_arms(columns.treatment, arms, counts)
    if columns.propensity_columns:
        for piece in parts.pieces(PIECE):
            _everybodys(piece, columns, arms)
    frame = pd.concat(kept, ignore_index=True)
    encoder = fit_encoder(frame, np.arange(len(frame)), scaling=scaling)
    p = None if columns.propensity_columns else shared_propensities(columns, arms, counts)
    return StreamedTrial(parts, columns, encoder, arms, p)


def _series(table: pa.Table, column: str) -> pd.Series:
    return table[column].to_pandas().rename(column)


def _features(piece: Piece, columns: list[str]) -> pd.DataFrame:
    for field in piece.table.select(columns).schema:
        if pa.types.is_floating(field.type):
            refuse_infinite(piece.table, field.name, before=piece.before, file=piece.file)
    return piece.table.select(columns).to_pandas()


def _counted(piece: Piece, columns: Columns, counts: np.ndarray) -> np.ndarray:
    """Rows of each treatment, with those of a piece; without names there are as many as the highest code says."""
    file, before, table = piece
    column = _series(table, columns.treatment)
    if columns.arms:
        codes, good = arm_codes(column, columns.arms), f"one of {', '.join(columns.arms)}"
        bad = codes < 0
    else:
        if not pd.api.types.is_numeric_dtype(column):
            refuse(f"column {columns.treatment!r}", found="names", expected="codes from 0 to m-1, or names in `arms`")
        numbers, good = column.to_numpy(np.float64, na_value=np.nan), CODE
        bad = ~is_code(numbers)
        codes = np.where(bad, 0, numbers).astype(np.int32)
    refuse_first(table, columns.treatment, bad, before=before, file=file, expected=good)
    new = np.bincount(codes, minlength=len(counts))
    new[: len(counts)] += counts
    return new


def _everybodys(piece: Piece, columns: Columns, arms: tuple[str, ...]) -> np.ndarray:
    file, before, table = piece
    p = np.stack([finite(table, column, before=before, file=file) for column in columns.propensity_columns], axis=1)
    return check_propensities(p, arms, before=before, file=file)
