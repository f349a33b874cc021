"""Tables in memory, from a file, a folder of parts or as they are."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from dfcl_jax.data.delimited import Reading, refuse_twice
from dfcl_jax.data.kinds import gaps_as_none
from dfcl_jax.data.parts import open_parts
from dfcl_jax.errors import refuse

_PIECE = 2**18


def read_frame(
    source: str | Path | pd.DataFrame,
    required: Sequence[str] = (),
    *,
    only_required: bool = False,
    reading: Reading | None = None,
) -> pd.DataFrame:
    """A table from a CSV or Parquet file, a folder of such files, or as it is.

    Args:
        source: a path that ends in .csv or .tsv (also .gz), .parquet or .pq; a folder of parts in one of these formats,
            whose rows come in the order of the paths (`data.parts.open_parts`); or a DataFrame.
        required: columns that must be there.
        only_required: leave the other columns out.
        reading: how CSV files are written; found out if not given.

    Raises:
        InputError: no such file, an unknown ending, a file that cannot be read, parts that do not fit together, a
            missing column, one that is there twice, no rows.
    """
    return read_noted(source, required, only_required=only_required, reading=reading)[0]


def read_noted(
    source: str | Path | pd.DataFrame,
    required: Sequence[str] = (),
    *,
    only_required: bool = False,
    reading: Reading | None = None,
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """`read_frame`, and what was found out about the files that is not the usual."""
    if not isinstance(source, pd.DataFrame):
        return _read(Path(source), required, only_required, reading)
    frame = source.reset_index(drop=True).rename(columns=str)
    refuse_twice(list(frame.columns))
    frame = frame.assign(**{name: gaps_as_none(frame[name]) for name in frame if frame[name].dtype.kind == "O"})
    for column in required:
        if column not in frame.columns:
            refuse(f"column {column!r}", found=f"only {', '.join(frame.columns)}", expected="it in the table")
    if len(frame) == 0:
        refuse("table", found="no rows", expected="at least one row for each treatment")
    return (frame[list(dict.fromkeys(required))] if only_required else frame), ()


def _read(
    path: Path, required: Sequence[str], only_required: bool, reading: Reading | None
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    parts = open_parts(path, required if only_required else None, reading=reading)
    for column in required:
        if column not in parts.schema.names:
            refuse(f"column {column!r}", found=f"only {', '.join(parts.schema.names)}", expected="it in the table")
    refuse_twice(parts.schema.names, f" in {path}")
    whole = pa.concat_tables(piece.table for piece in parts.pieces(_PIECE))
    return whole.to_pandas(), parts.notes
