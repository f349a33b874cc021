"""Parquet data sets larger than memory: a file or a folder of parts, read and written in batches."""

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dfcl_jax.errors import InputError, refuse, shown

# Without these all that a file has of a column is read ahead.
_READING = {"pre_buffer": False, "buffer_size": 2**20}
_NUMBERS = (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal, pa.types.is_boolean)


class Group(NamedTuple):
    """A row group of a file."""

    file: Path
    number: int  # in the file, from 0
    before: int  # rows of the file that come before it
    rows: int


class Piece(NamedTuple):
    """Some rows of a row group."""

    file: Path
    before: int  # rows of the file that come before them
    table: pa.Table


class Parts(NamedTuple):
    """Columns of a Parquet data set, there and of one type in every part."""

    files: tuple[Path, ...]  # rows come in the order of the files' paths
    schema: pa.Schema  # of the columns
    rows: int  # of all files
    groups: tuple[Group, ...]  # in the order of the rows

    def batches(self, size: int) -> Iterator[pa.Table]:
        """All rows, `size` at a time; the last batch has what is left."""
        held = self.schema.empty_table()
        for piece in self.pieces(size):
            held = pa.concat_tables([held, piece.table])
            while held.num_rows >= size:
                yield held.slice(0, size)
                held = held.slice(size)
        if held.num_rows:
            yield held

    def pieces(self, size: int, rng: np.random.Generator | None = None) -> Iterator[Piece]:
        """All rows, at most `size` of a row group at a time; given `rng`, row groups come in random order."""
        order = range(len(self.groups)) if rng is None else rng.permutation(len(self.groups))
        for file, groups in groupby((self.groups[k] for k in order), lambda group: group.file):
            with _opened(file) as part:
                for group in groups:
                    before = group.before
                    for batch in part.iter_batches(size, row_groups=[group.number], columns=self.schema.names):
                        columns = [batch.column(name) for name in self.schema.names]
                        yield Piece(file, before, pa.table(columns, schema=self.schema))
                        before += batch.num_rows

    def share(self, k: int, of: int) -> "Parts":
        """The k-th of `of` shares: every `of`-th row group, from k on.

        Raises:
            InputError: there are fewer row groups than shares.
        """
        if not 0 <= k < of <= len(self.groups):
            refuse("share", found=f"{k} of {of}", expected=f"one of at most {len(self.groups)}, the row groups")
        groups = self.groups[k::of]
        return self._replace(rows=sum(group.rows for group in groups), groups=groups)


def open_parts(path: Path, columns: Sequence[str] | None = None, *, numeric: Sequence[str] = ()) -> Parts:
    """Find the parts of a data set and check their columns; no rows are read.

    Args:
        path: a Parquet file, or a folder with files that end in .parquet or .pq, also in folders within; those
            whose names begin with "." or "_" are passed by.
        columns: what will be read; None: all that the first part has.
        numeric: those of the columns that must be numbers.

    Raises:
        InputError: no such file, a folder without Parquet files, a file that cannot be read, a column that is missing,
            there twice, no number or of another type than in the first part, no rows.
    """
    files = _files(path)
    schema, groups = None, []
    for file in files:
        with _opened(file) as part:
            columns = part.schema_arrow.names if columns is None else columns
            fields = _fields(part.schema_arrow, columns, numeric, file)
            sizes = [part.metadata.row_group(number).num_rows for number in range(part.num_row_groups)]
            groups += [Group(file, number, sum(sizes[:number]), rows) for number, rows in enumerate(sizes)]
        schema = schema or fields
        for field, first in zip(fields, schema, strict=True):
            if field.type != first.type:
                where = f"column {field.name!r} of {file}"
                refuse(where, found=field.type, expected=f"{first.type}, as in the first part, {files[0]}")
    rows = sum(group.rows for group in groups)
    if rows == 0 or schema is None:
        refuse(f"data {path}", found="no rows", expected="at least one")
    return Parts(files, schema, rows, tuple(groups))


def write_parts(batches: Iterable[pa.Table], folder: Path, *, rows_per_part: int = 2**20) -> None:
    """Write rows to `folder`, a new one, in parts of whole batches; it appears only when it is complete.

    Until then it is `.NAME.partial` beside it, which is gone if writing ends early.

    Args:
        batches: tables of one schema.
        folder: to be, in a folder that exists.
        rows_per_part: a part ends with the batch that reaches so many rows.

    Raises:
        InputError: `folder` exists or cannot be made, before a batch is taken.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    if folder.exists():
        refuse("data folder", found=f"{folder}, which exists", expected="a new one")
    try:
        partial.mkdir()
    except OSError as error:
        refuse(
            "data folder", found=f"{partial}, which cannot be made ({error.strerror})", expected="a place to write to"
        )
    try:
        rest = iter(batches)
        for part, first in enumerate(rest):
            _write_part(partial / f"part-{part:05d}.parquet", first, rest, rows_per_part)
        os.rename(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_part(path: Path, first: pa.Table, rest: Iterator[pa.Table], rows: int) -> None:
    with open(path, "wb") as file:
        with pq.ParquetWriter(file, first.schema) as writer:
            writer.write_table(first)
            written = first.num_rows
            while written < rows and (batch := next(rest, None)) is not None:
                writer.write_table(batch)
                written += batch.num_rows
        file.flush()
        os.fsync(file.fileno())


def numbered(batches: Iterable[pa.Table]) -> Iterator[tuple[int, pa.Table]]:
    """Each batch with how many rows come before it."""
    before = 0
    for batch in batches:
        yield before, batch
        before += batch.num_rows


def finite(batch: pa.Table, column: str, *, before: int, file: Path | None = None) -> np.ndarray:
    """A column as float32; an `InputError` names the first row that is no finite number, counted from 1 after `before`.

    Rows are those of `file`, or without one of all parts.
    """
    numbers = batch[column].cast(pa.float32(), safe=False).to_numpy()
    refuse_first(batch, column, ~np.isfinite(numbers), before=before, file=file, expected="a finite number (float32)")
    return numbers


def refuse_infinite(batch: pa.Table, column: str, *, before: int, file: Path | None = None) -> None:
    """Refuse a column of features that has an infinite number, by its first row as `finite`; it may have gaps."""
    numbers = batch[column].cast(pa.float64(), safe=False).to_numpy()
    refuse_first(batch, column, np.isinf(numbers), before=before, file=file, expected="a finite number or a gap")


def refuse_first(
    batch: pa.Table, column: str, bad: np.ndarray, *, before: int, file: Path | None = None, expected: str
) -> None:
    """Refuse the first of the rows that are `bad`, if there is one; it is named as by `finite`."""
    if bad.any():
        row = int(np.argmax(bad))
        where = f"column {column!r}, row {before + row + 1}" + (f" of {file}" if file else "")
        refuse(where, found=shown(batch[column][row].as_py()), expected=expected)


def _files(path: Path) -> tuple[Path, ...]:
    if path.is_file():
        return (path,)
    if not path.is_dir():
        refuse("data", found=f"nothing at {path}", expected="a Parquet file, or a folder of them")
    found = (file for ending in ("parquet", "pq") for file in path.rglob(f"*.{ending}"))
    files = tuple(sorted(file for file in found if file.is_file() and not file.name.startswith((".", "_"))))
    if not files:
        refuse(f"data folder {path}", found="no file that ends in .parquet or .pq", expected="at least one")
    return files


@contextmanager
def _opened(file: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(file, **_READING) as part:
            yield part
    except InputError:
        raise
    except (ValueError, OSError) as error:
        refuse(f"data file {file}", found=f"unreadable ({error})", expected="a well-formed Parquet file")


def _fields(schema: pa.Schema, columns: Sequence[str], numeric: Sequence[str], file: Path) -> pa.Schema:
    fields = []
    for column in dict.fromkeys(columns):
        places = schema.get_all_field_indices(column)
        if not places:
            refuse(f"column {column!r}", found=f"only {', '.join(schema.names)}", expected=f"it in {file}")
        if len(places) > 1:
            refuse(f"column {column!r}", found=f"it {len(places)} times in {file}", expected="different names")
        kind = schema.field(places[0]).type
        if column in numeric and not any(is_number(kind) for is_number in _NUMBERS):
            refuse(f"column {column!r}", found=f"{kind} in {file}", expected="numbers")
        fields.append(pa.field(column, kind))
    return pa.schema(fields)
