"""Features that were perhaps not known before treatment: they tell the outcome, or differ between treatments."""

from collections.abc import Iterator

import numpy as np
from scipy import stats

from dfcl_jax.data.kinds import days, kind_of, numbers, texts
from dfcl_jax.data.tables import Table

_CORRELATION = 0.99
_DETERMINATION = 0.98
_BEYOND_CHANCE = 1e-6
_BINS = 100
# Rows that a bin has on average at least: the means of bins of one row would be the outcome itself.
_ROWS_PER_BIN = 20
_LEAST_ROWS = 50


def check_leaks(table: Table, *, sample: int = 100_000) -> list[str]:
    """Sentences that name features which a trial could hardly have known before treatment.

    A feature is named if, on at most `sample` rows spread evenly over the table,

    - it tells revenue or cost almost perfectly, over all rows or within treatments: a correlation above 0.99, or means
      in up to 100 bins of it (or its levels) that leave less than 2% of the variance, R^2 = 1 - (1 - R_0^2) (n - 1) /
      (n - k) with k bins; or it is other than 0 for exactly those people whose outcome is;
    - it, or whether it is missing, differs between treatments beyond chance, p < 1e-6: by the Kruskal-Wallis test of
      its ranks, or the chi-square test of its levels. Only where propensities are the same for everybody.

    Tables of fewer than 50 rows show nothing of that kind.
    """
    n = len(table.t)
    rows = np.arange(n) if n <= sample else np.linspace(0, n - 1, sample).astype(np.int64)
    if len(rows) < _LEAST_ROWS:
        return []
    t = table.t[rows]
    outcomes = {"revenue": table.r[rows].astype(np.float64), "cost": table.c[rows].astype(np.float64)}
    said = []
    for name in table.features.columns:
        column = table.features[name].iloc[rows]
        category = kind_of(column) == "category"
        if category:
            # A gap is a level of its own.
            _, values = np.unique([text or "" for text in texts(column)], return_inverse=True)
            missing = np.zeros(len(rows), bool)
        else:
            values = days(column) if kind_of(column) == "date" else numbers(column)
            missing = np.isnan(values)
        for outcome, y in outcomes.items():
            how = next(_telling(values[~missing], y[~missing], t[~missing], category), None)
            if how is not None:
                said.append(f"feature {name!r} tells {outcome} {how}: was it known before treatment?")
        if table.p.ndim == 1:
            p = min(_difference(values[~missing], t[~missing], category), _difference(missing, t, True))
            if p < _BEYOND_CHANCE:
                beyond = f"differs between treatments far beyond chance (p = {p:.1g})"
                said.append(f"feature {name!r} {beyond}: was it known before treatment?")
    return said


def _telling(x: np.ndarray, y: np.ndarray, t: np.ndarray, category: bool) -> Iterator[str]:
    """How a feature tells an outcome almost perfectly."""
    if len(x) < _LEAST_ROWS or np.ptp(x) == 0:
        return
    everybody = np.zeros(len(t), np.int64)
    for arms, where in ((everybody, ""), (t, " within treatments")):
        total = _left(y, arms)
        # What is left of an outcome that is constant is a rounding error.
        if total <= 1e-12 * (y**2).sum():
            continue
        if not category:
            explained = 1 - _left_by_line(x, y, arms) / total
            if explained > _CORRELATION**2:
                yield f"almost perfectly{where} (correlation {np.sqrt(explained):.3f})"
        bins = x.astype(np.int64) if category else _binned(x)
        k = len(np.unique(arms * (bins.max() + 1) + bins))
        if k * _ROWS_PER_BIN <= len(y):
            explained = 1 - _left(y, arms * (bins.max() + 1) + bins) / total * (len(y) - 1) / (len(y) - k)
            if explained > _DETERMINATION:
                yield f"almost perfectly{where} (R2 {explained:.3f})"
    some = (y != 0).mean()
    if not category and 0.005 < some < 0.995 and ((x != 0) == (y != 0)).all():
        yield "whether it is 0, without a fault"


def _left(y: np.ndarray, groups: np.ndarray) -> float:
    """Sum of squares within groups."""
    _, groups = np.unique(groups, return_inverse=True)
    means = np.bincount(groups, y) / np.bincount(groups)
    return float(((y - means[groups]) ** 2).sum())


def _left_by_line(x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> float:
    """Sum of squares around a line in each group."""
    left = 0.0
    for group in np.unique(groups):
        of = groups == group
        a, b = x[of] - x[of].mean(), y[of] - y[of].mean()
        square = (a**2).sum()
        left += (b**2).sum() - ((a * b).sum() ** 2 / square if square > 0 else 0)
    return left


def _binned(x: np.ndarray) -> np.ndarray:
    different = np.unique(x)
    if len(different) <= _BINS:
        return np.searchsorted(different, x)
    return np.searchsorted(np.unique(np.quantile(x, np.linspace(0, 1, _BINS + 1)[1:-1])), x)


def _difference(x: np.ndarray, t: np.ndarray, category: bool) -> float:
    """The p value that a feature has one distribution in all treatments."""
    arms = np.unique(t)
    if len(arms) < 2 or len(x) < _LEAST_ROWS or x.min() == x.max():
        return 1.0
    if not category:
        return float(stats.kruskal(*(x[t == arm] for arm in arms)).pvalue)
    _, levels = np.unique(x, return_inverse=True)
    counts = np.zeros((len(arms), levels.max() + 1))
    np.add.at(counts, (np.searchsorted(arms, t), levels), 1)
    # Levels of which an arm can expect fewer than five rows are one.
    rare = counts.sum(axis=0) * (counts.sum(axis=1).min() / counts.sum()) < 5
    counts = np.concatenate([counts[:, ~rare], counts[:, rare].sum(axis=1, keepdims=True)], axis=1)
    counts = counts[:, counts.sum(axis=0) > 0]
    if counts.shape[1] < 2:
        return 1.0
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0, keepdims=True) / counts.sum()
    statistic = ((counts - expected) ** 2 / expected).sum()
    return float(stats.chi2.sf(statistic, (counts.shape[0] - 1) * (counts.shape[1] - 1)))
