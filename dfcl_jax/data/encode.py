"""Features as numbers: one-hot categories, imputed and flagged gaps, scaling learned from training rows."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from dfcl_jax.data.features import MAX_LEVELS, as_categories
from dfcl_jax.data.frames import read_frame
from dfcl_jax.data.kinds import days, kind_of, number_of, numbers, texts
from dfcl_jax.errors import refuse, shown

Scaling = Literal["standard", "minmax"]
OTHER = "(other)"


@dataclass(frozen=True)
class NumericColumn:
    """A number: (value - shift) / scale, `fill` where missing, and 1 in a column of its own where it was missing."""

    name: str
    fill: float
    shift: float
    scale: float
    flag_missing: bool
    low: float | None = None  # range of the training rows; None: not known
    high: float | None = None
    unit: Literal["number", "day"] = "number"  # days since 1970-01-01 where the values are dates


@dataclass(frozen=True)
class CategoryColumn:
    """A category: one column for each level; all zero where missing, or unseen unless all others are pooled."""

    name: str
    levels: tuple[str, ...]
    pooled: bool = False  # one more column for all other levels


@dataclass(frozen=True)
class Encoder:
    """How a table's features become a matrix; kept with the model that was trained on it."""

    columns: tuple[NumericColumn | CategoryColumn, ...]

    @property
    def names(self) -> list[str]:
        """The names of the matrix's columns."""
        names = []
        for column in self.columns:
            if isinstance(column, CategoryColumn):
                names += [f"{column.name}={level}" for level in (*column.levels, OTHER)[: _width(column)]]
            else:
                names += [column.name, f"{column.name} missing"][: _width(column)]
        return names

    def to_json(self) -> list[dict[str, Any]]:
        """The encoder as plain data."""
        return [asdict(column) for column in self.columns]

    @staticmethod
    def from_json(data: list[dict[str, Any]]) -> "Encoder":
        """The encoder that `to_json` described; fields that an older version did not write have their defaults."""
        return Encoder(
            tuple(
                CategoryColumn(column["name"], tuple(column["levels"]), column.get("pooled", False))
                if "levels" in column
                else NumericColumn(**column)
                for column in data
            )
        )


def _width(column: NumericColumn | CategoryColumn) -> int:
    if isinstance(column, CategoryColumn):
        return len(column.levels) + column.pooled
    return 1 + column.flag_missing


def fit_encoder(
    features: pd.DataFrame,
    training: np.ndarray,
    *,
    scaling: Scaling = "standard",
    categorical: Sequence[str] = (),
) -> Encoder:
    """Learn an encoder.

    Of which kind columns are (`data.kinds`), their levels, and which columns have gaps is the table's form and read
    from all rows; the values to fill and to scale with come from the rows `training` alone. Of a category of more than
    100 levels the 99 most frequent have a column each, and all others share one.

    Args:
        features: [n, columns] as they came.
        training: indices of the training rows.
        scaling: "standard" (mean 0, standard deviation 1) or "minmax" (0 to 1).
        categorical: columns that are categories whatever their values are.

    Raises:
        InputError: a column that is neither numbers, dates nor a category, a word among numbers that hardly repeat, or
            an infinite value.
    """
    features = as_categories(read_frame(features, categorical), categorical)
    return Encoder(tuple(_fit_column(features[name], training, scaling) for name in features.columns))


def _fit_column(column: pd.Series, training: np.ndarray, scaling: Scaling) -> NumericColumn | CategoryColumn:
    name, kind = str(column.name), kind_of(column)
    if kind == "category":
        return _fit_category(column)
    values = _finite(column, numbers(column) if kind == "number" else days(column), _row)
    unit = "number" if kind == "number" else "day"
    missing = np.isnan(values)
    known = values[training][~missing[training]]
    if known.size == 0:
        return NumericColumn(name, fill=0.0, shift=0.0, scale=1.0, flag_missing=bool(missing.any()), unit=unit)
    if scaling == "standard":
        shift, scale = known.mean(), known.std()
    else:
        shift, scale = known.min(), np.ptp(known)
    return NumericColumn(
        name,
        fill=float(np.median(known)),
        shift=float(shift),
        # The standard deviation of a constant may be a rounding error.
        scale=float(scale) if np.ptp(known) > 0 else 1.0,
        flag_missing=bool(missing.any()),
        low=float(known.min()),
        high=float(known.max()),
        unit=unit,
    )


def _fit_category(column: pd.Series) -> CategoryColumn:
    counts = pd.Series(texts(column), dtype=object).value_counts()
    if not isinstance(column.dtype, pd.CategoricalDtype):
        _refuse_stray(column, counts)
    pooled = len(counts) > MAX_LEVELS
    frequent = sorted(counts.items(), key=lambda level: (-level[1], str(level[0])))[: MAX_LEVELS - pooled]
    return CategoryColumn(str(column.name), tuple(sorted(str(level) for level, _ in frequent)), pooled)


def _refuse_stray(column: pd.Series, counts: pd.Series) -> None:
    """Refuse a few words in a column of numbers, of which most are different or more than a category can have."""
    word = np.array([number_of(level) is None for level in counts.index])
    rows, different = counts[~word].sum(), (~word).sum()
    if different and counts[word].sum() < rows / 2 and (different > rows / 2 or different > MAX_LEVELS):
        row = int(np.argmax(np.isnan(numbers(column)) & column.notna().to_numpy()))
        expected = "a number, as in other rows of the column (or a category in all of them, by `categorical`)"
        refuse(f"feature {column.name!r}, row {row + 1}", found=shown(column.iloc[row]), expected=expected)


def _row(row: int) -> str:
    return f"row {row + 1}"


def _finite(column: pd.Series, values: np.ndarray, place: Callable[[int], str]) -> np.ndarray:
    infinite = np.isinf(values)
    if infinite.any():
        row = int(np.argmax(infinite))
        where = f"feature {column.name!r}, {place(row)}"
        refuse(where, found=shown(values[row]), expected="a finite number or a gap")
    return values


def read_values(column: NumericColumn, values: pd.Series, *, place: Callable[[int], str] = _row) -> np.ndarray:
    """The values of a column as numbers, [n] float64 with NaN for gaps, in the unit that the encoder knows.

    Raises:
        InputError: a value that is no number, or no date where training had dates; an infinite one. `place` says where
            a row, counted from 0, is.
    """
    found = numbers(values) if column.unit == "number" else days(values)
    odd = np.isnan(found) & values.notna().to_numpy()
    if odd.any():
        row, value = int(np.argmax(odd)), values.iloc[int(np.argmax(odd))]
        expected = "numbers" if column.unit == "number" else "dates"
        where = f"feature {column.name!r}, {place(row)}"
        refuse(
            where,
            found=f"the text {value!r}" if isinstance(value, str) else shown(value),
            expected=f"{expected}, as in the table of the model",
        )
    return _finite(values, found, place)


def encode(
    encoder: Encoder, features: pd.DataFrame, *, clip: bool = False, place: Callable[[int], str] = _row
) -> np.ndarray:
    """The matrix of features, [n, d] float32.

    Args:
        encoder: what was learned from the training rows.
        features: [n, columns] as they came; columns that the encoder does not know are passed by.
        clip: whether numbers outside the range of the training rows are moved to its ends.
        place: where a row, counted from 0, is, for messages.

    Raises:
        InputError: a column that the encoder knows is missing or cannot be read as it was.
    """
    features = read_frame(features, [column.name for column in encoder.columns], only_required=True)
    matrix = np.zeros((len(features), len(encoder.names)), np.float32)
    at = 0
    for column in encoder.columns:
        values = features[column.name]
        if isinstance(column, CategoryColumn):
            level = level_codes(column, values)
            known = np.flatnonzero(level >= 0)
            matrix[known, at + level[known]] = 1
        else:
            found = read_values(column, values, place=place)
            missing = np.isnan(found)
            if clip and column.low is not None:
                found = np.clip(found, column.low, column.high)
            matrix[:, at] = (np.where(missing, column.fill, found) - column.shift) / column.scale
            if column.flag_missing:
                matrix[:, at + 1] = missing
        at += _width(column)
    return matrix


def level_codes(column: CategoryColumn, values: pd.Series) -> np.ndarray:
    """The place of each value among the levels, [n]: after the last where others are pooled, -1 where it has none."""
    which, written = pd.factorize(texts(values))
    rest = len(column.levels) if column.pooled else -1
    place = {level: k for k, level in enumerate(column.levels)}
    return np.array([*(place.get(value, rest) for value in written), -1], np.int64)[which]
