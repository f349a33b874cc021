"""A study: every method trained from the same two-stage model on the same seeds, and judged the same way."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from jax import Array

from dfcl_jax import metrics, scores
from dfcl_jax.data import Split
from dfcl_jax.errors import refuse
from dfcl_jax.losses import prediction_loss
from dfcl_jax.methods import TWO_STAGE, Method
from dfcl_jax.models import Model
from dfcl_jax.solvers import check_budgets
from dfcl_jax.study.config import Hooks, Seeds, StudyConfig, stack_seeds
from dfcl_jax.study.training import (
    Warm,
    cost_curve_area,
    predict_all,
    settling_scores,
    train_method,
    train_two_stage,
    warm_start,
)
from dfcl_jax.train import Fit
from dfcl_jax.types import Outcomes, Scores, Trial, num_arms

ORACLE = "oracle"
CHEAPEST = "cheapest arm"


class Study(NamedTuple):
    """What came of it; budget, revenue and cost per person in the money of the data."""

    values: pd.DataFrame  # seed, method, budget, revenue, cost, lam, mixed: on the test part
    quality: pd.DataFrame  # seed, method, prediction_loss and, with two treatments, aucc: of the test part
    history: pd.DataFrame  # method, seed, epoch, loss, value
    fits: dict[str, Fit]  # by method, leaves [s, ...]
    units: np.ndarray  # [s] the money that the models count in
    settled_by: str  # "truth", "aipw" or "ipw"
    test_share: float  # of `metrics.paired_interval`


def compare(
    key: Array,
    splits: Sequence[Split],
    budgets: Sequence[float],
    methods: dict[str, Method],
    config: StudyConfig,
    hooks: Hooks = Hooks(),  # noqa: B008  an immutable tuple
) -> Study:
    """Train the two-stage model and, from it, every method; value them all on the test parts.

    Args:
        key: initial parameters and the order of batches.
        splits: one for each seed, of equal sizes.
        budgets: cost per person.
        methods: what to compare with two-stage learning, by name.
        config: model, training, choices.
        hooks: progress, checkpoints.

    Raises:
        InputError: bad budgets, none, or one twice; a choice by AUCC with other than two treatments.
    """
    start = begin(key, splits, budgets, config, hooks)
    fits = {TWO_STAGE: start.warm.fit}
    for name, method in methods.items():
        fits[name] = train_method(start.key, name, method, start.model, start.seeds, start.warm, config, hooks)
    return settle(start, fits, budgets, config)


class Start(NamedTuple):
    """Where the decision stage begins."""

    key: Array
    model: Model
    seeds: Seeds
    warm: Warm


def begin(key: Array, splits: Sequence[Split], budgets: Sequence[float], config: StudyConfig, hooks: Hooks) -> Start:
    """Train the two-stage model; arguments and errors of `compare`."""
    config.mesh()  # refuses devices that are not there, before any work
    check_budgets(np.asarray(budgets))
    if len(budgets) == 0 or len(set(budgets)) < len(budgets):
        refuse("budgets", found=", ".join(map(str, budgets)) or "none", expected="at least one, each different")
    m = num_arms(splits[0].train)
    if config.select == "aucc" and m != 2:
        refuse("select", found=f"'aucc' with {m} treatments", expected="'value', or a trial of 2 treatments")
    seeds = stack_seeds(splits, budgets, config.network.link, multiple=config.devices)
    model = config.network.build(m)
    warm_key, decision_key = jax.random.split(key)
    two_stage = train_two_stage(warm_key, model, seeds, config, hooks)
    return Start(decision_key, model, seeds, warm_start(two_stage, model, seeds, config))


def settle(start: Start, fits: dict[str, Fit], budgets: Sequence[float], config: StudyConfig) -> Study:
    """Value every fit, the two-stage model's among them, on the test parts."""
    _, model, seeds, _ = start
    if seeds.truth is None:
        two_stage = predict_all(model, fits[TWO_STAGE].params, seeds.test.x)
        settling = settling_scores(config, seeds.test, two_stage)
    else:
        settling = scores.truth(seeds.truth)
    values, quality = [], []
    for name, fitted in fits.items():
        outcomes = predict_all(model, fitted.params, seeds.test.x)
        values.append(_values(name, outcomes, settling, seeds, budgets))
        quality.append(_quality(name, outcomes, seeds.test, config))
    if seeds.truth is not None:
        values.append(_values(ORACLE, seeds.truth, settling, seeds, budgets))
    values.append(_cheapest(settling, seeds, budgets))
    return Study(
        values=pd.concat(values, ignore_index=True),
        quality=pd.concat(quality, ignore_index=True),
        history=_history(fits),
        fits=fits,
        units=seeds.units,
        settled_by=config.settle if seeds.truth is None else "truth",
        test_share=seeds.test.t.size / seeds.train.t.size if seeds.truth is None else 0.0,
    )


def _values(method: str, outcomes: Outcomes, settling: Scores, seeds: Seeds, budgets: Sequence[float]) -> pd.DataFrame:
    frames = []
    for seed, unit in enumerate(seeds.units):
        here = jax.tree.map(lambda leaf, seed=seed: leaf[seed], (outcomes, settling, seeds.budgets))
        result = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), metrics.eom(*here))
        columns = {"revenue": result.revenue * unit, "cost": result.cost * unit, "lam": result.lam}
        frames.append(_rows(seed, method, budgets, columns | {"mixed": result.mixed}))
    return pd.concat(frames, ignore_index=True)


def _cheapest(settling: Scores, seeds: Seeds, budgets: Sequence[float]) -> pd.DataFrame:
    frames = []
    for seed, unit in enumerate(seeds.units):
        revenue, cost = (np.asarray(surface[seed].mean(axis=0), np.float64) * unit for surface in settling[:2])
        least = int(np.argmin(cost))
        met = np.asarray(budgets) >= cost[least]
        columns = {"revenue": np.where(met, revenue[least], np.nan), "cost": np.where(met, cost[least], np.nan)}
        frames.append(_rows(seed, CHEAPEST, budgets, columns | {"lam": np.inf, "mixed": 1.0}))
    return pd.concat(frames, ignore_index=True)


def _rows(seed: int, method: str, budgets: Sequence[float], columns: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame({"seed": seed, "method": method, "budget": list(budgets)} | columns)


def _quality(method: str, outcomes: Outcomes, test: Trial, config: StudyConfig) -> pd.DataFrame:
    loss = jax.vmap(lambda o, trial: prediction_loss(o, trial, kind=config.prediction))(outcomes, test)
    columns = {"seed": range(len(loss)), "method": method, "prediction_loss": np.asarray(loss, np.float64)}
    # A cost curve takes every person of an arm alike, so propensities must not differ between people.
    if test.p.shape[1:] == (2,):
        columns["aucc"] = np.asarray(jax.vmap(cost_curve_area)(outcomes, test), np.float64)
    return pd.DataFrame(columns)


def _history(fits: dict[str, Fit]) -> pd.DataFrame:
    rows = [
        {"method": name, "seed": seed, "epoch": epoch + 1, "loss": float(loss), "value": float(done.value[epoch, seed])}
        for name, done in fits.items()
        for (epoch, seed), loss in np.ndenumerate(done.loss)
    ]
    return pd.DataFrame(rows)
