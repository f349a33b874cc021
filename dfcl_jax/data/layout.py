"""Where the files of a data set are: a file, or a folder of parts, also one that names columns by its folders."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import pyarrow as pa

from dfcl_jax.data.delimited import is_delimited
from dfcl_jax.data.kinds import is_text
from dfcl_jax.errors import refuse

ENDINGS = ".csv, .csv.gz, .parquet or .pq"
_NUMBERS = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)


class Place(NamedTuple):
    """A file of a data set."""

    file: Path
    given: dict[str, str | None]  # columns whose one value the folders name, as in region=north/part-0.parquet


def places(path: Path) -> list[Place]:
    """The files of a data set in the order of their paths.

    Args:
        path: a file that ends in .csv or .tsv (also .gz), .parquet or .pq, or a folder with such files of one kind,
            also in folders within. What begins with "." or "_" is passed by, but for folders such as _day=1.

    Raises:
        InputError: no such file or folder, another ending, a folder without such files, with files of both kinds, or
            whose files are not all in folders that name the same columns.
    """
    if path.is_file():
        if not (is_delimited(path.name) or _is_parquet(path.name)):
            refuse(f"data file {path}", found=f"the ending {path.suffix!r}", expected=ENDINGS)
        return [Place(path, {})]
    if not path.is_dir():
        refuse("data file", found=f"nothing at {path}", expected="a CSV or Parquet file, or a folder of them")
    files = [file for file in sorted(path.rglob("*")) if file.is_file() and not _passed_by(file.relative_to(path))]
    parquet = [file for file in files if _is_parquet(file.name)]
    delimited = [file for file in files if is_delimited(file.name)]
    if parquet and delimited:
        found = f"{parquet[0].relative_to(path)} and {delimited[0].relative_to(path)}"
        refuse(f"data folder {path}", found=found, expected="CSV files or Parquet files alone")
    if not (parquet or delimited):
        refuse(f"data folder {path}", found="no file that ends in .parquet or .pq, .csv or .csv.gz", expected="one")
    found = [Place(file, _given(file.relative_to(path))) for file in parquet or delimited]
    for place in found:
        if place.given.keys() != found[0].given.keys():
            expected = f"folders that name {', '.join(found[0].given) or 'no column'}, as those of {found[0].file}"
            refuse(
                f"data file {place.file}",
                found=f"folders that name {', '.join(place.given) or 'none'}",
                expected=expected,
            )
    return found


def united(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    """The type in which values of two types are what they were; None if there is none.

    Whole numbers of any width are int64, other numbers double, texts string, dates and times without a zone
    timestamp[us]; a column without any value is of whatever type the other is.
    """
    if a.equals(b) or pa.types.is_null(b):
        return a
    if pa.types.is_null(a):
        return b
    a, b = (kind.value_type if pa.types.is_dictionary(kind) else kind for kind in (a, b))
    if all(map(is_text, (a, b))):
        return pa.string()
    if all(map(pa.types.is_integer, (a, b))):
        return pa.float64() if pa.uint64() in (a, b) else pa.int64()
    if all(map(is_number, (a, b))):
        return pa.float64()
    if all(map(_is_time, (a, b))):
        zones = {getattr(kind, "tz", None) is None for kind in (a, b)}
        return (pa.timestamp("us") if zones == {True} else pa.timestamp("us", "UTC")) if len(zones) == 1 else None
    return None


def is_number(kind: pa.DataType) -> bool:
    """Whether values of a type are numbers, true and false among them."""
    return any(is_one(kind) for is_one in _NUMBERS)


def typed(values: Iterable[str | None]) -> pa.Array:
    """What the folders of a data set name, as numbers or dates if all of them are."""
    written = pa.array(list(values), pa.string())
    for kind in (pa.int64(), pa.float64(), pa.date32()):
        try:
            return written.cast(kind)
        except pa.ArrowInvalid:
            pass
    return written


def _is_parquet(name: str) -> bool:
    return name.lower().endswith((".parquet", ".pq"))


def _passed_by(path: Path) -> bool:
    return any(part.startswith((".", "_")) and not (part.startswith("_") and "=" in part) for part in path.parts)


def _given(path: Path) -> dict[str, str | None]:
    pairs = [folder.split("=", 1) for folder in path.parts[:-1] if "=" in folder]
    return {name: None if value == "__HIVE_DEFAULT_PARTITION__" else unquote(value) for name, value in pairs}


def _is_time(kind: pa.DataType) -> bool:
    return pa.types.is_date(kind) or pa.types.is_timestamp(kind)
