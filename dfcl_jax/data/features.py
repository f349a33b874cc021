"""Which columns of a table are features, and what is to be said of them."""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from dfcl_jax.data.columns import Columns
from dfcl_jax.data.kinds import kind_of, numbers, texts

# What saved indices are called.
_INDEX = re.compile(r"Unnamed: \d+|__index_level_\d+__")
# Texts that are meant as numbers or dates, but written in no way that says which.
_AS_NUMBERS = re.compile(r"[+-]?\s*[^\w\s]?\s*[+-]?\d[\d.,' \u00a0\u202f]*([^\w\s]|[A-Za-z]{3})?")
_AS_DATES = re.compile(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}(\s.*)?")
_COPY = re.compile(r"(.+)\.\d+")
MAX_LEVELS = 100


def chosen_features(
    frame: pd.DataFrame, columns: Columns, rows: np.ndarray | None = None
) -> tuple[list[str], list[str]]:
    """The features of a table, and notes of those that were left out or are odd.

    Unless `columns` names the features, an index that was saved with the table is left out (`Unnamed: 0`,
    `__index_level_0__`, whole numbers that count the rows from 0 or 1), as long as another feature is there, and so is
    a copy of another column, as pandas makes `sales.1` of a second `sales`.

    Args:
        frame: the table, or some of its rows.
        columns: which column is what.
        rows: numbers of the rows in the whole table, [n] from 0; 0 to n-1 if not given.
    """
    features = columns.features_among(list(frame.columns))
    rows = np.arange(len(frame)) if rows is None else rows
    index = [name for name in features if _INDEX.fullmatch(name) or _counts(frame[name], rows)]
    copies = {name: original for name in features if (original := _original(frame, name))}
    if columns.features:
        notes = [f"feature {name!r} counts the rows" for name in index]
        notes += [f"feature {name!r} is a copy of {original!r}" for name, original in copies.items()]
        return features, notes
    kept = [name for name in features if name not in index and name not in copies]
    # A number that counts the rows by chance is better than no feature.
    kept = kept or [name for name in features if not _INDEX.fullmatch(name) and name not in copies] or features
    notes = [f"column {name!r} is an index of the rows: left out" for name in index if name not in kept]
    notes += [f"column {name!r} is a copy of {of!r}: left out" for name, of in copies.items() if name not in kept]
    return kept, notes


def as_categories(features: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The features with the columns `names` as categories, whatever their values are."""
    return features.assign(**{name: pd.Categorical(texts(features[name])) for name in names})


def feature_notes(features: pd.DataFrame) -> list[str]:
    """What is to be said of features: constants, dates, numbers among words, categories of many levels."""
    notes = []
    for name in features.columns:
        column = features[name]
        kind = kind_of(column)
        if kind == "date":
            notes.append(f"feature {name!r} has dates: taken as numbers of days")
        if kind == "category":
            levels = pd.unique(texts(column.dropna()))
            mixed = pd.to_numeric(pd.Series(levels, dtype=object), errors="coerce").notna()
            if not isinstance(column.dtype, pd.CategoricalDtype) and mixed.any() and not mixed.all():
                words = ", ".join(map(repr, sorted(levels[~mixed])[:3]))
                notes.append(f"feature {name!r} has numbers and words ({words}): taken as a category")
            written = [text.strip() for text in levels[~mixed]]
            for what, pattern in (("dates", _AS_DATES), ("numbers", _AS_NUMBERS)):
                if written and all(map(pattern.fullmatch, written)):
                    notes.append(f"feature {name!r} has {what} written as {written[0]!r}: taken as texts")
                    break
            if len(levels) > MAX_LEVELS:
                kept = MAX_LEVELS - 1
                notes.append(f"feature {name!r} has {len(levels)} levels: all but the {kept} most frequent are one")
        known = column.dropna()
        if len(column) > 1 and (len(known) == 0 or (known == known.iloc[0]).all()):
            value = f"is {known.iloc[0]} in every row that has it" if len(known) else "has no value at all"
            notes.append(f"feature {name!r} {value}")
    return notes


def _counts(column: pd.Series, rows: np.ndarray) -> bool:
    if len(column) < 3 or not pd.api.types.is_integer_dtype(column.dtype) or column.hasnans:
        return False
    values = column.to_numpy(np.int64)
    return bool(values[0] - rows[0] in (0, 1) and (values - rows == values[0] - rows[0]).all())


def _original(frame: pd.DataFrame, name: str) -> str | None:
    """The column that `name` is a copy of."""
    named = _COPY.fullmatch(name)
    if named is None or named[1] not in frame.columns:
        return None
    one, other = frame[named[1]], frame[name]
    if pd.api.types.is_numeric_dtype(one.dtype) and pd.api.types.is_numeric_dtype(other.dtype):
        return named[1] if np.array_equal(numbers(one), numbers(other), equal_nan=True) else None
    return named[1] if one.equals(other) else None
