"""From a trial table to checked arrays: every problem in a file is found and named here."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from dfcl_jax.errors import refuse, shown

# What a treatment is that has no name.
CODE = "a treatment code, a whole number from 0 to m-1"
# What a CSV may write where a value is missing.
MISSING = ["", "NA", "N/A", "#N/A", "n/a", "<NA>", "NaN", "nan", "-nan", "NULL", "null"]


@dataclass(frozen=True)
class Columns:
    """Which column of a table is what."""

    treatment: str
    revenue: str
    cost: str
    features: tuple[str, ...] = ()  # none named: every column that has no other part
    propensities: tuple[float, ...] = ()  # by treatment, the same for everybody; neither given: shares of the table
    propensity_columns: tuple[str, ...] = ()  # or one column for each treatment
    arms: tuple[str, ...] = ()  # values of the treatment column in code order; none: 0..m-1, or sorted names

    @property
    def roles(self) -> tuple[str, ...]:
        """The columns that are no features."""
        return (self.treatment, self.revenue, self.cost, *self.propensity_columns)

    def features_among(self, names: Sequence[str]) -> list[str]:
        """The features of a table with columns `names`, none of which has two parts to play."""
        for role in self.roles:
            if role in self.features:
                expected = "another column"
                refuse(f"feature {role!r}", found="the treatment, an outcome or a propensity", expected=expected)
        if self.propensities and self.propensity_columns:
            refuse("propensities", found="numbers and columns", expected="one of the two")
        features = list(dict.fromkeys(self.features)) or [name for name in names if name not in self.roles]
        if not features:
            refuse("features", found="none", expected="at least one column beside treatment, revenue and cost")
        return features


class Table(NamedTuple):
    """A checked trial whose features are still as they came; `encode` turns them into numbers."""

    features: pd.DataFrame  # [n, columns]
    t: np.ndarray  # [n] int32
    r: np.ndarray  # [n] float32
    c: np.ndarray  # [n] float32
    p: np.ndarray  # [m] or [n, m] float32
    arms: tuple[str, ...]  # [m] names of the treatments


def read_frame(
    source: str | Path | pd.DataFrame, required: Sequence[str] = (), *, only_required: bool = False
) -> pd.DataFrame:
    """A table from CSV (also gzipped), Parquet, or as it is.

    Args:
        source: a path that ends in .csv, .csv.gz, .parquet or .pq, or a DataFrame.
        required: columns that must be there.
        only_required: leave the other columns out.

    Raises:
        InputError: no such file, an unknown ending, a file that cannot be read, a missing column, no rows.
    """
    frame = source.reset_index(drop=True) if isinstance(source, pd.DataFrame) else _read_file(Path(source))
    frame = frame.rename(columns=str)
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        refuse(f"column {twice!r}", found="it more than once", expected="different names")
    for column in required:
        if column not in frame.columns:
            refuse(f"column {column!r}", found=f"only {', '.join(frame.columns)}", expected="it in the table")
    if len(frame) == 0:
        refuse("table", found="no rows", expected="at least one row for each treatment")
    return frame[list(dict.fromkeys(required))] if only_required else frame


def _read_file(path: Path) -> pd.DataFrame:
    if not path.is_file():
        refuse("data file", found=f"nothing at {path}", expected="a CSV or Parquet file")
    name = path.name.lower()
    try:
        if name.endswith((".parquet", ".pq")):
            return pd.read_parquet(path)
        if name.endswith((".csv", ".csv.gz")):
            # "None" is a fine name for a treatment.
            return pd.read_csv(path, engine="pyarrow", keep_default_na=False, na_values=MISSING)
    except (ValueError, OSError, EOFError, zlib.error) as error:
        refuse(f"data file {path}", found=f"unreadable ({error})", expected="a well-formed table")
    refuse(f"data file {path}", found=f"the ending {path.suffix!r}", expected=".csv, .csv.gz, .parquet or .pq")


def trial_table(source: str | Path | pd.DataFrame, columns: Columns) -> Table:
    """Read and check a trial.

    Raises:
        InputError: what `read_frame` refuses; revenue or cost that is not a finite number; a treatment that is none of
            `columns.arms` or of 0..m-1; an arm without rows, a single arm; propensities that are not positive or do
            not sum to 1. The message names the column and the first row, counted from 1.
    """
    frame = read_frame(source, (*columns.roles, *columns.features))
    features = columns.features_among(list(frame.columns))
    t, arms = _treatment(frame[columns.treatment], columns.arms)
    return Table(
        features=frame[features],
        t=t,
        r=finite(frame[columns.revenue]),
        c=finite(frame[columns.cost]),
        p=_propensities(frame, columns, t, arms),
        arms=arms,
    )


def finite(column: pd.Series) -> np.ndarray:
    """A column as float32; an `InputError` names the first row that is not a finite number."""
    with np.errstate(over="ignore"):
        numbers = _numbers(column).astype(np.float32)
    _refuse_first(column, ~np.isfinite(numbers), expected="a finite number (float32)")
    return numbers


def _numbers(column: pd.Series) -> np.ndarray:
    return pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)


def _refuse_first(column: pd.Series, bad: np.ndarray, *, expected: str) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        refuse(f"column {column.name!r}, row {row + 1}", found=shown(column.iloc[row]), expected=expected)


def _treatment(column: pd.Series, arms: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    numbers = _numbers(column)
    if arms:
        codes = arm_codes(column, arms)
        _refuse_first(column, codes < 0, expected=f"one of {', '.join(arms)}")
    elif np.isnan(numbers).all():
        _refuse_first(column, column.isna().to_numpy(), expected="a treatment")
        values = pd.Categorical(column.astype(str))
        codes, arms = values.codes.astype(np.int32), tuple(map(str, values.categories))
    else:
        _refuse_first(column, ~is_code(numbers), expected=CODE)
        codes = numbers.astype(np.int32)
        arms = tuple(map(str, range(codes.max() + 1)))
    check_arms(str(column.name), arms, np.bincount(codes, minlength=len(arms)))
    return codes, arms


def is_code(numbers: np.ndarray) -> np.ndarray:
    """Which numbers can be the code of a treatment."""
    return np.isfinite(numbers) & (numbers >= 0) & (numbers == np.floor(numbers)) & (numbers < 10_000)


def arm_codes(column: pd.Series, arms: tuple[str, ...]) -> np.ndarray:
    """The place of each row's treatment among `arms`, [n] int32; -1 where it is none of them."""
    if len(set(arms)) < len(arms):
        refuse("arms", found=", ".join(arms), expected="each treatment once")
    which, values = pd.factorize(column, use_na_sentinel=False)
    # 1 and 1.0 are the same treatment.
    names = [str(value) if isinstance(value, str) else f"{value:.10g}" for value in values]
    return np.array([arms.index(name) if name in arms else -1 for name in names], np.int32)[which]


def check_arms(column: str, arms: tuple[str, ...], counts: np.ndarray) -> None:
    """Refuse a single treatment, and one that none of the `counts` [m] rows has."""
    if len(arms) < 2:
        refuse(f"column {column!r}", found=f"the single treatment {', '.join(arms)}", expected="at least 2")
    if (counts == 0).any():
        empty = arms[int(np.argmin(counts))]
        refuse(f"column {column!r}", found=f"no row of treatment {empty}", expected=f"rows of all {len(arms)}")


def _propensities(frame: pd.DataFrame, columns: Columns, t: np.ndarray, arms: tuple[str, ...]) -> np.ndarray:
    if not columns.propensity_columns:
        return shared_propensities(columns, arms, np.bincount(t, minlength=len(arms)))
    return check_propensities(np.stack([finite(frame[column]) for column in columns.propensity_columns], axis=1), arms)


def shared_propensities(columns: Columns, arms: tuple[str, ...], counts: np.ndarray) -> np.ndarray:
    """Propensities that are the same for everybody, [m] float32: the numbers given, or shares of the `counts` [m]."""
    return check_propensities(np.asarray(columns.propensities or counts / counts.sum()), arms)


def check_propensities(
    p: np.ndarray, arms: tuple[str, ...], *, before: int = 0, file: Path | None = None
) -> np.ndarray:
    """Propensities [m] or [n, m] as float32, once they are positive and sum to 1; rows are those of `file`."""
    m = len(arms)
    if p.shape[-1] != m:
        refuse("propensities", found=f"{p.shape[-1]} treatments", expected=f"{m}: {', '.join(arms)}")
    rows = np.atleast_2d(p).astype(np.float64)
    bad = (rows <= 0).any(axis=1) | ~(np.abs(rows.sum(axis=1) - 1) <= 1e-4)
    if bad.any():
        row = int(np.argmax(bad))
        where = f"propensities, row {before + row + 1}" if p.ndim == 2 else "propensities"
        found = "  ".join(f"{value:.6g}" for value in rows[row])
        refuse(
            where + (f" of {file}" if file else ""), found=found, expected="positive numbers that sum to 1 (to 1e-4)"
        )
    return p.astype(np.float32)
