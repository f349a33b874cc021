"""Data sets larger than memory: a file or a folder of parts, CSV or Parquet, read and written in batches."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dfcl_jax.data.checked import finite, numbered, refuse_first, refuse_infinite
from dfcl_jax.data.delimited import GROUP, Delimited, Reading, is_delimited, look_through, readable, refuse_twice
from dfcl_jax.data.kinds import without_gaps
from dfcl_jax.data.layout import Place, is_number, places, typed, united
from dfcl_jax.errors import refuse
from dfcl_jax.files import scratch_file

__all__ = [
    "Group",
    "Parts",
    "Piece",
    "finite",
    "numbered",
    "open_parts",
    "refuse_first",
    "refuse_infinite",
    "write_parts",
]

# Without these all that a file has of a column is read ahead.
_READING = {"pre_buffer": False, "buffer_size": 2**20}


class Group(NamedTuple):
    """A row group of a Parquet file, or `GROUP` rows of a CSV file."""

    file: Path
    number: int  # in the file, from 0
    before: int  # rows of the file that come before it
    rows: int
    start: int  # rows of all files that come before it


class Piece(NamedTuple):
    """Some rows of a group."""

    file: Path
    before: int  # rows of the file that come before them
    table: pa.Table
    start: int  # rows of all files that come before them


class Source(NamedTuple):
    """How a file is read."""

    schema: pa.Schema  # of all its columns, without those that folders name
    rows: tuple[int, ...]  # of its groups
    delimited: Delimited | None  # of a CSV file
    given: dict[str, pa.Scalar]  # columns that folders name


class Parts(NamedTuple):
    """Columns of a data set, there and of one type in every part."""

    files: tuple[Path, ...]  # rows come in the order of the files' paths
    schema: pa.Schema  # of the columns
    rows: int  # of the groups
    groups: tuple[Group, ...]  # in the order of the rows
    sources: dict[Path, Source]
    notes: tuple[str, ...] = ()  # what was found out about the files that is not the usual

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
        """All rows, at most `size` of a group at a time; given `rng`, groups come in random order.

        A CSV file can only be read from its beginning: its groups come in their order, and only files are shuffled.
        """
        order = range(len(self.groups)) if rng is None else rng.permutation(len(self.groups))
        for groups in _runs([self.groups[k] for k in order]):
            file = groups[0].file
            yield from _pieces(self.sources[file], groups, self.schema, size)

    def share(self, k: int, of: int) -> "Parts":
        """The k-th of `of` shares: every `of`-th group of rows, from k on.

        Raises:
            InputError: there are fewer groups than shares.
        """
        if not 0 <= k < of <= len(self.groups):
            refuse("share", found=f"{k} of {of}", expected=f"one of at most {len(self.groups)}, the row groups")
        groups = self.groups[k::of]
        return self._replace(rows=sum(group.rows for group in groups), groups=groups)


def open_parts(
    path: Path, columns: Sequence[str] | None = None, *, numeric: Sequence[str] = (), reading: Reading | None = None
) -> Parts:
    """Find the parts of a data set and check their columns; of a Parquet file no rows are read.

    Types of a column that differ between parts are united if its values stay what they are (`data.layout.united`). A
    CSV file is read once, to count its rows and to find its types; in CSV files any types are united, as texts if need
    be. Folders such as region=north name a column: it has that value in every row within, unless the file has it too.

    Args:
        path: a CSV or Parquet file, or a folder of such files (`data.layout.places`).
        columns: what will be read; None: all that the first part has, and those that folders name.
        numeric: those of the columns that must not be of a type that no number can be.
        reading: how CSV files are written; found out if not given.

    Raises:
        InputError: no such file, a folder without such files, a file that cannot be read, a column that is missing,
            there twice, no number or of another type than in the first part, no rows.
    """
    found = places(path)
    given = {name: typed(place.given[name] for place in found) for name in found[0].given}
    sources, groups, start = {}, [], 0
    for k, place in enumerate(found):
        source = _source(place, {name: values[k] for name, values in given.items()}, reading or Reading())
        sources[place.file] = source
        before = 0
        for number, rows in enumerate(source.rows):
            groups.append(Group(place.file, number, before, rows, start))
            before, start = before + rows, start + rows
    files = tuple(sources)
    if start == 0:
        refuse(f"data table {path}", found="no rows", expected="at least one row")
    if columns is None:
        columns = [*sources[files[0]].schema.names, *given]
    fields = [_field(name, sources, numeric) for name in dict.fromkeys(columns)]
    notes = [note for source in sources.values() if source.delimited for note in source.delimited.notes()]
    if path.is_dir() and (path / "_delta_log").is_dir():
        notes.append(f"{path} is a Delta table: files that its log has removed are read too")
    return Parts(files, pa.schema(fields), start, tuple(groups), sources, tuple(notes))


def _source(place: Place, given: dict[str, pa.Scalar], reading: Reading) -> Source:
    if is_delimited(place.file.name):
        one = look_through(place.file, reading)
        return Source(one.schema, tuple(min(GROUP, one.rows - k) for k in range(0, one.rows, GROUP)), one, given)
    with readable(place.file), pq.ParquetFile(place.file, **_READING) as part:
        sizes = (part.metadata.row_group(number).num_rows for number in range(part.num_row_groups))
        return Source(part.schema_arrow, tuple(sizes), None, given)


def _field(column: str, sources: dict[Path, Source], numeric: Sequence[str]) -> pa.Field:
    """A column with the type that its values have in all parts."""
    kind, first = pa.null(), None
    for file, source in sources.items():
        places, there = source.schema.get_all_field_indices(column), source.given.get(column)
        if len(places) > 1:
            refuse_twice([column, column], f" in {file}")
        if places:
            own = source.schema.field(places[0]).type
        elif there is not None:
            own = there.type
        else:
            names = ", ".join([*source.schema.names, *source.given])
            refuse(f"column {column!r}", found=f"only {names}", expected=f"it in {file}")
        value = own.value_type if pa.types.is_dictionary(own) else own
        # Whether texts and dates are numbers, their rows say.
        if column in numeric and not (is_number(value) or pa.types.is_null(value) or _readable(value)):
            refuse(f"column {column!r}", found=f"{own} in {file}", expected="numbers")
        both = united(kind, own)
        if source.delimited and (both is None or (pa.bool_() in (kind, own) and both == pa.float64())):
            both = pa.string()  # the texts "true" and "2" have no other type in common
        if both is None:
            found = f"column {column!r} of {file}"
            refuse(found, found=own, expected=f"{kind}, as in the first part, {first}")
        if pa.types.is_null(kind) and not pa.types.is_null(both):
            first = file
        kind = both
    return pa.field(column, kind)


def _readable(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_temporal(kind)


def _runs(groups: Sequence[Group]) -> Iterator[list[Group]]:
    """Groups of one file that are read one after another; a CSV file is read once, in its order."""
    csv = {}
    for file, run in groupby(groups, lambda group: group.file):
        if is_delimited(file.name):
            csv.setdefault(file, []).extend(run)
        else:
            yield list(run)
    for run in csv.values():
        yield sorted(run)


def _pieces(source: Source, groups: Sequence[Group], schema: pa.Schema, size: int) -> Iterator[Piece]:
    file = groups[0].file
    # Without any column there would be no rows either.
    own = [name for name in schema.names if name in source.schema.names] or source.schema.names[:1]
    for group, tables in _tables(source, file, groups, own, schema, size):
        done = 0
        for table in tables:
            columns = [
                _without_gaps(table[field.name]).cast(field.type, safe=False)
                if field.name in own
                else pa.repeat(source.given[field.name], table.num_rows).cast(field.type)
                for field in schema
            ]
            yield Piece(file, group.before + done, pa.table(columns, schema=schema), group.start + done)
            done += table.num_rows


def _without_gaps(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pa.chunked_array([without_gaps(chunk) for chunk in column.chunks], column.type)


def _tables(
    source: Source, file: Path, groups: Sequence[Group], own: Sequence[str], schema: pa.Schema, size: int
) -> Iterator[tuple[Group, Iterable[pa.Table]]]:
    """Each group with its rows, at most `size` at a time."""
    if source.delimited is None:
        with readable(file), pq.ParquetFile(file, **_READING) as part:
            for group in groups:
                batches = part.iter_batches(size, row_groups=[group.number], columns=own)
                yield group, _read(file, batches)
        return
    wanted = {group.number: group for group in groups}
    texts = pa.schema([(schema if name in schema.names else source.schema).field(name) for name in own])
    for number, rows in enumerate(source.delimited.groups(texts)):
        if group := wanted.pop(number, None):
            yield group, (rows.slice(k, size) for k in range(0, rows.num_rows, size))
        if not wanted:
            return


def _read(file: Path, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    with readable(file):
        for batch in batches:
            yield pa.Table.from_batches([batch])


def write_parts(
    batches: Iterable[pa.Table], folder: Path, *, rows_per_part: int = 2**20, say: Callable[[str], None] = print
) -> None:
    """Write rows to `folder`, a new one, in parts of whole batches; it appears only when it is complete.

    Until then it is `.NAME.partial` beside it, which is gone if writing ends early. What a process that was killed has
    left there is removed.

    Args:
        batches: tables of one schema.
        folder: to be, in a folder that exists.
        rows_per_part: a part ends with the batch that reaches so many rows.
        say: told of what a process that was killed has left.

    Raises:
        InputError: `folder` exists, cannot be made or is being written by another process, before a batch is taken.
    """
    if folder.exists():
        refuse("data folder", found=f"{folder}, which exists", expected="a new one")
    partial = folder.with_name(f".{folder.name}.partial")
    with scratch_file(folder.with_name(f".{folder.name}.lock"), lambda _: None):
        if partial.exists():
            say(f"{partial}: left by a process that was killed, so it is removed")
            shutil.rmtree(partial)
        try:
            partial.mkdir()
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
