"""From a trial table to checked arrays: every problem in a table is found and named here."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from dfcl_jax.data.columns import Columns
from dfcl_jax.data.delimited import Reading
from dfcl_jax.data.design import (
    check_propensities,
    doubted_shares,
    in_order,
    known_costs,
    refuse_number,
    shared_propensities,
)
from dfcl_jax.data.features import as_categories, chosen_features, feature_notes
from dfcl_jax.data.frames import read_frame, read_noted
from dfcl_jax.data.kinds import EXPECTED, LARGEST, numbers
from dfcl_jax.data.treatments import Treatments, arm_codes, hinted, levels_of, treatments
from dfcl_jax.errors import refuse, shown

__all__ = ["Columns", "Table", "finite", "read_frame", "trial_table"]


class Table(NamedTuple):
    """A checked trial whose features are still as they came; `encode` turns them into numbers."""

    features: pd.DataFrame  # [n, columns]; those that are categories by choice are of pandas' category type
    t: np.ndarray  # [n] int32
    r: np.ndarray  # [n] float32
    c: np.ndarray  # [n] float32
    p: np.ndarray  # [m] or [n, m] float32
    arms: tuple[str, ...]  # [m] names of the treatments; the first is the control
    known_costs: np.ndarray = np.zeros(0)  # [m] float64: what a treatment is known to cost, NaN where to be estimated
    notes: tuple[str, ...] = ()  # sentences of what was found out or decided here
    columns: Columns = Columns("", "revenue", "cost")  # which column was what
    order_stated: bool = True  # the order of `arms` was known before costs were seen (`data.treatments`)
    cluster: np.ndarray | None = None  # [n] int, the cluster of each row; None: every row is one
    weight: np.ndarray | None = None  # [n] float32, how many people each row stands for; None: one


def trial_table(source: str | Path | pd.DataFrame, columns: Columns, *, reading: Reading | None = None) -> Table:
    """Read and check a trial.

    Args:
        source: a file, a folder of parts or a DataFrame, as `read_frame` takes it.
        columns: which column is what.
        reading: how CSV files are written; found out if not given.

    Raises:
        InputError: what `read_frame` refuses; revenue or cost that is not a finite number; a treatment that is missing
            or none of `columns.arms`; a single treatment, one without rows, too many; propensities that are not
            positive or do not sum to 1; numbers for treatments in no stated order; a row without a cluster; a
            weight that is negative, or none above 0. The message names the column and the first row, counted from 1.
    """
    frame, read = read_noted(source, (*columns.roles, *columns.of_rows, *columns.features), reading=reading)
    names, left_out = chosen_features(frame, columns)
    r, c = finite(frame[columns.revenue]), finite(frame[columns.cost])
    given = treatments(levels_of(frame[columns.treatment], c), columns)
    p = _propensities(frame, columns, given)
    costs, costs_noted = known_costs(columns, given)
    designed = bool(columns.propensities or columns.propensity_columns)
    rows = given.counts.sum() * p.astype(np.float64) if p.ndim == 1 else p.sum(axis=0, dtype=np.float64)
    features = as_categories(frame[names], columns.categorical)
    return Table(
        features=features,
        t=arm_codes(frame[columns.treatment], given.arms),
        r=r,
        c=c,
        p=p,
        arms=given.arms,
        known_costs=costs,
        notes=(
            *given.notes,
            *costs_noted,
            *(doubted_shares(given, rows) if designed else ()),
            *read,
            *left_out,
            *feature_notes(features),
        ),
        columns=columns,
        order_stated=given.stated,
        cluster=_clusters(frame[columns.cluster]) if columns.cluster else None,
        weight=_weights(frame[columns.weight]) if columns.weight else None,
    )


def finite(column: pd.Series) -> np.ndarray:
    """A column as float32; an `InputError` names the first row that is not a finite number, at most `LARGEST`."""
    with np.errstate(over="ignore"):
        found = numbers(column).astype(np.float32)
    bad = ~(np.abs(found) <= LARGEST)
    if bad.any():
        row = int(np.argmax(bad))
        where = f"column {column.name!r}, row {row + 1}"
        refuse(where, found=shown(column.iloc[row]), expected=EXPECTED)
    return found


def _clusters(column: pd.Series) -> np.ndarray:
    gap = column.isna().to_numpy()
    if gap.any():
        where = f"column {column.name!r}, row {int(np.argmax(gap)) + 1}"
        refuse(where, found="a gap", expected="the cluster of the row")
    return pd.factorize(column)[0]


def _weights(column: pd.Series) -> np.ndarray:
    weight = finite(column)
    if (weight < 0).any():
        row = int(np.argmax(weight < 0))
        refuse(
            f"column {column.name!r}, row {row + 1}", found=shown(column.iloc[row]), expected="a weight of at least 0"
        )
    if not weight.any():
        refuse(f"column {column.name!r}", found="only zeros", expected="a weight above 0")
    return weight


def _propensities(frame: pd.DataFrame, columns: Columns, given: Treatments) -> np.ndarray:
    if not columns.propensity_columns:
        return shared_propensities(columns, given)
    refuse_number("propensities", columns.propensity_columns, hinted(given.arms, given.counts))
    names = in_order("propensities", columns.propensity_columns, given.arms, stated=given.stated)
    return check_propensities(np.stack([finite(frame[name]) for name in names], axis=1), given.arms)
