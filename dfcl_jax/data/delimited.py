"""CSV files as spreadsheets and databases write them: encoding, separator, decimal sign and types are found out."""

import codecs
import csv
import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from dfcl_jax.data.kinds import without_gaps
from dfcl_jax.errors import InputError, refuse

# Rows that are counted, and may be read, as one row group of a Parquet file.
GROUP = 2**16
_BLOCK = 2**22  # bytes parsed at a time
_LOOKED_AT = 20  # rows that the separator is found by
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
# Where thousands are set off: 1.234.567,89 where decimals are written with a comma, 1,234,567.89 where not.
_GROUPED = {",": r"^[+-]?\d{1,3}(\.\d{3})+(,\d*)?$", ".": r"^[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?$"}
_OTHER = {",": ".", ".": ","}
# What a text must look like for its decimal sign to matter.
_SIGNED = r"^\s*[+-]?\d[\d.,]*\s*$"
# From narrow to wide: the first type that all values of a column have is its type.
_TYPES = (pa.int64(), pa.float64(), pa.bool_(), pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC"))


@dataclass(frozen=True)
class Reading:
    """How CSV files are written; what is None is found out."""

    separator: str | None = None  # the first of ",", ";", a tab and "|" by which the first rows have as many values
    # as there are names, at least two
    decimal: str | None = None  # "." or ","; the other may stand between thousands
    encoding: str | None = None  # UTF-8 or UTF-16, else cp1252 (Windows)

    def __post_init__(self) -> None:
        """Refuse what no file can be written with."""
        if self.separator is not None and len(self.separator) != 1:
            refuse("separator", found=repr(self.separator), expected="a single character, such as ';' or a tab, $'\\t'")
        if self.decimal not in (None, ".", ","):
            refuse("decimal", found=repr(self.decimal), expected="'.' or ','")
        try:
            codecs.lookup(self.encoding or "utf-8")
        except LookupError:
            refuse("encoding", found=repr(self.encoding), expected="one that Python knows, such as 'latin-1'")


class Delimited(NamedTuple):
    """A CSV file that was looked through."""

    file: Path
    encoding: str
    separator: str
    signs: dict[str, str]  # decimal sign by column, where the other may stand between thousands; else a point, no comma
    header: int  # lines of it
    schema: pa.Schema  # of all columns; one without any value is null
    rows: int

    def notes(self) -> list[str]:
        """What was found out that is not the usual."""
        notes = []
        if self.encoding not in ("utf-8", "utf-16"):
            notes.append(f"{self.file} is not UTF-8: read as {self.encoding}")
        if self.separator not in (",", "\t"):
            notes.append(f"{self.file}: columns are separated by {self.separator!r}")
        of = {sign: ", ".join(name for name, own in self.signs.items() if own == sign) for sign in _OTHER}
        if of[","]:
            notes.append(f"{self.file}: decimals are written with ',' in {of[',']}")
        if of["."]:
            notes.append(f"{self.file}: a ',' stands between thousands in {of['.']}")
        return notes

    def groups(self, schema: pa.Schema) -> Iterator[pa.Table]:
        """The columns of `schema`, in its types, `GROUP` rows at a time; the last group has what is left."""
        held = schema.empty_table()
        for block in _blocks(self.file, self.encoding, self.separator, self.schema.names, self.header, schema.names):
            columns = [_converted(block[field.name], field.type, self.signs.get(field.name)) for field in schema]
            held = pa.concat_tables([held, pa.table(columns, schema=schema)])
            while held.num_rows >= GROUP:
                yield held.slice(0, GROUP)
                held = held.slice(GROUP)
        if held.num_rows:
            yield held


def is_delimited(name: str) -> bool:
    """Whether a file of this name is a CSV file."""
    return name.lower().removesuffix(".gz").endswith((".csv", ".tsv"))


def look_through(file: Path, reading: Reading) -> Delimited:
    """Read a CSV file once, to find out how it is written, its types and how many rows it has.

    Raises:
        InputError: a file that cannot be read, or is no table; a column that is there twice.
    """
    state = file.stat()
    return _looked_through(file, reading, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4096)
def _looked_through(file: Path, reading: Reading, changed: int, size: int) -> Delimited:
    del changed, size  # of which file the result was kept for
    with readable(file):
        encoding = reading.encoding or _encoding(file)
        separator, names, header = _header(file, encoding, reading.separator)
        scan = partial(_scanned, file, encoding, separator, names, header)
        signs = dict.fromkeys(names, reading.decimal) if reading.decimal else {}
        types, rows = scan(signs)
        texts = [name for name, one in zip(names, types, strict=True) if one == pa.string()]
        if not signs and _any_signed(file, encoding, separator, names, header, texts):
            found = {sign: scan(dict.fromkeys(names, sign))[0] for sign in _OTHER}
            signs = _signs(file, names, types, found)
            types = [found[signs[name]][k] if name in signs else types[k] for k, name in enumerate(names)]
    return Delimited(file, encoding, separator, signs, header, pa.schema(list(zip(names, types, strict=True))), rows)


def _signs(
    file: Path, names: Sequence[str], plain: list[pa.DataType], found: dict[str, list[pa.DataType]]
) -> dict[str, str]:
    """The decimal sign of those columns that are not plain numbers with a point.

    A column that is numbers by one sign alone has that one. What is numbers by either, such as 1,234, is what the other
    columns have.

    Args:
        file: for messages.
        names: of the columns.
        plain: their types where numbers are written with points alone.
        found: their types by decimal sign.

    Raises:
        InputError: a column such as 1,234 where no other tells the sign.
    """
    by_sign = {sign: [one != pa.string() for one in types] for sign, types in found.items()}
    told = {sign for sign in by_sign if any(np.greater(by_sign[sign], by_sign[_OTHER[sign]]))}
    signs = {}
    for k, (name, one) in enumerate(zip(names, plain, strict=True)):
        comma, point, is_plain = by_sign[","][k], by_sign["."][k], one != pa.string()
        if comma and (not point or told == {","}):
            signs |= {name: ","} if found[","][k] != one else {}
        elif point and not is_plain:
            if comma and told != {"."}:
                expected = "the decimal sign, --decimal ',' or --decimal '.'"
                refuse(f"column {name!r} of {file}", found="numbers such as 1,234 alone", expected=expected)
            signs[name] = "."
    return signs


def _any_signed(
    file: Path, encoding: str, separator: str, names: Sequence[str], header: int, columns: Sequence[str]
) -> bool:
    """Whether any of some columns of texts begins with nothing but digits, points and commas."""
    first = next(_blocks(file, encoding, separator, names, header, columns), None) if columns else None
    if first is None:
        return False
    signed = pc.MatchSubstringOptions(_SIGNED)
    alike = [pc.call_function("match_substring_regex", [column], signed) for column in first.columns]
    return any(column.null_count < len(column) and pc.call_function("all", [column]).as_py() for column in alike)


@contextmanager
def readable(file: Path) -> Iterator[None]:
    """Refuse a file of which what is done in this context fails."""
    try:
        yield
    except InputError:
        raise
    except (ValueError, LookupError, OSError, EOFError, zlib.error, csv.Error) as error:
        reason = " ".join(str(error).split())
        refuse(f"data file {file}", found=f"unreadable ({reason})", expected="a well-formed table")


def _open(file: Path) -> BinaryIO | gzip.GzipFile:
    return gzip.open(file) if file.name.lower().endswith(".gz") else open(file, "rb")


def _encoding(file: Path) -> str:
    with _open(file) as source:
        start = source.read(4)
        for mark, encoding in _MARKS:
            if start.startswith(mark):
                return encoding
        if 0 in start:  # every other byte of plain letters
            return "utf-16-be" if start[0] == 0 else "utf-16-le"
        utf8, windows, block = codecs.getincrementaldecoder("utf-8")(), True, start
        try:
            while block:
                utf8.decode(block)
                block = source.read(_BLOCK)
            utf8.decode(b"", final=True)
            return "utf-8"
        except UnicodeDecodeError:
            pass
        while block:
            # The five bytes that cp1252 leaves free.
            windows = windows and not set(b"\x81\x8d\x8f\x90\x9d") & set(block)
            block = source.read(_BLOCK)
    return "cp1252" if windows else "latin-1"


def _header(file: Path, encoding: str, separator: str | None) -> tuple[str, list[str], int]:
    """The separator, the names of the columns and how many lines they take."""
    usual = "\t" if file.name.lower().removesuffix(".gz").endswith(".tsv") else ","
    tried = (separator,) if separator else (usual, *(one for one in ",;\t|" if one != usual))
    with _open(file) as source:
        # As spreadsheets tell each other.
        told = re.match('"?sep=(.)"?\r?\n', _decoded(source, encoding).readline())
    before, tried = (1, (str(told[1]),)) if told else (0, tried)
    found = [(one, *_first_rows(file, encoding, one, before=before)) for one in tried]
    fit = [one for one in found if len(one[1][0]) > 1 and len({*map(len, one[1])}) == 1]
    best, (names, *_), lines = next(iter(fit), next((one for one in found if len(one[1][0]) > 1), found[0]))
    if not names:
        raise ValueError("it is empty")
    # As pandas calls them.
    names = [name or f"Unnamed: {k}" for k, name in enumerate(names)]
    refuse_twice(names, f" in {file}")
    return best, names, lines


def _decoded(source: BinaryIO | gzip.GzipFile, encoding: str) -> codecs.StreamReader:
    return codecs.getreader("utf-8-sig" if encoding == "utf-8" else encoding)(source)


def _first_rows(file: Path, encoding: str, separator: str, *, before: int) -> tuple[list[list[str]], int]:
    """Their values, and after how many lines the first of them ends; one without values where the file is empty.

    The first `before` lines are none of them.
    """
    with _open(file) as source:
        reader = csv.reader(_decoded(source, encoding), delimiter=separator)
        first = next((row for row in islice(reader, before, None) if row), [])
        lines = reader.line_num
        return [first, *islice((row for row in reader if row), _LOOKED_AT)], lines


def refuse_twice(names: Sequence[str], where: str = "") -> None:
    """Refuse the first name that is there a second time."""
    if len(set(names)) < len(names):
        twice = next(name for k, name in enumerate(names) if name in names[:k])
        refuse(f"column {twice!r}", found=f"it more than once{where}", expected="different names")


def _scanned(
    file: Path, encoding: str, separator: str, names: Sequence[str], header: int, signs: dict[str, str]
) -> tuple[list[pa.DataType], int]:
    types, rows = [pa.null()] * len(names), 0
    for block in _blocks(file, encoding, separator, names, header, names):
        types = [_widened(block[name], known, signs.get(name)) for name, known in zip(names, types, strict=True)]
        rows += block.num_rows
    return types, rows


def _blocks(
    file: Path, encoding: str, separator: str, names: Sequence[str], header: int, columns: Sequence[str]
) -> Iterator[pa.Table]:
    """Rows as texts."""
    with readable(file), _open(file) as source:
        # PyArrow refuses to begin on a file without rows.
        reader = arrow_csv.open_csv(
            source,
            read_options=arrow_csv.ReadOptions(
                column_names=list(names), skip_rows=header, block_size=_BLOCK, encoding=encoding
            ),
            parse_options=arrow_csv.ParseOptions(delimiter=separator, newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                column_types={name: pa.string() for name in names}, include_columns=list(columns)
            ),
        )
        for batch in reader:
            if batch.num_rows:
                yield pa.table([without_gaps(column) for column in batch.columns], names=batch.schema.names)


def _widened(column: pa.ChunkedArray, known: pa.DataType, sign: str | None) -> pa.DataType:
    """The narrowest type, no narrower than `known`, that all the texts of a column have."""
    if column.null_count == len(column) or known == pa.string():
        return known
    wider = {pa.null(): _TYPES, pa.int64(): _TYPES[:2], pa.date32(): (pa.date32(), pa.timestamp("us"))}
    for one in wider.get(known, (known,)):
        try:
            _converted(column, one, sign)
            return one
        except pa.ArrowInvalid:
            pass
    return pa.string()


def _converted(column: pa.ChunkedArray, to: pa.DataType, sign: str | None) -> pa.ChunkedArray:
    if pa.types.is_string(to):
        return column
    if pa.types.is_null(to):
        return pa.chunked_array([pa.nulls(len(column))])
    column = pc.call_function("utf8_trim_whitespace", [column])
    if pa.types.is_boolean(to):
        column = pc.call_function("utf8_lower", [column])
        if not set(column.unique().to_pylist()) <= {"true", "false", None}:
            raise pa.ArrowInvalid("neither true nor false")
    elif sign and not pa.types.is_temporal(to):
        other = _OTHER[sign]
        signed = pc.call_function("match_substring", [column], pc.MatchSubstringOptions(other))
        as_groups = pc.call_function("match_substring_regex", [column], pc.MatchSubstringOptions(_GROUPED[sign]))
        if pc.call_function("and_not", [signed, as_groups]).unique().to_pylist().count(True):
            raise pa.ArrowInvalid("a number with another decimal sign")
        for old, new in ((other, ""), (sign, ".")):
            column = pc.call_function("replace_substring", [column], pc.ReplaceSubstringOptions(old, new))
    return column.cast(to)
