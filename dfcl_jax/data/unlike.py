"""People unlike those of a trial: unseen levels, numbers outside the range of training, gaps where it had none."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from dfcl_jax.data.encode import Encoder, NumericColumn, level_codes, read_values
from dfcl_jax.data.frames import read_frame
from dfcl_jax.data.kinds import date_text, texts

# Levels of a column that are told apart; a file may have any number of them.
_MOST_LEVELS = 1000
_MORE = "(more)"
_SHOWN = 5


class Outside(NamedTuple):
    """Numbers of a column that are not in the range of the training rows."""

    below: int  # rows
    above: int
    least: float  # where rows are below
    most: float  # where rows are above


class Unlike(NamedTuple):
    """How a table's rows differ from those of a trial; `a + b` is that of both tables' rows."""

    encoder: Encoder
    rows: int
    levels: dict[str, Counter[str]]  # by column and level: rows of a level that the encoder does not know
    outside: dict[str, Outside]  # by column
    gaps: dict[str, int]  # by column: rows without a value, where the trial's rows all had one

    def __add__(self, other: "Unlike") -> "Unlike":  # pyright: ignore[reportIncompatibleMethodOverride]
        """Of the rows of both."""
        levels = {name: _shortened(self.levels.get(name, Counter()) + count) for name, count in other.levels.items()}
        outside = {
            name: b if (a := self.outside.get(name)) is None else _both(a, b) for name, b in other.outside.items()
        }
        gaps = {name: self.gaps.get(name, 0) + rows for name, rows in other.gaps.items()}
        return Unlike(
            self.encoder,
            self.rows + other.rows,
            self.levels | levels,
            self.outside | outside,
            self.gaps | gaps,
        )

    def only(self, names: Sequence[str]) -> "Unlike":
        """Of some columns."""
        kept = ({name: part[name] for name in part if name in names} for part in (self.levels, self.outside, self.gaps))
        return Unlike(self.encoder, self.rows, *kept)

    def shares(self, *, clip: bool = False) -> dict[str, float]:
        """By column that differs, the share of rows that have an unseen level, a number outside the range or a gap.

        With `clip`, numbers outside the range do not count.
        """
        rows = Counter({name: count.total() for name, count in self.levels.items()})
        if not clip:
            rows += Counter({name: at.below + at.above for name, at in self.outside.items()})
        rows += Counter(self.gaps)
        return {name: count / self.rows for name, count in rows.items()}

    def sentences(self, *, clip: bool = False) -> list[str]:
        """What is to be said, column by column; with `clip`, numbers outside the range were moved to its ends."""
        said, n, moved = [], self.rows, ", moved to its ends" if clip else ""
        units = {column.name: column for column in self.encoder.columns if isinstance(column, NumericColumn)}
        for name, count in self.levels.items():
            most = count.most_common(_SHOWN)
            named = ", ".join(f"{level} ({rows:,})" for level, rows in most)
            rest = f" and {len(count) - _SHOWN:,} more" if len(count) > _SHOWN else ""
            have = f"{count.total():,} of {n:,} rows have a level of {name}"
            said.append(f"{have} that the model does not know: {named}{rest}")
        for name, at in self.outside.items():
            column = units[name]
            low, high, least, most = (_value(column, value) for value in (column.low, column.high, at.least, at.most))
            have = f"{at.below + at.above:,} of {n:,} rows have {name} outside {low} to {high}"
            ends = [f"down to {least}"] * (at.below > 0) + [f"up to {most}"] * (at.above > 0)
            said.append(f"{have}, the range that the model was trained on: {' and '.join(ends)}{moved}")
        for name, rows in self.gaps.items():
            said.append(f"{rows:,} of {n:,} rows have no {name}, where every row of the trial had one: filled in")
        return said


def unlike(encoder: Encoder, frame: pd.DataFrame) -> Unlike:
    """How the rows of a table, or of a part of it, differ from those that an encoder was fitted on.

    A level is unseen if it is none of the encoder's; where rare levels share a column, no level is. Gaps are counted in
    numbers whose trial had none, and in categories not at all: a gap there is all zeros, as in the trial.

    Raises:
        InputError: what `encode` refuses.
    """
    frame = read_frame(frame, [column.name for column in encoder.columns], only_required=True)
    levels, outside, gaps = {}, {}, {}
    for column in encoder.columns:
        values = frame[column.name]
        if not isinstance(column, NumericColumn):
            written = texts(values)
            unseen = written[(level_codes(column, values) < 0) & values.notna().to_numpy()]
            if len(unseen):
                levels[column.name] = _shortened(Counter(unseen.tolist()))
            continue
        found = read_values(column, values)
        missing = np.isnan(found)
        if missing.any() and not column.flag_missing:
            gaps[column.name] = int(missing.sum())
        if column.low is None or column.high is None or missing.all():
            continue
        below, above = int((found < column.low).sum()), int((found > column.high).sum())
        if below + above:
            outside[column.name] = Outside(below, above, float(np.nanmin(found)), float(np.nanmax(found)))
    return Unlike(encoder, len(frame), levels, outside, gaps)


def _both(a: Outside, b: Outside) -> Outside:
    return Outside(a.below + b.below, a.above + b.above, min(a.least, b.least), max(a.most, b.most))


def _shortened(count: Counter[str]) -> Counter[str]:
    if len(count) <= _MOST_LEVELS:
        return count
    more = count.pop(_MORE, 0)
    kept = Counter(dict(count.most_common(_MOST_LEVELS - 1)))
    kept[_MORE] = more + count.total() - kept.total()
    return kept


def _value(column: NumericColumn, value: float | None) -> str:
    if value is None:
        return "?"
    return date_text(value) if column.unit == "day" else f"{value:.6g}"
