"""What a column is: one rule of types for CSV files, Parquet files and data frames.

1. **Number**: numbers of any type (decimals, nullable integers), also written as texts; booleans and the texts `true`
   and `false` are 1 and 0; a duration is a number of days. A gap is NaN.
2. **Date**: dates and times, also as ISO 8601 texts ("2024-01-31", "2024-01-31 12:00"). A date is the number of days
   since 1970-01-01, with parts of a day; a time with a zone is taken in UTC.
3. **Category**: all other texts, also where numbers and words are mixed (36, 38, M, L), and a column of the category
   type whatever its values are. Numbers in it are written in their shortest form: 36 for 36.0.

A value is missing, too, where `MISSING` is written. A column without any value is a number with gaps. Bytes, lists,
periods and complex numbers are refused.
"""

import re
from datetime import date, timedelta
from decimal import Decimal
from numbers import Integral, Real
from typing import Any, Literal, NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from dfcl_jax.errors import refuse

Kind = Literal["number", "date", "category"]

# Written where a value is missing by spreadsheets, databases, R and pandas, or nothing but spaces. "None" is a fine
# name for a treatment.
MISSING = ("", "NA", "N/A", "#N/A", "n/a", "<NA>", "NaN", "nan", "-nan", "NaT", "NULL", "null", r"\N",
           "#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!")  # fmt: skip
_GAPS = pa.array(MISSING)

# Larger money is given in a larger unit: squares of it, added up over people, would not fit into float32.
LARGEST = 1e15
EXPECTED = f"a finite number of at most {LARGEST:.0e}"

DAY = np.timedelta64(1, "D")
_SCALARS = (str, bool, np.bool_, Real, Decimal, date, timedelta)
_TRUTHS = {"true": 1.0, "false": 0.0}
# The beginning of an ISO 8601 date; pandas alone would take "1" and "May" for dates too.
_DATE = re.compile(r"\s*\d{4}-\d{2}-\d{2}(?:[T ]\d{2}|\s*$)")


def kind_of(column: pd.Series) -> Kind:
    """The kind of a column, by the rule above.

    Raises:
        InputError: values that are of no kind.
    """
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return "category"
    if pd.api.types.is_complex_dtype(dtype) or isinstance(dtype, (pd.PeriodDtype, pd.IntervalDtype)):
        _refuse_kind(column, dtype)
    if _is_number(dtype) or dtype.kind == "m":
        return "number"
    if dtype.kind == "M" or isinstance(dtype, pd.DatetimeTZDtype):
        return "date"
    values = _different(column)
    if not np.isnan(_as_numbers(values)).any():
        return "number"
    return "category" if np.isnan(_as_days(values)).any() else "date"


def numbers(column: pd.Series) -> np.ndarray:
    """A column as numbers, [n] float64; NaN where a value is missing or no number."""
    dtype = column.dtype
    if dtype.kind == "m":
        return column.to_numpy() / DAY
    if dtype.kind == "M" or isinstance(dtype, pd.DatetimeTZDtype):
        return np.full(len(column), np.nan)
    if not isinstance(dtype, pd.CategoricalDtype) and _is_number(dtype):
        return column.to_numpy(np.float64, na_value=np.nan)
    return _of_values(column, _as_numbers)


def days(column: pd.Series) -> np.ndarray:
    """A column of dates as days since 1970-01-01, [n] float64; NaN where a value is missing or no date."""
    if column.dtype.kind == "M" or isinstance(column.dtype, pd.DatetimeTZDtype):
        return _days(column)
    return np.full(len(column), np.nan) if _is_number(column.dtype) else _of_values(column, _as_days)


def texts(column: pd.Series) -> np.ndarray:
    """A column as texts, [n] objects; None where a value is missing."""
    which, values = pd.factorize(column)
    written = np.array([text_of(value) for value in np.asarray(values)] + [None], object)
    return written[which]


def without_gaps(column: pa.Array) -> pa.Array:
    """A column, null where it is a text that says that a value is missing."""
    kind = column.type
    if not is_text(kind.value_type if pa.types.is_dictionary(kind) else kind):
        return column
    written = column.cast(pa.string())
    trimmed = pc.call_function("utf8_trim_whitespace", [written])
    gap = pc.call_function("is_in", [trimmed], pc.SetLookupOptions(_GAPS))
    if not pc.call_function("any", [gap]).as_py():
        return column
    found = pc.call_function("if_else", [gap, pa.scalar(None, pa.string()), written])
    return found.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else found.cast(kind)


def gaps_as_none(column: pd.Series) -> pd.Series:
    """As `without_gaps`, for pandas."""
    try:
        which, values = pd.factorize(column)
    except TypeError:  # values that are of no kind
        return column
    gap = np.array([isinstance(value, str) and value.strip() in MISSING for value in np.asarray(values)] + [False])
    return column.mask(gap[which]) if gap.any() else column


def is_text(kind: pa.DataType) -> bool:
    """Whether values of a type are texts."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def text_of(value: Any) -> str:
    """A value in its shortest form, the same whatever type a number came in: 36 for 36.0, True for np.True_."""
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, Integral):
        return str(int(value))
    try:
        # Decimals and float32 have fewer digits than float64.
        return f"{value:.7g}" if getattr(value, "dtype", None) == np.float32 else f"{float(value):.15g}"
    except (TypeError, ValueError):
        return str(value)


def number_of(text: str) -> float | None:
    """The finite number that a text is, or None; true is 1 and false 0."""
    number = float(_as_numbers(np.array([text], object))[0])
    return number if np.isfinite(number) else None


def date_text(day: float) -> str:
    """A number of days since 1970-01-01 as a date."""
    return str(np.datetime64(0, "D") + np.timedelta64(int(np.floor(day)), "D"))


def _is_number(dtype: Any) -> bool:
    return pd.api.types.is_bool_dtype(dtype) or pd.api.types.is_numeric_dtype(dtype)


def _different(column: pd.Series) -> np.ndarray:
    """The different values that are there, as objects."""
    known = column.dropna()
    odd = known.map(lambda value: not isinstance(value, _SCALARS))
    if odd.any():
        _refuse_kind(column, type(known[odd].iloc[0]).__name__)
    return np.asarray(pd.unique(known), object)


def _of_values(column: pd.Series, convert: Any) -> np.ndarray:
    """`convert` of each value, done once for equal ones."""
    which, values = pd.factorize(column)
    return np.append(convert(np.asarray(values, object)), np.nan)[which]


def _as_numbers(values: np.ndarray) -> np.ndarray:
    if len(values) == 0:
        return np.zeros(0)
    read = pd.to_numeric(pd.Series(values, dtype=object), errors="coerce")
    converted = read.to_numpy(np.float64, na_value=np.nan, copy=True)
    odd = np.isnan(converted)
    # Of what pandas does not read: decimals, durations, true and false.
    converted[odd] = [_odd_number(value) for value in values[odd]]
    return converted


def _odd_number(value: Any) -> float:
    if isinstance(value, str):
        return _TRUTHS.get(value.strip().lower(), np.nan)
    if hasattr(value, "total_seconds"):
        return value.total_seconds() / 86_400
    try:
        return float(value)
    except (TypeError, ValueError):
        return np.nan


def _as_days(values: np.ndarray) -> np.ndarray:
    series = pd.Series(values, dtype=object)
    dated = np.array([bool(_DATE.match(v)) if isinstance(v, str) else isinstance(v, date) for v in values], bool)
    result = np.full(len(values), np.nan)
    if dated.any():
        read = pd.to_datetime(series[dated].astype(str), errors="coerce", utc=True, format="ISO8601")
        result[dated] = _days(read)
    return result


def _days(column: pd.Series) -> np.ndarray:
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    # In whole microseconds, which NumPy divides into float64 exactly enough: a year is 3e13 of them.
    return (column.to_numpy("datetime64[us]") - np.datetime64(0, "us")) / DAY


def _refuse_kind(column: pd.Series, found: object) -> NoReturn:
    refuse(f"feature {column.name!r}", found=f"{found} values", expected="numbers, texts or dates")
