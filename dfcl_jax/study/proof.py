"""What a trial proves when every person is judged once, by models that saw neither the person nor the cluster."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
import pandas as pd
from scipy.special import stdtrit

from dfcl_jax import metrics
from dfcl_jax.data import Split
from dfcl_jax.methods import CHEAPEST
from dfcl_jax.metrics import Fold, FoldValue
from dfcl_jax.metrics.intervals import z_score
from dfcl_jax.study.comparison import Study, measured_scores, params_of, person_clusters
from dfcl_jax.types import Scores

AUTO = "auto"
LEVEL = 0.95
# A lift is told with this probability: 0.84 standard errors beside the 1.96 of the interval.
POWER_REACH = 0.84


class Proof(NamedTuple):
    """What came of it; revenue per person in the money of the data, budgets that every method can meet."""

    values: pd.DataFrame  # method, budget, revenue, low, high; budget NaN: the mean over budgets
    lifts: pd.DataFrame  # method, budget, lift, error, low, high, together_low, together_high: money above the base
    per_cent: pd.DataFrame  # the same in % of the base; NaN where the base is not clearly positive
    chosen: str  # the method that is proved better than the base by most; the base if none is
    choices: dict[int, str]  # what `auto` chose for each task, by its seed
    budgets: tuple[float, ...]
    people: int
    clusters: int | None
    folds: int
    partitions: int
    replicates: int  # of the bootstrap that errors come from; 0: from parts
    why_withheld: str  # why there are no intervals, and nothing is chosen; empty where there are


class _Judged(NamedTuple):
    """One partition: by method, its value with the parts of groups (clusters or people), and each group's fold."""

    values: dict[str, FoldValue]  # parts [K, g, b]
    fold: np.ndarray  # [g]
    draws: dict[str, np.ndarray]  # [r, K, b] of the bootstrap: each fold's part in the value; none: errors from parts


def prove(study: Study, splits: Sequence[Split], *, folds: int, replicates: int = 0) -> Proof:
    """Estimate every method's value and lift over the base from all people, with intervals.

    Each person is judged in the fold of their exam; `metrics.fold_value` says how. Over several partitions into folds
    an estimate is the median, and its squared error the median of error^2 + (estimate - median)^2 (Chernozhukov et al.,
    Double/debiased machine learning, 2018, definition 3.3).

    Intervals `low`, `high` hold for each method alone; `together_low`, `together_high` for all rivals of the base at
    once (`metrics.largest_t`). The method `chosen` is the one whose mean lift has the highest `together_low` above 0.

    The row `auto` is the value of choosing so: for every fold by the lifts on the other folds, so that nobody is judged
    by a choice that their own outcome made.

    Args:
        study: of `compare`, whose seeds are the tasks of `split_folds`.
        splits: the tasks, partition by partition.
        folds: of each partition.
        replicates: of the bootstrap by weights (`metrics.fold_statistic`) that errors come from, times the root of
            `metrics.inflation`; 0: errors from each person's part.
    """
    rivals = [name for name in study.methods if name not in (study.judge.base, CHEAPEST)]
    judged = [_judged(study, splits[at : at + folds], replicates) for at in range(0, len(splits), folds)]
    met = np.all([~np.isnan(value.revenue) for one in judged for value in one.values.values()], axis=0)
    budgets = tuple(float(b) for b, kept in zip(splits[0].task.budgets, met, strict=True) if kept)
    judged = [
        one._replace(
            values={name: _mean_too(v, met) for name, v in one.values.items()},
            draws={name: _with_mean(draws, met) for name, draws in one.draws.items()},
        )
        for one in judged
    ]
    people = sum(split.exam.test.rows for split in splits[:folds])
    critical = _critical(judged, study.judge.base, rivals)
    choices = {}
    if rivals and budgets:
        for p, one in enumerate(judged):
            chosen = _choices(one, study.judge.base, rivals, critical, people)
            choices |= {splits[p * folds + k].task.seed: name for k, name in enumerate(chosen)}
            one.values[AUTO] = _composed(one, study.judge.base, chosen)
            if one.draws:
                one.draws[AUTO] = np.stack([one.draws[each][:, k] for k, each in enumerate(chosen)], axis=1)
    at = [*budgets, np.nan] if budgets else []
    values, lifts, per_cent = [], [], []
    for name in judged[0].values if budgets else ():
        own, base = ([_estimate(one, of) for one in judged] for of in (name, study.judge.base))
        values.append(_over(name, at, own, people, folds, "revenue"))
        if name == study.judge.base:
            continue
        reach = critical if name in rivals else None
        pairs = list(zip(own, base, strict=True))
        lifts.append(_over(name, at, [_plus(v, b, -1.0) for v, b in pairs], people, folds, "lift", reach))
        per_cent.append(_over(name, at, [_ratio(v, b, people) for v, b in pairs], people, folds, "lift", reach))
    tables = tuple(_joined(rows) for rows in (values, lifts, per_cent))
    groups = person_clusters(splits[:folds])
    number = None if groups is None else len(np.unique(groups))
    why = _why_withheld(splits[:folds])
    if why:
        for table in tables:
            for end in table.filter(regex="low$|high$"):
                table[end] = np.nan
    return Proof(
        *tables,
        chosen=study.judge.base if why else _chosen(tables[1], study.judge.base, rivals),
        choices=choices,
        budgets=budgets,
        people=people,
        clusters=number,
        folds=folds,
        partitions=len(judged),
        replicates=replicates,
        why_withheld=why,
    )


def _joined(rows: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()


def _why_withheld(splits: Sequence[Split]) -> str:
    """Why there are no intervals: those that rest on hardly anybody would be narrow for no reason."""
    m = splits[0].exam.test.p.shape[-1]
    least = int(np.bincount(np.concatenate([split.exam.test.t for split in splits]), minlength=m).min())
    if least >= metrics.LEAST_PEOPLE:
        return ""
    return f"No intervals: a treatment was given to only {least} people"


def rows_needed(error: float, lift: float, people: int) -> float:
    """People of a trial that tells a lift, with probability 80%, from 0 at the level of 95%.

    n ((1.96 + 0.84) error / lift)^2, for an error that falls as 1 / sqrt(n).
    """
    return people * ((z_score(LEVEL) + POWER_REACH) * error / lift) ** 2


def _judged(study: Study, splits: Sequence[Split], replicates: int) -> _Judged:
    fold = np.repeat(np.arange(len(splits)), [split.exam.test.rows for split in splits])
    groups = person_clusters(splits)
    base = study.judge.base
    settling = [
        measured_scores(study.judge.settle, split, study.methods[base], params_of(study, base, split))
        for split in splits
    ]
    values, draws, budgets = {}, {}, np.asarray(splits[0].task.budgets)
    rows = np.arange(len(fold)) if groups is None else np.unique(groups, return_inverse=True)[1]
    for name in study.methods:
        judged = [_fold(study, splits, name, k, scores) for k, scores in enumerate(settling)]
        value = metrics.fold_value(judged, budgets)
        values[name] = value._replace(parts=metrics.by_cluster(value.parts, groups))
        if replicates:
            statistic, data = metrics.fold_statistic(judged, budgets, rows)
            # The same weights for all methods, so that differences between them are paired.
            key, number = jax.random.key(splits[0].task.seed), int(rows.max()) + 1
            draws[name] = metrics.bootstrap(statistic, data, number, key=key, replicates=replicates).draws
    # A cluster lies in one fold.
    return _Judged(values, fold if groups is None else fold[np.unique(groups, return_index=True)[1]], draws)


def _fold(study: Study, splits: Sequence[Split], name: str, k: int, scores: Scores) -> Fold:
    """The people of fold k with the predictions of its own model and of the others.

    The others see features as this fold's training rows scale them: how stable decisions are may be read from that.
    """
    method, exam = study.methods[name], splits[k].exam
    own, *others = (
        method.predict(params_of(study, name, split), exam.test.x)
        for split in (splits[k], *(other for at, other in enumerate(splits) if at != k))
    )
    return Fold(own, scores, exam.test.weight, tuple(others))


def _mean_too(value: FoldValue, met: np.ndarray) -> FoldValue:
    """The value at budgets that are met, and its mean over them last."""
    return value._replace(
        **{name: _with_mean(getattr(value, name), met) for name in ("revenue", "cost", "slope", "by_fold", "parts")}
    )


def _with_mean(of: np.ndarray, met: np.ndarray) -> np.ndarray:
    kept = of[..., met]
    return np.concatenate([kept, kept.mean(axis=-1, keepdims=True)], axis=-1) if kept.shape[-1] else kept


def _critical(judged: Sequence[_Judged], base: str, rivals: Sequence[str]) -> float:
    """Standard errors that hold the mean lifts of all rivals at once."""
    if not rivals or not len(judged[0].values[base].revenue):
        return np.nan
    parts = [
        np.stack([(one.values[name].parts - one.values[base].parts)[0, :, -1] for name in rivals], axis=1)
        for one in judged
    ]
    return metrics.largest_t(np.concatenate(parts), level=LEVEL)


def _choices(one: _Judged, base: str, rivals: Sequence[str], critical: float, people: int) -> list[str]:
    """For each fold the method that is proved best on the others; the base if none is."""
    shares, chosen = one.values[base].shares, []
    for k in range(len(shares)):
        others = one.fold != k
        share = np.where(np.arange(len(shares)) == k, 0, shares)
        best, highest = base, 0.0
        for name in rivals:
            lift = float(share @ (one.values[name].by_fold - one.values[base].by_fold)[:, -1]) / share.sum()
            parts = (one.values[name].parts - one.values[base].parts)[:, others, -1]
            error = metrics.standard_error(parts, people, folds=len(shares) - 1) / share.sum()
            if lift - critical * error > highest:
                best, highest = name, lift - critical * float(error)
        chosen.append(best)
    return chosen


def _composed(one: _Judged, base: str, chosen: Sequence[str]) -> FoldValue:
    """The value of the method that was chosen for each fold: exactly the base's where that is chosen."""
    start = one.values[base]
    by_fold = np.stack([one.values[name].by_fold[k] for k, name in enumerate(chosen)])
    parts = start.parts.copy()
    for k, name in enumerate(chosen):
        parts[:, one.fold == k] = one.values[name].parts[:, one.fold == k]
    return start._replace(
        revenue=start.revenue + start.shares @ (by_fold - start.by_fold), by_fold=by_fold, parts=parts
    )


class _Estimate(NamedTuple):
    """An estimate at b budgets, its parts, and its draws where errors are those of the bootstrap."""

    value: np.ndarray  # [b]
    parts: np.ndarray  # [K, g, b]
    draws: np.ndarray | None  # [r, b]

    def error(self, people: int, folds: int) -> np.ndarray:
        """The standard error, [b]."""
        if self.draws is None:
            return metrics.standard_error(self.parts, people, folds=folds)
        return metrics.Replicates(self.value, self.draws).error * np.sqrt(metrics.inflation(self.parts))


def _estimate(one: _Judged, name: str) -> _Estimate:
    value = one.values[name]
    return _Estimate(value.revenue, value.parts, one.draws[name].sum(axis=1) if one.draws else None)


def _plus(one: _Estimate, other: _Estimate, times: np.ndarray | float) -> _Estimate:
    """One estimate plus a multiple of another of the same people."""
    draws = None if one.draws is None or other.draws is None else one.draws + times * other.draws
    return _Estimate(one.value + times * other.value, one.parts + times * other.parts, draws)


def _ratio(value: _Estimate, base: _Estimate, people: int) -> _Estimate:
    """The lift in % of the base, its error linearised; NaN where the base is not clearly positive."""
    error = metrics.standard_error(base.parts, people)
    lift = metrics.per_cent(value.value - base.value, base.value, error)
    off = _plus(value, base, -(1 + lift / 100))
    draws = None if off.draws is None else 100 * off.draws / base.value
    return _Estimate(lift, 100 * off.parts / base.value, draws)


def _over(
    name: str,
    at: list[float],
    estimates: Sequence[_Estimate],
    people: int,
    folds: int,
    what: str,
    critical: float | None = None,
) -> pd.DataFrame:
    """Rows of a table, one for each budget and their mean: medians over partitions with intervals."""
    each = np.stack([estimate.value for estimate in estimates])
    errors = np.stack([estimate.error(people, folds) for estimate in estimates])
    middle = np.median(each, axis=0)
    error = np.sqrt(np.median(errors**2 + (each - middle) ** 2, axis=0))
    reach = stdtrit(max(estimates[0].parts.shape[1] - folds, 1), 0.5 + LEVEL / 2) * error
    columns = {
        "method": name,
        "budget": at,
        what: middle,
        "error": error,
        "low": middle - reach,
        "high": middle + reach,
    }
    if what == "lift":
        together = (np.nan if critical is None else critical) * error
        columns |= {"together_low": middle - together, "together_high": middle + together}
    return pd.DataFrame(columns)


def _chosen(lifts: pd.DataFrame, base: str, rivals: Sequence[str]) -> str:
    """The rival whose mean lift has the highest simultaneous lower end above 0; the base if none has."""
    if not len(lifts):
        return base
    mean = lifts[lifts.budget.isna() & lifts.method.isin(rivals)].set_index("method").together_low
    return str(mean.idxmax()) if len(mean) and mean.max() > 0 else base
