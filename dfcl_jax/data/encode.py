"""Features as numbers: one-hot categories, imputed and flagged gaps, scaling learned from training rows."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from dfcl_jax.data.tables import read_frame
from dfcl_jax.errors import refuse, shown

Scaling = Literal["standard", "minmax"]
MAX_LEVELS = 100


@dataclass(frozen=True)
class NumericColumn:
    """A number: (value - shift) / scale, `fill` where missing, and 1 in a column of its own where it was missing."""

    name: str
    fill: float
    shift: float
    scale: float
    flag_missing: bool


@dataclass(frozen=True)
class CategoryColumn:
    """A category: one column for each level; all zero where missing or unseen."""

    name: str
    levels: tuple[str, ...]


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
                names += [f"{column.name}={level}" for level in column.levels]
            else:
                names += [column.name, f"{column.name} missing"][: 1 + column.flag_missing]
        return names

    def to_json(self) -> list[dict[str, Any]]:
        """The encoder as plain data."""
        return [asdict(column) for column in self.columns]

    @staticmethod
    def from_json(data: list[dict[str, Any]]) -> "Encoder":
        """The encoder that `to_json` described."""
        return Encoder(
            tuple(
                CategoryColumn(column["name"], tuple(column["levels"]))
                if "levels" in column
                else NumericColumn(**column)
                for column in data
            )
        )


def fit_encoder(features: pd.DataFrame, training: np.ndarray, *, scaling: Scaling = "standard") -> Encoder:
    """Learn an encoder.

    Which columns are categories, their levels, and which columns have gaps is the table's form and read from all rows;
    the values to fill and to scale with come from the rows `training` alone.

    Args:
        features: [n, columns] as they came.
        training: indices of the training rows.
        scaling: "standard" (mean 0, standard deviation 1) or "minmax" (0 to 1).

    Raises:
        InputError: a column that is neither numbers nor a category of at most 100 levels, or an infinite value.
    """
    features = read_frame(features)
    return Encoder(tuple(_fit_column(features[name], training, scaling) for name in features.columns))


def _fit_column(column: pd.Series, training: np.ndarray, scaling: Scaling) -> NumericColumn | CategoryColumn:
    name = str(column.name)
    if _is_text(column):
        return CategoryColumn(name, _levels(column))
    values = _numbers(column)
    missing = np.isnan(values)
    known = values[training][~missing[training]]
    if known.size == 0:
        return NumericColumn(name, fill=0.0, shift=0.0, scale=1.0, flag_missing=bool(missing.any()))
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
    )


def _is_text(column: pd.Series) -> bool:
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind.startswith(("date", "time", "period", "interval", "complex")):
        refuse(f"feature {column.name!r}", found=f"{kind} values", expected="numbers or categories")
    return not pd.api.types.is_numeric_dtype(column)


def _levels(column: pd.Series) -> tuple[str, ...]:
    known = column.dropna().astype(str)
    numeric = pd.to_numeric(known, errors="coerce").notna()
    if numeric.any() and not numeric.all():
        row = int(numeric[~numeric].index[0])
        refuse(
            f"feature {column.name!r}, row {row + 1}",
            found=shown(column.iloc[row]),
            expected="a number, as in other rows of the column (or a category in all of them)",
        )
    levels = tuple(sorted(known.unique()))
    if len(levels) > MAX_LEVELS:
        refuse(
            f"feature {column.name!r}",
            found=f"{len(levels)} different texts",
            expected=f"numbers, or a category of at most {MAX_LEVELS} levels; leave it out of the features",
        )
    return levels


def _numbers(column: pd.Series) -> np.ndarray:
    values = column.to_numpy(np.float64, na_value=np.nan)
    infinite = np.isinf(values)
    if infinite.any():
        row = int(np.argmax(infinite))
        refuse(f"feature {column.name!r}, row {row + 1}", found=shown(values[row]), expected="a finite number or a gap")
    return values


def encode(encoder: Encoder, features: pd.DataFrame) -> np.ndarray:
    """The matrix of features, [n, d] float32.

    Raises:
        InputError: a column that the encoder knows is missing or cannot be read as it was.
    """
    features = read_frame(features, [column.name for column in encoder.columns], only_required=True)
    matrix = np.empty((len(features), len(encoder.names)), np.float32)
    at = 0
    for column in encoder.columns:
        values = features[column.name]
        if isinstance(column, CategoryColumn):
            text = values.astype(str).to_numpy()
            for level in column.levels:
                matrix[:, at] = text == level
                at += 1
            continue
        if _is_text(values):
            refuse(f"feature {column.name!r}", found="text", expected="numbers, as in the table of the model")
        numbers = _numbers(values)
        missing = np.isnan(numbers)
        matrix[:, at] = (np.where(missing, column.fill, numbers) - column.shift) / column.scale
        at += 1
        if column.flag_missing:
            matrix[:, at] = missing
            at += 1
    return matrix
