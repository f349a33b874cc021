"""A study: every method learns from the same tasks and is judged by the same exams."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array

from dfcl_jax import metrics, scores
from dfcl_jax.data import Split
from dfcl_jax.errors import Diverged, refuse
from dfcl_jax.losses import prediction_loss
from dfcl_jax.methods import TWO_STAGE, Method
from dfcl_jax.methods.gradient import mean_size
from dfcl_jax.methods.judged import cost_curve_area, dearer_last
from dfcl_jax.methods.method import check_weighs
from dfcl_jax.models import Params
from dfcl_jax.solvers import check_budgets
from dfcl_jax.study.cells import Cell, Cells
from dfcl_jax.types import Outcomes, Scores, Units, in_units, of_mean_weight

ORACLE = "oracle"

Settle = Literal["aipw", "ipw"]
Loss = Literal["squares", "cross_entropy"]


class Judge(NamedTuple):
    """How policies are judged."""

    settle: Settle = "aipw"  # what settles a policy's value where the truth is not known
    loss: Loss = "squares"  # the prediction loss that is reported
    base: str = TWO_STAGE  # the method that lifts are over, and whose predictions doubly robust scores rest on


class Study(NamedTuple):
    """What came of it; budget, revenue and cost per person in the money of the data."""

    values: pd.DataFrame  # seed, method, budget, revenue, cost, lam, mixed: on the test part
    quality: (
        pd.DataFrame
    )  # seed, method, prediction_loss and, with two treatments, aucc, the oracle's too: of the test part
    history: pd.DataFrame  # method, seed, stage, epoch, loss, value
    methods: dict[str, Method]
    cells: dict[str, list[Cell]]  # by method, one for each seed
    judge: Judge
    settled_by: str  # "truth", "aipw" or "ipw"
    test_share: float  # of `metrics.paired_interval`
    diverged: tuple[str, ...] = ()  # methods that are left out, as their training diverged


def compare(
    key: Array,
    splits: Sequence[Split],
    methods: dict[str, Method],
    *,
    judge: Judge = Judge(),  # noqa: B008  an immutable tuple
    cells: Cells | None = None,
    skip_diverged: bool = False,
) -> Study:
    """Fit every method on every task and value its policies on the exams.

    Args:
        key: initial parameters and the order of batches; the same for all, seeds differ by their number.
        splits: one for each seed.
        methods: by name, the base among them.
        judge: how they are judged.
        cells: where what is trained is kept; in memory if not given.
        skip_diverged: whether a method whose training diverges is left out, so that the others are still compared.

    Raises:
        InputError: bad budgets, none, or one twice; no base; weights of rows for a
            method that takes rows alike; what a method refuses.
        Diverged: the training loss of the base is not finite, or that of another method without `skip_diverged`.
    """
    check_tasks(splits)
    if judge.base not in methods:
        refuse("methods", found=", ".join(methods) or "none", expected=f"{judge.base} among them")
    cells = cells or Cells()
    tasks = [split.task for split in splits]
    for name, method in methods.items():
        check_weighs(method, tasks, name)
    # The base comes first: others may be settled by its predictions.
    order = dict.fromkeys([judge.base, *methods])
    trained: dict[str, list[Cell]] = {}
    settling: list[Scores] = []
    for name in order:
        method = methods[name]
        try:
            trained[name] = cells.train(name, method, key, tasks)
        except Diverged as why:
            if not skip_diverged or name == judge.base:
                raise
            cells.say(f"{name} is left out: {why}")
            continue
        if name == judge.base:
            params = [cell.params for cell in trained[name]]
            settling = [
                settling_scores(judge.settle, split, method, p) for split, p in zip(splits, params, strict=True)
            ]
        for k, (cell, split) in enumerate(zip(trained[name], splits, strict=True)):
            if cell.values is None:
                values = examine(method.predict(cell.params, split.exam.test.x), split, settling[k], judge.loss)
                trained[name][k] = cells.keep_values(cell, values)
    return _study(methods, trained, splits, settling, judge)


def check_tasks(splits: Sequence[Split]) -> None:
    """Refuse bad budgets, none, or one twice."""
    for split in splits:
        budgets = split.task.budgets
        check_budgets(np.asarray(budgets))
        if len(budgets) == 0 or len(set(budgets)) < len(budgets):
            refuse("budgets", found=", ".join(map(str, budgets)) or "none", expected="at least one, each different")


def settling_scores(settle: Settle, split: Split, base: Method, params: Params) -> Scores:
    """What settles a policy's value on people that no model was fitted on: the truth where it is known."""
    if split.exam.truth is not None:
        return scores.truth(split.exam.truth)
    return measured_scores(settle, split, base, params)


def measured_scores(settle: Settle, split: Split, base: Method, params: Params) -> Scores:
    """What a trial says of every treatment, doubly robust by the base's predictions or by propensities alone.

    Costs that are known by design need no estimate.
    """
    test = split.exam.test
    surfaces = scores.aipw(test, base.predict(params, test.x)) if settle == "aipw" else scores.ipw(test)
    return scores.known_costs(surfaces, np.asarray(split.task.costs))


def params_of(study: Study, name: str, split: Split) -> Params:
    """What a method learned on a split's task."""
    return next(cell.params for cell in study.cells[name] if cell.seed == split.task.seed)


def person_clusters(splits: Sequence[Split]) -> np.ndarray | None:
    """The cluster of each person, in the order of the folds, of which a cluster is in one; None: everybody alone."""
    groups, first = [], 0
    for split in splits:
        if split.exam.test.cluster is None:
            return None
        own = np.asarray(split.exam.test.cluster)
        groups.append(first + own)
        first += int(own.max()) + 1
    return np.concatenate(groups)


def examine(outcomes: Outcomes, split: Split, settling: Scores, loss: Loss) -> pd.DataFrame:
    """Value and quality of one policy: a row for each budget, with columns as in `Study`."""
    budgets, test = split.task.budgets, split.exam.test
    value = metrics.eom(outcomes, settling, np.asarray(budgets, settling.c.dtype), weights=test.weight)
    columns: dict[str, Any] = {
        name: np.asarray(getattr(value, name), np.float64) for name in ("revenue", "cost", "lam", "mixed")
    }
    sizes = (1.0 if loss == "cross_entropy" else mean_size(y, test.weight) for y in (test.r, test.c))
    units = Units(*map(jnp.asarray, sizes))
    counted = Outcomes(outcomes.r / units.r, outcomes.c / units.c)
    columns["prediction_loss"] = float(prediction_loss(counted, in_units(of_mean_weight(test), units), kind=loss))
    # A cost curve takes every person of an arm alike, so propensities must not differ between people.
    if test.p.shape == (2,):
        columns["aucc"] = float(_area(outcomes, split))
    return pd.DataFrame({"budget": list(budgets)} | columns)


def _area(outcomes: Outcomes, split: Split) -> Array:
    """AUCC by the truth where it is known, as values are; otherwise by what was seen."""
    test, truth = split.exam.test, split.exam.truth
    if truth is None:
        return cost_curve_area(outcomes, test)
    mean_cost = truth.c.mean(axis=0)
    return metrics.true_aucc(metrics.roi_score(dearer_last(outcomes, mean_cost)), dearer_last(truth, mean_cost))


def _study(
    methods: dict[str, Method],
    trained: dict[str, list[Cell]],
    splits: Sequence[Split],
    settling: list[Scores],
    judge: Judge,
) -> Study:
    cells = {name: trained[name] for name in methods if name in trained}
    frames = [
        cell.values.assign(seed=cell.seed, method=name)
        for name, of in cells.items()
        for cell in of
        if cell.values is not None
    ]
    known = splits[0].exam.truth is not None
    for split, surfaces in zip(splits, settling, strict=True):
        if split.exam.truth is not None:
            values = examine(split.exam.truth, split, surfaces, judge.loss)
            frames.append(values.assign(seed=split.task.seed, method=ORACLE))
    every = pd.concat(frames, ignore_index=True)
    # The oracle predicts nothing: it has no prediction loss, but it does rank.
    every.loc[every.method == ORACLE, "prediction_loss"] = np.nan
    judged = every if "aucc" in every else every[every.method != ORACLE]
    measures = [column for column in ("prediction_loss", "aucc") if column in every]
    records = [
        cell.record.assign(method=name, seed=cell.seed) for name, of in cells.items() for cell in of if len(cell.record)
    ]
    history = pd.concat(records, ignore_index=True) if records else pd.DataFrame(columns=["stage", "epoch"])
    return Study(
        values=every[["seed", "method", "budget", "revenue", "cost", "lam", "mixed"]],
        quality=judged.groupby(["method", "seed"], sort=False)[measures].first().reset_index(),
        history=history,
        methods={name: methods[name] for name in cells},
        cells=cells,
        judge=judge,
        settled_by="truth" if known else judge.settle,
        test_share=0.0 if known else splits[0].exam.test.rows / splits[0].task.train.rows,
        diverged=tuple(name for name in methods if name not in cells),
    )
