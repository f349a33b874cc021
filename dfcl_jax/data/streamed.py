"""Trials larger than memory: a data set, checked once and then read as batches of shuffled rows."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from dfcl_jax.data.buffer import Buffer
from dfcl_jax.data.checked import finite, refuse_first, series
from dfcl_jax.data.columns import Columns
from dfcl_jax.data.design import check_propensities
from dfcl_jax.data.encode import Encoder, encode
from dfcl_jax.data.parts import Parts, Piece
from dfcl_jax.data.rows import Hashed, hashed, part_of
from dfcl_jax.data.treatments import arm_codes
from dfcl_jax.types import Trial

# Rows that are read, checked and encoded at a time.
PIECE = 2**16
# Numbers of rows that are looked at together.
_NUMBERS = 2**20

# Numbers of rows in the whole data set, [n] from 0 -> which of them are meant, [n] bool.
Choice = Callable[[np.ndarray], np.ndarray]


class StreamedTrial(NamedTuple):
    """A randomised trial in a data set; its rows are read when they are asked for."""

    parts: Parts
    columns: Columns
    encoder: Encoder
    arms: tuple[str, ...]  # [m] names of the treatments; the first is the control
    p: np.ndarray | None  # [m] float32; None where everybody has their own, in `propensity_columns`
    propensity_columns: tuple[str, ...] = ()  # [m] in the order of `arms`
    known_costs: np.ndarray = np.zeros(0)  # [m] float64: what a treatment is known to cost, NaN where to be estimated
    notes: tuple[str, ...] = ()  # sentences of what was found out or decided when it was opened
    leaks: tuple[str, ...] = ()  # sentences of `check_leaks` on a sample
    keep: Choice | None = None  # which rows it has; None: all
    kept: int | None = None  # how many those are
    mean_weight: float = 1.0  # of all rows of the data set; weights are over it
    # [all rows of the data set] uint64, a hash of the cluster of each: 8 bytes a row; None: every row is one
    clusters: np.ndarray | None = None

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return self.parts.rows if self.kept is None else self.kept

    def select(self, keep: Choice) -> "StreamedTrial":
        """Those of its rows that `keep` says, given the numbers of rows in the whole data set; they are counted.

        Where rows have clusters `keep` is given the hash of each row's cluster instead: clusters are kept whole.
        """
        return self._counted(keep if self.keep is None else _Both(self.keep, keep))

    def part(self, seed: int, fractions: tuple[float, float, float], k: int) -> "StreamedTrial":
        """The k-th of three parts, training, validation and test, by a hash of `seed` and each row's number.

        Raises:
            InputError: what `data.rows.part_of` refuses.
        """
        return self.select(part_of(seed, fractions, k))

    def share(self, k: int, of: int) -> "StreamedTrial":
        """The k-th of `of` shares of the row groups, for one of as many hosts; encoder and propensities are of all."""
        share = self._replace(parts=self.parts.share(k, of))
        return share if self.keep is None else share._counted(self.keep)

    def sample(self, n: int, *, seed: int = 0) -> Trial:
        """At most `n` of its rows, or as many in whole clusters, chosen at random by `seed`, in their order."""
        return self.read(n, seed=seed)

    def read(self, most: int | None = None, *, seed: int = 0) -> Trial:
        """All rows in their order, as NumPy arrays in memory; given `most`, a uniform sample of so many by `seed`."""
        if most is not None and most < self.rows:
            return self.select(self._smallest(most, -1 - seed)).read()
        columns = [np.concatenate(column) for column in zip(*map(self._leaves, self._trials()), strict=True)]
        if self.clusters is None:
            return self._from(columns)
        numbers = np.concatenate([rows[self._kept(rows)] for rows in self._numbers()])
        codes = np.unique(self.clusters[numbers], return_inverse=True)[1]
        return self._from(columns)._replace(cluster=codes.astype(np.int32))  # pyright: ignore

    def batches(self, seed: int, size: int, *, buffer: int) -> Iterator[Trial]:
        """Batches of `size` shuffled rows, as NumPy arrays; rows that fill no batch at the end are left out.

        Row groups come in random order into a buffer, and every batch is drawn from it at random without replacement.
        Memory holds the buffer and one piece of a row group, however many rows there are. With a buffer that holds them
        all, every order is as likely as any other; otherwise rows far apart in the data meet in a batch as far as row
        groups are small beside the buffer. A CSV file is read from its beginning, so its rows meet only as far as the
        buffer reaches.

        Args:
            seed: with the data and the other arguments it determines the batches.
            size: rows of a batch.
            buffer: rows that a batch is drawn from; at least `size` are.
        """
        rng = np.random.default_rng(seed)
        buffer = max(buffer, size)
        held = Buffer(min(buffer, self.rows) + PIECE)
        for trial in self._trials(rng):
            held.add(self._leaves(trial))
            while held.rows >= buffer:
                yield self._from(held.draw(size, rng))
        while held.rows >= size:
            yield self._from(held.draw(size, rng))

    def _counted(self, keep: Choice) -> "StreamedTrial":
        return self._replace(keep=keep)._with_count()

    def _with_count(self) -> "StreamedTrial":
        return self._replace(kept=sum(int(self._kept(rows).sum()) for rows in self._numbers()))

    def _kept(self, rows: np.ndarray) -> np.ndarray:
        """Which rows of these numbers are kept, [n] bool."""
        return np.ones(len(rows), bool) if self.keep is None else self.keep(self._who(rows))

    def _who(self, rows: np.ndarray) -> np.ndarray:
        """What a choice goes by: the number of the row, or the hash of its cluster."""
        return rows if self.clusters is None else self.clusters[rows]

    def _numbers(self) -> Iterator[np.ndarray]:
        for group in self.parts.groups:
            for first in range(0, group.rows, _NUMBERS):
                yield np.arange(group.start + first, group.start + min(first + _NUMBERS, group.rows))

    def _smallest(self, most: int, seed: int) -> Hashed:
        """The `most` rows of the smallest hashes."""
        least = np.zeros(0, np.uint64)
        for rows in self._numbers():
            least = np.append(least, hashed(self._who(rows[self._kept(rows)]), seed))
            least = least if len(least) <= most else np.partition(least, most - 1)[:most]
        return Hashed(seed, 0, int(least.max()))

    def _leaves(self, trial: Trial) -> tuple[np.ndarray, ...]:
        """What differs between rows."""
        own = (*trial[:4], trial.p if self.p is None else None, trial.weight)
        return tuple(np.asarray(leaf) for leaf in own if leaf is not None)

    def _from(self, leaves: list[np.ndarray]) -> Trial:
        x, t, r, c, *rest = leaves
        p = rest.pop(0) if self.p is None else self.p
        return Trial(x, t, r, c, p, *rest)  # pyright: ignore

    def _trials(self, rng: np.random.Generator | None = None) -> Iterator[Trial]:
        for piece in self.parts.pieces(PIECE, rng):
            rows = np.arange(piece.table.num_rows)
            if self.keep is not None:
                rows = np.flatnonzero(self._kept(piece.start + rows))
                piece = piece._replace(table=piece.table.take(rows))
            if len(rows):
                yield self._trial(piece, piece.before + rows)

    def of_piece(self, piece: Piece) -> Trial:
        """The rows of a piece of its files, checked and encoded, as NumPy arrays."""
        return self._trial(piece, piece.before + np.arange(piece.table.num_rows))

    def _trial(self, piece: Piece, numbers: np.ndarray) -> Trial:
        file, table = piece.file, piece.table
        codes = arm_codes(series(table, self.columns.treatment), self.arms)
        expected = f"one of {', '.join(self.arms)}"
        refuse_first(table, self.columns.treatment, codes < 0, before=numbers, file=file, expected=expected)
        r, c = (finite(table, column, before=numbers, file=file) for column in self.columns.roles[1:3])
        features = table.select([column.name for column in self.encoder.columns]).to_pandas()
        x = encode(self.encoder, features, place=lambda row: f"row {numbers[row] + 1} of {file}")
        p = own_propensities(piece, numbers, self.propensity_columns, self.arms) if self.p is None else self.p
        weight = row_weights(piece, numbers, self.columns.weight)
        weight = None if weight is None else weight / np.float32(self.mean_weight)
        return Trial(x, codes, r, c, p, weight)  # pyright: ignore


class _Both(NamedTuple):
    """Rows that are in both of two choices."""

    one: Choice
    other: Choice

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return self.one(rows) & self.other(rows)


def own_propensities(
    piece: Piece, numbers: np.ndarray | int, columns: tuple[str, ...], arms: tuple[str, ...]
) -> np.ndarray:
    """Each person's propensities, [n, m] float32, checked; `numbers` as `before` of `data.checked.finite`."""
    p = [finite(piece.table, column, before=numbers, file=piece.file) for column in columns]
    return check_propensities(np.stack(p, axis=1), arms, before=numbers, file=piece.file)


def row_weights(piece: Piece, numbers: np.ndarray | int, column: str) -> np.ndarray | None:
    """How many people each row stands for, [n] float32, checked; None where no column says it."""
    if not column:
        return None
    weight = finite(piece.table, column, before=numbers, file=piece.file)
    expected = "a weight of at least 0"
    refuse_first(piece.table, column, weight < 0, before=numbers, file=piece.file, expected=expected)
    return weight


def clusters_of(parts: Parts, column: str) -> np.ndarray:
    """A hash of the cluster of each row, [n] uint64, from one pass over its column.

    Of k clusters any two have one hash with probability below k^2 / 2^65.
    """
    found = np.zeros(parts.rows, np.uint64)
    for piece in parts._replace(schema=pa.schema([parts.schema.field(column)])).pieces(PIECE):
        values = series(piece.table, column)
        expected = "the cluster of the row"
        refuse_first(
            piece.table, column, values.isna().to_numpy(), before=piece.before, file=piece.file, expected=expected
        )
        rows = slice(piece.start, piece.start + piece.table.num_rows)
        found[rows] = pd.util.hash_pandas_object(values, index=False).to_numpy()
    return found
