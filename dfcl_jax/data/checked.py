"""Checks of the rows of a batch, which name the first row that cannot be used, counted from 1."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from dfcl_jax.data.kinds import EXPECTED, LARGEST, days, numbers
from dfcl_jax.errors import refuse, shown


def numbered(batches: Iterable[pa.Table]) -> Iterator[tuple[int, pa.Table]]:
    """Each batch with how many rows come before it."""
    before = 0
    for batch in batches:
        yield before, batch
        before += batch.num_rows


def series(batch: pa.Table, column: str) -> pd.Series:
    """A column for pandas."""
    return batch[column].to_pandas().rename(column)


def finite(batch: pa.Table, column: str, *, before: int | np.ndarray, file: Path | None = None) -> np.ndarray:
    """A column as float32; an `InputError` names the first row that is no finite number, counted from 1.

    `before` is how many rows come before the batch, or the number of each of its rows from 0; they are those of `file`,
    or without one of all parts.
    """
    with np.errstate(over="ignore"):
        values = numbers(series(batch, column)).astype(np.float32)
    refuse_first(batch, column, ~(np.abs(values) <= LARGEST), before=before, file=file, expected=EXPECTED)
    return values


def refuse_infinite(batch: pa.Table, column: str, *, before: int | np.ndarray, file: Path | None = None) -> None:
    """Refuse a column of features that has an infinite number or a word, by its first row as `finite`; gaps may be."""
    kind = batch.schema.field(column).type
    if not pa.types.is_floating(kind) and not pa.types.is_string(kind) and not pa.types.is_large_string(kind):
        return
    values = series(batch, column)
    found = numbers(values)
    bad = np.isinf(found)
    if not pa.types.is_floating(kind):
        bad |= np.isnan(found) & np.isnan(days(values)) & values.notna().to_numpy()
    refuse_first(batch, column, bad, before=before, file=file, expected="a finite number or a gap")


def refuse_first(
    batch: pa.Table, column: str, bad: np.ndarray, *, before: int | np.ndarray, file: Path | None = None, expected: str
) -> None:
    """Refuse the first of the rows that are `bad`, if there is one; it is named as by `finite`."""
    if bad.any():
        row = int(np.argmax(bad))
        number = int(before[row]) if isinstance(before, np.ndarray) else before + row
        where = f"column {column!r}, row {number + 1}" + (f" of {file}" if file else "")
        refuse(where, found=shown(batch[column][row].as_py()), expected=expected)
