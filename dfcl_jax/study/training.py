"""The two stages of training: predictions first, decisions from there."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax import constants, metrics, scores
from dfcl_jax.losses import prediction_loss
from dfcl_jax.methods import TWO_STAGE, Method
from dfcl_jax.models import Model, Params
from dfcl_jax.study.config import Hooks, Seeds, StudyConfig
from dfcl_jax.train import Fit, MeanOverRows, Rows, fit, predict
from dfcl_jax.types import Outcomes, Scores, Trial, stack

# Rows that multipliers are tracked on: enough to tell what a policy spends, and a small part of an epoch's work.
TRACKED_ROWS = 32_768


@partial(jax.jit, static_argnums=0)
def predict_all(model: Model, params: Params, x: Array) -> Outcomes:
    """Predictions of every seed's model on its own rows, leaves [s, n, m]."""
    return jax.vmap(partial(predict, model))(params, x)


def settling_scores(config: StudyConfig, trial: Trial, two_stage: Outcomes) -> Scores:
    """What settles a policy's value on rows that the two-stage model was not fitted on, leaves [s, n, m]."""
    if config.settle == "aipw":
        return jax.vmap(scores.aipw)(trial, two_stage)
    return jax.vmap(scores.ipw)(trial)


def train_two_stage(key: Array, model: Model, seeds: Seeds, config: StudyConfig, hooks: Hooks) -> Fit:
    """Stage one, for every seed: the prediction loss, the checkpoint of the least of it on the validation part."""
    init_key, fit_key = jax.random.split(key)

    def objective(outcomes: Outcomes, rows: Rows, shared: None) -> Array:
        del shared
        return prediction_loss(outcomes, rows.trial, kind=config.prediction)

    def accuracy(outcomes: Outcomes, trial: Trial) -> Array:
        return -prediction_loss(outcomes, trial, kind=config.prediction)

    def train() -> Fit:
        init = jax.vmap(lambda k, x: model.init(k, x[:1]))
        return fit(
            jax.random.split(fit_key, seeds.number),
            init(jax.random.split(init_key, seeds.number), seeds.train.x),
            Rows(seeds.train),
            None,
            seeds.valid.x,
            seeds.valid,
            model=model,
            objective=MeanOverRows(objective),
            validate=cost_curve_area if config.select == "aucc" else accuracy,
            config=config.warm,
            on_epoch=hooks.on_stage(TWO_STAGE, config.warm.epochs, seeds.train.t.size),
        )

    return hooks.stored(TWO_STAGE, train)


class Warm(NamedTuple):
    """What every method starts from; leaves [s, ...]."""

    fit: Fit
    outcomes: Outcomes  # two-stage predictions of the training rows
    judge: Any  # what a checkpoint is chosen by, beside predictions of the validation rows


def warm_start(two_stage: Fit, model: Model, seeds: Seeds, config: StudyConfig) -> Warm:
    """Predictions and judge of the decision stage, from the two-stage model."""
    outcomes = predict_all(model, two_stage.params, seeds.train.x)
    if config.select == "aucc":
        return Warm(two_stage, outcomes, seeds.valid)
    valid = predict_all(model, two_stage.params, seeds.valid.x)
    settling = settling_scores(config, seeds.valid, valid)
    met = ~jnp.isnan(jax.vmap(metrics.eom)(valid, settling, seeds.budgets).revenue)
    return Warm(two_stage, outcomes, (settling, seeds.budgets, met))


def train_method(
    key: Array, name: str, method: Method, model: Model, seeds: Seeds, warm: Warm, config: StudyConfig, hooks: Hooks
) -> Fit:
    """Stage two, for every seed: alpha * prediction loss + decision loss, from the two-stage parameters.

    The checkpoint is the one whose policy has the highest value on the validation part, the start included.
    """

    def objective(outcomes: Outcomes, rows: Rows, shared: constants.Constants) -> Array:
        decision = method.loss(outcomes, rows.extra, shared)
        if config.alpha == 0:
            return decision
        return config.alpha * prediction_loss(outcomes, rows.trial, kind=config.prediction) + decision

    def renew(params: Params, shared: constants.Constants) -> constants.Constants:
        some, predicted = jax.tree.map(lambda leaf: leaf[:, :TRACKED_ROWS], (seeds.train, warm.outcomes))
        return _tracked_for_all(model, params, shared, some, predicted)

    def train() -> Fit:
        surfaces = jax.jit(jax.vmap(method.scores))(seeds.train, warm.outcomes)
        return fit(
            jax.random.split(key, seeds.number),
            warm.fit.params,
            Rows(seeds.train, surfaces),
            loss_constants(method, config, warm.outcomes, seeds.budgets),
            seeds.valid.x,
            warm.judge,
            model=model,
            objective=MeanOverRows(objective) if method.by_rows else objective,
            validate=cost_curve_area if config.select == "aucc" else mean_value,
            config=replace(config.decision, learning_rate=config.decision.learning_rate * method.pace),
            renew=renew if method.tracked and config.constants == "fitted" else None,
            on_epoch=hooks.on_stage(name, config.decision.epochs, seeds.train.t.size),
        )

    return hooks.stored(name, train)


def loss_constants(method: Method, config: StudyConfig, outcomes: Outcomes, budgets: Array) -> constants.Constants:
    """The constants of a method's decision loss for every seed, leaves [s, k]."""
    if config.constants == "fitted":
        return _constants_of_all(method.constants, outcomes, budgets)
    return stack([constants.published(config.constants)] * budgets.shape[0])


@partial(jax.jit, static_argnums=0)
def _constants_of_all(
    fitted: Callable[[Outcomes, Array], constants.Constants], outcomes: Outcomes, budgets: Array
) -> constants.Constants:
    return jax.vmap(fitted)(outcomes, budgets)


@partial(jax.jit, static_argnums=0)
def _tracked_for_all(
    model: Model, params: Params, now: constants.Constants, trial: Trial, outcomes_hat: Outcomes
) -> constants.Constants:
    def one(params: Params, now: constants.Constants, trial: Trial, outcomes_hat: Outcomes) -> constants.Constants:
        return constants.tracked(now, predict(model, params, trial.x), scores.aipw(trial, outcomes_hat))

    return jax.vmap(one)(params, now, trial, outcomes_hat)


def mean_value(outcomes: Outcomes, judge: tuple[Scores, Array, Array]) -> Array:
    """Revenue per person, mean over budgets, []; NaN where one that the two-stage policy meets cannot be met.

    `judge` holds scores, budgets [b] and which of them [b] the two-stage policy meets.
    """
    surfaces, budgets, met = judge
    revenue = metrics.eom(outcomes, surfaces, budgets).revenue
    return jnp.where(met, revenue, 0).sum() / met.sum()


def cost_curve_area(outcomes: Outcomes, trial: Trial) -> Array:
    """AUCC of the ranking by predicted return, []; the treatment that costs more on average counts as the treated."""
    mean_cost = scores.ipw(trial).c.mean(axis=0)
    swap = mean_cost[1] < mean_cost[0]
    outcomes = jax.tree.map(lambda surface: jnp.where(swap, surface[:, ::-1], surface), outcomes)
    return metrics.aucc(metrics.roi_score(outcomes), trial._replace(t=jnp.where(swap, 1 - trial.t, trial.t)))
