"""The treatments of a trial: their names, their order and their codes.

The first treatment, of code 0, is the control. The order is

1. that of `Columns.arms`, if given;
2. for values 0, 1, ..., m-1, and for false and true, that of the values;
3. for other numbers, such as discounts 0, 0.05 and 0.1, that of the values but for the control, which comes first;
4. for names, the control and then the others by their mean cost, the cheapest first.

The control is `Columns.control`, if given, and in 3 and 4 otherwise the treatment of the least mean cost. What is given
for each treatment in turn, such as propensities, needs an order that is known before the costs are seen: in 4, and
where the control leaves its place, it is refused without `Columns.arms`.
"""

from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from dfcl_jax.data.columns import Columns
from dfcl_jax.data.kinds import number_of, text_of
from dfcl_jax.errors import refuse, shown

MOST_LEVELS = 50
# A treatment with a smaller share than this, or one row, is a misspelling if its name is nearly another's.
_RARE, _ALIKE = 0.01, 0.75


class Level(NamedTuple):
    """A value of the treatment column."""

    rows: int
    cost: float  # summed
    least: float  # cost
    most: float
    first: str  # where it is met first
    shown: str  # as a message shows it


class Treatments(NamedTuple):
    """The treatments of a trial in the order of their codes."""

    arms: tuple[str, ...]  # [m] names
    counts: np.ndarray  # [m] rows
    mean_cost: np.ndarray  # [m] float64
    constant: np.ndarray  # [m] cost where it never varied, NaN elsewhere
    stated: bool  # their order was known before the costs were seen
    notes: tuple[str, ...]


def levels_of(column: pd.Series, cost: np.ndarray, *, before: int = 0, file: Path | None = None) -> dict[str, Level]:
    """The values of a treatment column with their rows and costs; rows are those of `file` that come after `before`.

    Raises:
        InputError: a value is missing or infinite.
    """
    which, values = pd.factorize(column, use_na_sentinel=False)
    values = np.asarray(values)
    order = np.argsort(which, kind="stable")
    starts = np.searchsorted(which[order], np.arange(len(values) + 1))
    levels = {}
    for k, value in enumerate(values):
        rows = order[starts[k] : starts[k + 1]]
        where = f"row {before + rows[0] + 1}" + (f" of {file}" if file else "")
        if pd.isna(value) or value in (np.inf, -np.inf):
            refuse(
                f"column {column.name!r}, {where}",
                found=shown(value),
                expected="a treatment (an empty cell, NA or null is none)",
            )
        of = cost[rows]
        one = Level(len(rows), of.sum(dtype=np.float64), of.min(), of.max(), where, shown(value))
        levels = merged(levels, {text_of(value): one})
    return levels


def merged(some: dict[str, Level], others: dict[str, Level]) -> dict[str, Level]:
    """The levels of rows and of further rows."""
    both = dict(some)
    for name, b in others.items():
        a = some.get(name)
        if a is not None:
            b = Level(a.rows + b.rows, a.cost + b.cost, min(a.least, b.least), max(a.most, b.most), a.first, a.shown)
        both[name] = b
    return both


def treatments(levels: dict[str, Level], columns: Columns) -> Treatments:
    """Put the values of a treatment column in order, as this module says.

    Raises:
        InputError: a value that is none of `columns.arms`, a control that is no value, a single treatment, one without
            rows, too many of them.
    """
    column = f"column {columns.treatment!r}"
    arms, stated = (columns.arms, True) if columns.arms else _in_order(levels, columns)
    codes = arm_codes(pd.Series(list(levels), dtype=object), arms)
    for code, level in zip(codes, levels.values(), strict=True):
        if code < 0:
            refuse(f"{column}, {level.first}", found=level.shown, expected=f"one of {', '.join(arms)}")
    by_arm: dict[str, Level] = {}
    for code, level in zip(codes, levels.values(), strict=True):
        by_arm = merged(by_arm, {arms[code]: level})
    check_arms(columns.treatment, arms, np.array([by_arm[arm].rows if arm in by_arm else 0 for arm in arms]))
    of = [by_arm[arm] for arm in arms]
    counts = np.array([level.rows for level in of])
    means = np.array([level.cost / level.rows for level in of])
    constant = np.array([level.least if level.least == level.most and level.rows > 1 else np.nan for level in of])
    if columns.arms and columns.control and arm_codes(pd.Series([columns.control], dtype=object), arms)[0] != 0:
        refuse("control", found=columns.control, expected=f"{arms[0]}, the first of the arms, or only one of the two")
    return Treatments(arms, counts, means, constant, stated, _notes(arms, counts, means))


def _in_order(levels: dict[str, Level], columns: Columns) -> tuple[tuple[str, ...], bool]:
    """The names in order, and whether that order was known before the costs were seen."""
    numbers = {name: number for name in levels if (number := number_of(name)) is not None}
    numeric = len(numbers) == len(levels)
    by_value = tuple(sorted(levels, key=lambda name: (numbers[name], name) if numeric else (0, name)))
    codes = numeric and _are_codes(sorted(numbers.values()))
    if numeric and not codes:
        _refuse_gap_code(levels, numbers, columns.treatment)
    n, m = sum(level.rows for level in levels.values()), len(levels)
    if not codes and m > 2 and m > min(MOST_LEVELS, n // 2):
        expected = f"codes from 0 to m-1, or at most {MOST_LEVELS} values, each in two rows or more on average"
        refuse(f"column {columns.treatment!r}", found=f"{m} different values in {n} rows", expected=expected)
    cost = {name: level.cost / level.rows for name, level in levels.items()}
    order = by_value if numeric else tuple(sorted(by_value, key=lambda name: cost[name]))
    control = _control(columns, order)
    if control is None:
        control = order[0] if codes else min(order, key=lambda name: cost[name])
    arms = (control, *(name for name in order if name != control))
    return arms, arms == by_value if numeric else bool(columns.control) and m == 2


def _are_codes(numbers: list[float]) -> bool:
    """Whether sorted numbers are 0, 1, ..., m-1, with m of at least 2."""
    return len(numbers) > 1 and numbers == list(range(len(numbers)))


def _refuse_gap_code(levels: dict[str, Level], numbers: dict[str, float], column: str) -> None:
    """Refuse a negative number, such as -1, beside codes: it stands for a gap."""
    least = min(numbers, key=lambda name: numbers[name])
    if numbers[least] < 0 and _are_codes(sorted(number for number in numbers.values() if number >= 0)):
        expected = "a treatment code, a whole number from 0 to m-1, or `arms` that name it"
        refuse(f"column {column!r}, {levels[least].first}", found=levels[least].shown, expected=expected)


def _control(columns: Columns, names: tuple[str, ...]) -> str | None:
    if not columns.control:
        return None
    code = arm_codes(pd.Series([columns.control], dtype=object), names)[0]
    if code < 0:
        refuse("control", found=columns.control, expected=f"one of {', '.join(names)}")
    return names[code]


def _notes(arms: tuple[str, ...], counts: np.ndarray, means: np.ndarray) -> tuple[str, ...]:
    costs = ", ".join(f"{arm} ({mean:.4g})" for arm, mean in zip(arms, means, strict=True))
    notes = [f"treatments in their order, with mean cost: {costs}; the control is {arms[0]}"]
    if means[0] > means.min():
        cheapest = int(means.argmin())
        notes.append(f"{arms[cheapest]} costs less on average than the control {arms[0]}")
    elif (means == means[0]).sum() > 1:
        same = [arm for arm, mean in zip(arms, means, strict=True) if mean == means[0]]
        notes.append(f"{' and '.join(same)} cost the same on average: say which of them is the control")
    notes += [
        f"treatment {arm} has only {count} of {counts.sum()} rows"
        for arm, count in zip(arms, counts, strict=True)
        if count < 30
    ]
    return tuple(notes)


def arm_codes(column: pd.Series, arms: tuple[str, ...]) -> np.ndarray:
    """The place of each row's treatment among `arms`, [n] int32; -1 where it is none of them.

    A value is a treatment if it is written as its name, or is the same number: 1, 1.0 and "1.0" are, and so are 0.05
    of any precision and "0.050", and True and 1.
    """
    if len(set(arms)) < len(arms):
        refuse("arms", found=", ".join(arms), expected="each treatment once")
    keys = [_key(arm) for arm in arms]
    by_key = {key: place for place, key in enumerate(keys) if keys.count(key) == 1}
    which, values = pd.factorize(column, use_na_sentinel=False)
    names = [None if pd.isna(value) else text_of(value) for value in np.asarray(values)]
    places = [arms.index(name) if name in arms else by_key.get(_key(name), -1) if name else -1 for name in names]
    return np.array(places, np.int32)[which]


def _key(name: str) -> str:
    number = number_of(name)
    return name if number is None else f"{number:.6g}"


def perhaps_meant(arms: Sequence[str], counts: np.ndarray) -> list[str]:
    """For each treatment, [m], the common one whose name that of a rare one nearly is; "" where it is none.

    Digits, which may be a dose, must be the same.
    """

    def near(one: str, other: str) -> bool:
        digits = [[c for c in text if c.isdigit()] for text in (one, other)]
        return digits[0] == digits[1] and SequenceMatcher(None, one, other).ratio() >= _ALIKE

    texts = [arm.strip().casefold() for arm in arms]
    rare, common = counts < max(_RARE * counts.sum(), 2), [int(k) for k in np.argsort(-counts)]
    return [
        next((arms[k] for k in common if rare[j] and counts[k] > 10 * counts[j] and near(texts[j], texts[k])), "")
        for j in range(len(arms))
    ]


def hinted(arms: Sequence[str], counts: np.ndarray) -> list[str]:
    """The names for a message, with what rare ones are perhaps misspelt for."""
    return [
        f"{arm!r} ({count} of {counts.sum()} rows: is it {meant!r} misspelt?)" if meant else arm
        for arm, count, meant in zip(arms, counts, perhaps_meant(arms, counts), strict=True)
    ]


def check_arms(column: str, arms: tuple[str, ...], counts: np.ndarray) -> None:
    """Refuse a single treatment, and one that none of the `counts` [m] rows has."""
    if len(arms) < 2:
        refuse(f"column {column!r}", found=f"the single treatment {', '.join(arms)}", expected="at least 2")
    if (counts == 0).any():
        empty = arms[int(np.argmin(counts))]
        refuse(f"column {column!r}", found=f"no row of treatment {empty}", expected=f"rows of all {len(arms)}")
