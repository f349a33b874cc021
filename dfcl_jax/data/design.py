"""What the design of a trial says: each treatment's probability, and what it costs if that is known."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from dfcl_jax.data.columns import Columns
from dfcl_jax.data.treatments import Treatments, hinted
from dfcl_jax.errors import refuse

# By how much the sum of propensities may differ from 1, as by rounding to four decimals.
_OFF = 1e-3
# A sum of float32 may differ by so much that nothing is to be mended.
_ROUNDING = 1e-6
# Below this p value the shares of a trial are doubted.
_BEYOND_CHANCE = 1e-6
# Rows of equal cost that make it known: with fewer, more than 3% of people may cost otherwise, at confidence 95%.
LEAST_EQUAL = 100


def check_propensities(
    p: np.ndarray, arms: Sequence[str], *, before: int | np.ndarray = 0, file: Path | None = None
) -> np.ndarray:
    """Propensities [m] or [n, m] as float32, once they are positive and sum to 1 within 0.001; then they sum to 1.

    Args:
        p: propensities.
        arms: [m] names.
        before: rows before the first, or the numbers of all rows from 0, for messages.
        file: which the rows are of.

    Raises:
        InputError: not m of them, one that is not positive, a sum that is not 1; by its row.
    """
    m = len(arms)
    if p.shape[-1] != m:
        refuse("propensities", found=f"{p.shape[-1]} treatments", expected=f"{m}: {', '.join(arms)}")
    rows = np.atleast_2d(p).astype(np.float64)
    total = rows.sum(axis=1)
    bad = (rows <= 0).any(axis=1) | ~(np.abs(total - 1) <= _OFF)
    if bad.any():
        row = int(np.argmax(bad))
        number = int(before[row]) if isinstance(before, np.ndarray) else before + row
        where = f"propensities, row {number + 1}" if p.ndim == 2 else "propensities"
        found = "  ".join(f"{value:.6g}" for value in rows[row])
        expected = f"positive numbers that sum to 1 (to {_OFF:g})"
        refuse(where + (f" of {file}" if file else ""), found=found, expected=expected)
    mended = np.where(np.abs(total - 1) > _ROUNDING, total, 1)[:, None]
    return (rows / mended).reshape(p.shape).astype(np.float32)


def shared_propensities(columns: Columns, given: Treatments) -> np.ndarray:
    """Propensities that are the same for everybody, [m] float32: the numbers given, or shares of the table.

    Raises:
        InputError: what `check_propensities` refuses; numbers for treatments in no stated order.
    """
    if not columns.propensities:
        return (given.counts / given.counts.sum()).astype(np.float32)
    refuse_number("propensities", columns.propensities, hinted(given.arms, given.counts))
    p = check_propensities(np.asarray(columns.propensities), given.arms)
    refuse_unstated("propensities", columns.propensities, given)
    return p


def refuse_unstated(what: str, values: Sequence[float], given: Treatments) -> None:
    """Refuse different values, one for each treatment in turn, where nobody has said which comes first."""
    if not given.stated and len(set(values)) > 1:
        found = f"{len(values)} numbers for treatments in no given order ({', '.join(given.arms)})"
        refuse(what, found=found, expected="`arms` too, which name the treatments in the order of the numbers")


def refuse_number(what: str, values: Sequence[object], arms: Sequence[str]) -> None:
    """Refuse values that are not one for each treatment; `arms` as a message names them (`treatments.hinted`)."""
    if len(values) != len(arms):
        refuse(what, found=len(values), expected=f"{len(arms)}, one for each of {', '.join(arms)}")


def in_order(what: str, columns: Sequence[str], arms: Sequence[str], *, stated: bool) -> tuple[str, ...]:
    """Columns, one for each treatment, in the order of the treatments.

    Where the order is not stated, each column must end with the name of its treatment, as p_none and p_coupon do.

    Raises:
        InputError: not one for each treatment; no order is stated and the columns' names do not tell.
    """
    if stated or len(set(columns)) == 1:
        return tuple(columns)
    longest = [max((arm for arm in arms if name.endswith(arm)), key=len, default="") for name in columns]
    if sorted(longest) != sorted(arms):
        found = f"{', '.join(columns)} for treatments in no given order ({', '.join(arms)})"
        refuse(what, found=found, expected="`arms` too, which name the treatments in the order of the columns")
    return tuple(columns[longest.index(arm)] for arm in arms)


def known_costs(columns: Columns, given: Treatments) -> tuple[np.ndarray, list[str]]:
    """What each treatment is known to cost, [m] float64 with NaN where it is to be estimated, and notes of it.

    A treatment costs what `Columns.costs` says; or, where that is not given, what all its rows cost, if they are at
    least 100. With fewer equal rows its cost is estimated, as of any other, but for a control that alone cost 0 in
    every row: to do nothing costs nothing.

    Raises:
        InputError: not one for each treatment, infinite or below 0; numbers for treatments in no stated order.
    """
    if not columns.costs:
        free = given.constant == 0
        enough = (given.counts >= LEAST_EQUAL) | (free & (np.arange(len(free)) == 0) & (free.sum() == 1))
        few = f"too few to take it as known (at least {LEAST_EQUAL}), so it is estimated"
        noted = [
            f"treatment {arm} cost {cost:.6g} in each of its {count} rows: "
            + ("its cost is taken as known" if known else few)
            for arm, cost, count, known in zip(given.arms, given.constant, given.counts, enough, strict=True)
            if not np.isnan(cost)
        ]
        return np.where(enough, given.constant, np.nan), noted
    costs = np.asarray(columns.costs, np.float64)
    refuse_number("costs", columns.costs, hinted(given.arms, given.counts))
    if np.isinf(costs).any() or (costs < 0).any():
        expected = "finite numbers of at least 0, or NaN where unknown"
        refuse("costs", found=", ".join(map(str, columns.costs)), expected=expected)
    refuse_unstated("costs", columns.costs, given)
    return costs, [
        f"treatment {arm} costs {cost:.6g} by design, {mean:.6g} on average in the table"
        for arm, cost, mean in zip(given.arms, costs, given.mean_cost, strict=True)
        if not np.isnan(cost)
    ]


def doubted_shares(given: Treatments, expected: np.ndarray) -> list[str]:
    """A sentence where rows by treatment differ from the `expected` ones, [m], far beyond chance (p < 1e-6)."""
    expected = expected * given.counts.sum() / expected.sum()
    p = float(stats.chisquare(given.counts, expected).pvalue)
    if not p < _BEYOND_CHANCE:
        return []
    rows = ", ".join(
        f"{arm} {count} for {expected:.0f}"
        for arm, count, expected in zip(given.arms, given.counts, expected, strict=True)
    )
    return [f"rows by treatment contradict the propensities (found for expected: {rows}; p = {p:.1g})"]
