"""Tables of text for a terminal: nothing is cut, whatever its width, and names are printed as they are."""

import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from dfcl_jax.errors import literal

PADDING = 1
# What numbers begin with.
_NUMBER = tuple("0123456789.+-")
# Where a table is measured: wider than any.
_WIDE = Console(width=100_000, file=io.StringIO())


def say(console: Console, sentence: str, *, wrap: bool = False) -> None:
    """Print a sentence as it is, whatever brackets and colons it has; lines are broken by the terminal or by words."""
    console.print(literal(sentence), markup=False, highlight=False, emoji=False, soft_wrap=not wrap)


def show(console: Console, tables: Sequence[Table]) -> None:
    """Print tables; lines of one that is wider than the terminal at its narrowest are left to the terminal to break."""
    for table in tables:
        console.print(table, crop=False)


def number(value: object, digits: int = 4) -> str:
    """A number to so many significant digits, never in scientific notation; other values as they are."""
    if isinstance(value, bool | str) or not isinstance(value, int | float | np.number):
        return str(value)
    if np.isnan(value):
        return "-"
    if np.isinf(value) or isinstance(value, int | np.integer):
        return f"{value}"
    size = int(np.floor(np.log10(abs(value)))) if value else 0
    # Small shares need no more places than a reader can use; small money needs two digits, down to rounding errors.
    places = min(max(digits - 1 - size, 0), max(6, min(1 - size, 8))) if value else 0
    text = f"{value:z.{places}f}"  # z: what rounds to 0 has no sign
    return text.rstrip("0").rstrip(".") if "." in text else text


def per_cent(share: float) -> str:
    """A share in per cent, to one place."""
    return f"{100 * share:.1f} %"


def plus_minus(mean: float, high: float) -> str:
    """A difference with half its interval, such as "+1.20 ±0.30"."""
    return f"{mean:+.2f} ±{high - mean:.2f}"


def with_interval(value: float, low: float, high: float) -> str:
    """A value with its interval, or with a sign that the interval is withheld (NaN); "-" where there is no value."""
    if np.isnan(value):
        return number(value)
    ends = "withheld" if np.isnan(low) else f"{number(low)}, {number(high)}"
    return f"{number(value)} [{ends}]"


def terminal_tables(headers: Sequence[str], rows: Sequence[Sequence[str]], *, width: int) -> list[Table]:
    """One table where it fits the width, turned on its side where that fits, several of some columns each otherwise."""
    if _natural_width(headers, rows) <= width:
        return [_table(headers, rows)]
    turned = [list(column) for column in zip(headers, *rows, strict=True)]
    first, others = turned[0], turned[1:]
    if _natural_width(first, others) <= width:
        return [_table(first, others)]
    tables, at = [], 1
    while at < len(headers):
        end = at + 1
        while end < len(headers) and _natural_width(*_columns(headers, rows, at, end + 1)) <= width:
            end += 1
        narrow = _columns(headers, rows, at, end)
        tables.append(_table(*narrow))
        if (least := _least_width(*narrow)) > width:
            tables[-1].width = least
        at = end
    return tables


def frame_tables(frame: pd.DataFrame, *, width: int, digits: int = 4) -> list[Table]:
    """A data frame as `terminal_tables`."""
    rows = [[number(value, digits) for value in row] for row in frame.itertuples(index=False)]
    return terminal_tables(list(map(str, frame.columns)), rows, width=width)


def _columns(
    headers: Sequence[str], rows: Sequence[Sequence[str]], at: int, end: int
) -> tuple[list[str], list[list[str]]]:
    """The first column, and those from `at` to `end`."""
    return [headers[0], *headers[at:end]], [[row[0], *row[at:end]] for row in rows]


def _natural_width(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    return Measurement.get(_WIDE, _WIDE.options, _table(headers, rows)).maximum


def _least_width(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """The width at which names are broken as far as they can be between words, and numbers are not."""
    words = [max(line[0].split(), key=len, default="") for line in (headers, *rows)]
    return _natural_width(
        [words[0], *headers[1:]], [[word, *row[1:]] for word, row in zip(words[1:], rows, strict=True)]
    )


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, PADDING, 0, 0))
    for k, header in enumerate(headers):
        # Names may break over lines; numbers may not.
        whole = k > 0 or all(row[0][:1] in _NUMBER for row in rows)
        table.add_column(Text(literal(header)), justify="right" if k else "left", no_wrap=whole, overflow="fold")
    for row in rows:
        table.add_row(*(Text(literal(cell)) for cell in row))
    return table


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Headers and rows as a Markdown table."""
    lines = (headers, ["---"] * len(headers), *rows)
    return "".join(f"| {' | '.join(literal(cell).replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
