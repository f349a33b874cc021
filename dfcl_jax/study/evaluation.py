"""An evaluation: ready-made predictions judged on a trial, every figure with its interval."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array

from dfcl_jax import metrics, scores
from dfcl_jax.errors import refuse
from dfcl_jax.metrics import Interval, diagnostics
from dfcl_jax.solvers import check_budgets
from dfcl_jax.types import Outcomes, Scores, Trial, mean_of_people, num_arms


class Evaluation(NamedTuple):
    """What came of it; budget, revenue and cost per person, intervals by the bootstrap over people."""

    values: pd.DataFrame  # policy, budget, revenue, low, high, cost, lam, mixed, matched, effective_size
    differences: pd.DataFrame  # policy, budget, difference, low, high: of revenue, to the first policy, paired
    areas: pd.DataFrame  # policy, metric, value, low, high
    shares: pd.DataFrame  # treatment, count, share, design
    balance: pd.DataFrame  # feature, treatment, difference, error
    overlap: pd.DataFrame  # treatment, least_propensity, largest_weight, effective_size
    calibration: pd.DataFrame  # policy, outcome, treatment, bin, people, predicted, estimated, error
    quality: pd.DataFrame  # policy, mse_r, mse_c, logloss_r, logloss_c
    tests: pd.DataFrame  # test, statistic, freedom, p_value: is the trial randomised as it says
    rests: pd.DataFrame  # policy, budget, treatment, share, matched, effective_size, conversions, expected
    doubts: tuple[str, ...]  # what makes the figures doubtful, a sentence each


def evaluate(
    key: Array,
    trial: Trial,
    policies: dict[str, Outcomes],
    settling: Scores,
    budgets: Sequence[float],
    *,
    replicates: int = 1000,
    names: Sequence[str] | None = None,
    arms: Sequence[str] | None = None,
    given_propensities: bool = True,
    doubts: Sequence[str] | None = None,
    on_batch: Callable[[int], None] = lambda done: None,
) -> Evaluation:
    """Value policies by their predictions on people of a trial that the predictions were not fitted on.

    Args:
        key: of the bootstrap.
        trial: n people. Rows count by their weights, in values, areas, calibration and quality; the tests of the design
            and of balance take them alike. Clusters are drawn whole.
        policies: predictions by name, [n, m] each; differences are to the first.
        settling: scores of the same people, with the level of cost in them.
        budgets: cost per person.
        replicates: of the bootstrap; all figures see the same.
        names: of the features.
        arms: names of the treatments; their codes if not given.
        given_propensities: whether the design names them; those estimated from the trial cannot disagree with it.
        doubts: sentences about the trial; those of `metrics.doubts` if not given.
        on_batch: told how many replicates are done.

    Raises:
        InputError: no policy; budgets that are none; surfaces or a trial that disagree or hold NaN.
    """
    if not policies:
        refuse("policies", found="none", expected="at least one")
    check_budgets(np.asarray(budgets))
    trial = metrics.check_trial(trial)
    arms = [str(j) for j in range(num_arms(trial))] if arms is None else list(arms)
    shares, shares_test = diagnostics.arm_shares(trial, given_propensities=given_propensities)
    balance, balance_test = diagnostics.balance(trial, names=names)
    at = np.asarray(budgets, np.float64)
    # Lists, for a dictionary would come back from the bootstrap in the order of its names.
    steps = [metrics.value_steps(predicted, settling) for predicted in policies.values()]
    rankings = [metrics.marginal_roi_score(predicted) for predicted in policies.values()]
    people = jnp.ones(trial.rows) if trial.weight is None else trial.weight
    rows = np.arange(trial.rows) if trial.cluster is None else np.unique(trial.cluster, return_inverse=True)[1]
    data = (jnp.asarray(at, steps[0].lam.dtype), steps, rankings, trial, people, jnp.asarray(rows))
    areas, why_no_area = _areas_of(trial, settling, arms)
    boot = metrics.bootstrap(
        _figures(tuple(area for _, area in areas)),
        data,
        int(rows.max()) + 1,
        key=key,
        replicates=replicates,
        on_batch=on_batch,
    )
    revenue, difference, area = boot.interval()
    counted = scores.weighed(settling, trial.weight)
    nothing = pd.DataFrame(columns=["policy", "budget", "difference", "low", "high"])
    metric = [f"Qini area to {at.max():.4g}", *(name for name, _ in areas)]
    values, rests, hidden = [], [], []
    if doubts is None:
        doubts = metrics.doubts(trial, arms, names=names, given_propensities=given_propensities)
    sentences = list(doubts)
    for policy, predicted, of, interval in zip(policies, policies.values(), steps, revenue, strict=True):
        settled = of.at(at, weights=trial.weight)
        found = metrics.rests_on(predicted, counted, settled.rule, revenue=trial.r)
        why = metrics.why_withheld(found, arms)
        # An interval that rests on hardly anybody would be narrow for no reason.
        hidden.append(np.array([reason is not None for reason in why]))
        interval = _withheld(_above(interval, metrics.at_least(trial)[1]), hidden[-1])
        sentences += [
            f"{policy} at budget {budget:.6g}: {reason}" for budget, reason in zip(at, why, strict=True) if reason
        ]
        rests.append(found.assign(budget=at[found.budget]))
        matched = diagnostics.matched(predicted, counted, settled.lam)
        point = pd.DataFrame({part: np.asarray(getattr(settled, part)) for part in ("cost", "lam", "mixed")})
        values.append(pd.concat([_rows(interval, "revenue", budget=at), point, matched], axis=1))
    differences = [
        _rows(_withheld(interval, hidden[0] | rival), "difference", budget=at)
        for interval, rival in zip(difference, hidden[1:], strict=True)
    ]
    # An area rests on the whole of every treatment.
    if (why := metrics.why_areas_withheld(trial, arms)) is not None:
        area = [_withheld(interval, np.ones(len(metric), bool)) for interval in area]
        sentences.append(why)
    # Two people at least in each.
    bins = min(10, len(trial.t) // 2)
    calibrated = [diagnostics.calibration(o, settling, bins=bins, weights=trial.weight) for o in policies.values()]
    return Evaluation(
        values=_by_policy(policies, values),
        differences=_by_policy(list(policies)[1:], differences) if differences else nothing,
        areas=_by_policy(policies, [_rows(i, "value", metric=metric) for i in area]),
        shares=shares,
        balance=balance,
        overlap=diagnostics.overlap(trial),
        calibration=_by_policy(policies, calibrated),
        quality=pd.DataFrame(
            [{"policy": p} | diagnostics.prediction_quality(o, trial)._asdict() for p, o in policies.items()]
        ),
        tests=pd.DataFrame([("shares", *shares_test), ("balance", *balance_test)], columns=_TEST_COLUMNS),
        rests=_by_policy(policies, rests),
        doubts=(*sentences, *why_no_area),
    )


def _above(interval: Interval, least: float) -> Interval:
    """The interval without what lies below any value there can be."""
    return interval._replace(low=np.maximum(interval.low, least), high=np.maximum(interval.high, least))


def _withheld(interval: Interval, withheld: np.ndarray) -> Interval:
    low, high = (np.where(withheld, np.nan, np.asarray(end)) for end in (interval.low, interval.high))
    return interval._replace(low=low, high=high)


_TEST_COLUMNS = ["test", "statistic", "freedom", "p_value"]

# (score [n, m-1], trial, weights=...) -> area
Area = Callable[..., Array]


def _areas_of(trial: Trial, settling: Scores, arms: Sequence[str]) -> tuple[tuple[tuple[str, Area], ...], list[str]]:
    """The areas of cost and uplift curves that can be had of a trial, by name, and why others cannot."""
    if trial.p.ndim == 2:
        why = "they take every person of a treatment alike, but propensities differ between people."
        return (), [f"No areas under cost and uplift curves: {why}"]
    if num_arms(trial) > 2:
        mean = np.asarray(mean_of_people(settling.c, trial.weight))
        if not (np.diff(mean) > 0).all():
            costs = ", ".join(f"{arm} ({cost:.4g})" for arm, cost in zip(arms, mean, strict=True))
            return (), [f"MT-AUCC is not defined: mean cost does not rise from each treatment to the next, {costs}."]
        return (("MT-AUCC", metrics.mt_aucc),), _why_undefined(trial, [("MT-AUCC", metrics.mt_aucc)], arms)
    areas = [
        ("AUCC", metrics.aucc),
        ("exact AUCC", metrics.exact_aucc),
        ("Qini (CausalML)", metrics.causalml_qini),
        ("AUUC (CausalML)", metrics.causalml_auuc),
    ]
    if bool(((trial.r == 0) | (trial.r == 1)).all()):
        areas += [("Qini (scikit-uplift)", metrics.sklift_qini), ("AUUC (scikit-uplift)", metrics.sklift_auuc)]
    return tuple(areas), _why_undefined(trial, areas, arms)


def _why_undefined(trial: Trial, areas: Sequence[tuple[str, Area]], arms: Sequence[str]) -> list[str]:
    """A sentence for each reason why areas are not defined."""
    names: dict[str, list[str]] = {}
    for name, area in areas:
        why = metrics.why_undefined(trial, area, arms=arms)
        if why is not None:
            names.setdefault(why, []).append(name)
    return [f"Not defined here: {', '.join(of)}. {why}" for why, of in names.items()]


@cache
def _figures(areas: tuple[Area, ...]) -> metrics.Statistic:
    """Revenue of each policy, its difference to the first, and its areas: one program for all budgets."""

    def figures(data: Any, weights: Array) -> Any:
        budgets, steps, rankings, trial, people, rows = data
        weights = people * weights[rows]
        revenue = [each.at(budgets, weights=weights).revenue for each in steps]
        area = []
        for each, ranking in zip(steps, rankings, strict=True):
            score = ranking[:, 0] if num_arms(trial) == 2 else ranking
            own = [area_of(score, trial, weights=weights) for area_of in areas]
            area.append(jnp.stack([metrics.qini_area(each, budgets.max(), weights=weights), *own]))
        return revenue, [value - revenue[0] for value in revenue[1:]], area

    return figures


def _rows(interval: Interval, what: str, **keys: Any) -> pd.DataFrame:
    return pd.DataFrame(keys | {what: interval.mean, "low": interval.low, "high": interval.high})


def _by_policy(policies: Iterable[str], tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The policies' tables below one another, with the name of the policy in front."""
    named = [table.assign(policy=p)[["policy", *table]] for p, table in zip(policies, tables, strict=True)]
    return pd.concat(named, ignore_index=True)
