"""An evaluation: ready-made predictions judged on a trial, every figure with its interval."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array

from dfcl_jax import metrics
from dfcl_jax.errors import refuse
from dfcl_jax.metrics import Interval, diagnostics
from dfcl_jax.solvers import check_budgets
from dfcl_jax.types import Outcomes, Scores, Trial, num_arms


class Evaluation(NamedTuple):
    """What came of it; budget, revenue and cost per person, intervals by the bootstrap over people."""

    values: pd.DataFrame  # policy, budget, revenue, low, high, cost, lam, mixed, matched, effective_size
    differences: pd.DataFrame  # policy, budget, difference, low, high: of revenue, to the first policy, paired
    areas: pd.DataFrame  # policy, metric, value, low, high
    shares: pd.DataFrame  # treatment, count, share, design
    balance: pd.DataFrame  # feature, treatment, difference, error
    overlap: pd.DataFrame  # treatment, least_propensity, largest_weight, effective_size
    calibration: pd.DataFrame  # policy, outcome, treatment, bin, people, predicted, estimated, error
    tests: pd.DataFrame  # test, statistic, freedom, p_value: is the trial randomised as it says


def evaluate(
    key: Array,
    trial: Trial,
    policies: dict[str, Outcomes],
    settling: Scores,
    budgets: Sequence[float],
    *,
    replicates: int = 1000,
    names: Sequence[str] | None = None,
    on_batch: Callable[[int], None] = lambda done: None,
) -> Evaluation:
    """Value policies by their predictions on people of a trial that the predictions were not fitted on.

    Args:
        key: of the bootstrap.
        trial: n people.
        policies: predictions by name, [n, m] each; differences are to the first.
        settling: scores of the same people, with the level of cost in them.
        budgets: cost per person.
        replicates: of the bootstrap; all figures see the same.
        names: of the features.
        on_batch: told how many replicates are done.

    Raises:
        InputError: no policy; budgets that are none; surfaces or a trial that disagree or hold NaN.
    """
    if not policies:
        refuse("policies", found="none", expected="at least one")
    check_budgets(np.asarray(budgets))
    trial = metrics.check_trial(trial)
    shares, shares_test = diagnostics.arm_shares(trial)
    balance, balance_test = diagnostics.balance(trial, names=names)
    steps = {name: metrics.value_steps(outcomes, settling) for name, outcomes in policies.items()}
    data = (steps, {name: metrics.marginal_roi_score(outcomes) for name, outcomes in policies.items()}, trial)
    statistic = partial(_figures, tuple(map(float, budgets)), _areas_of(trial))
    boot = metrics.bootstrap(statistic, data, len(trial.t), key=key, replicates=replicates, on_batch=on_batch)
    intervals = boot.interval()
    values, differences, areas, calibration = [], [], [], []
    for name, outcomes in policies.items():
        at = metrics.eom(outcomes, settling, jnp.asarray(budgets))
        matched = diagnostics.matched(outcomes, settling, budgets)
        settled = {"cost": at.cost, "lam": at.lam, "mixed": at.mixed}
        people = {column: matched[column] for column in ("matched", "effective_size")}
        values.append(_rows(name, intervals["revenue"][name], "revenue", {"budget": budgets}, settled | people))
        if name in intervals["difference"]:
            differences.append(_rows(name, intervals["difference"][name], "difference", {"budget": budgets}))
        found = intervals["area"][name]
        stacked = Interval(*(np.array([getattr(i, part) for i in found.values()]) for part in Interval._fields))
        areas.append(_rows(name, stacked, "value", {"metric": list(found)}))
        calibration.append(diagnostics.calibration(outcomes, settling).assign(policy=name))
    nothing = pd.DataFrame(columns=["policy", "budget", "difference", "low", "high"])
    return Evaluation(
        values=pd.concat(values, ignore_index=True),
        differences=pd.concat(differences, ignore_index=True) if differences else nothing,
        areas=pd.concat(areas, ignore_index=True),
        shares=shares,
        balance=balance,
        overlap=diagnostics.overlap(trial),
        calibration=pd.concat(calibration, ignore_index=True),
        tests=pd.DataFrame([("shares", *shares_test), ("balance", *balance_test)], columns=_TEST_COLUMNS),
    )


_TEST_COLUMNS = ["test", "statistic", "freedom", "p_value"]

# (score [n, m-1], trial, weights=...) -> area
Area = Callable[..., Array]


def _areas_of(trial: Trial) -> tuple[tuple[str, Area], ...]:
    """The areas of cost and uplift curves that can be had of a trial."""
    if num_arms(trial) > 2:
        return (("MT-AUCC", metrics.mt_aucc),)
    areas = [
        ("AUCC", metrics.aucc),
        ("exact AUCC", metrics.exact_aucc),
        ("Qini (CausalML)", metrics.causalml_qini),
        ("AUUC (CausalML)", metrics.causalml_auuc),
    ]
    if bool(((trial.r == 0) | (trial.r == 1)).all()):
        areas += [("Qini (scikit-uplift)", metrics.sklift_qini), ("AUUC (scikit-uplift)", metrics.sklift_auuc)]
    return tuple((name, partial(_of_one_step, area)) for name, area in areas)


def _of_one_step(area: Area, score: Array, trial: Trial, weights: Array) -> Array:
    return area(score[:, 0], trial, weights=weights)


def _figures(budgets: tuple[float, ...], areas: tuple[tuple[str, Area], ...], data: Any, weights: Array) -> Any:
    steps, rankings, trial = data
    revenue = {name: s.at(jnp.array(budgets), weights=weights).revenue for name, s in steps.items()}
    first, *others = revenue
    area = {
        name: {f"Qini area to {max(budgets):.4g}": metrics.qini_area(s, max(budgets), weights=weights)}
        | {metric: of(rankings[name], trial, weights=weights) for metric, of in areas}
        for name, s in steps.items()
    }
    return {
        "revenue": revenue,
        "difference": {name: revenue[name] - revenue[first] for name in others},
        "area": area,
    }


def _rows(
    name: str, interval: Interval, what: str, keys: dict[str, Any], more: dict[str, Any] | None = None
) -> pd.DataFrame:
    more = jax.tree.map(np.asarray, more or {})
    ends = {what: interval.mean, "low": interval.low, "high": interval.high}
    return pd.DataFrame({"policy": name} | {key: list(v) for key, v in keys.items()} | ends | more)
