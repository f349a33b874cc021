"""The two stages of training: predictions first, decisions from there."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax import constants, metrics, scores
from dfcl_jax.losses import prediction_loss
from dfcl_jax.methods import TWO_STAGE, Method
from dfcl_jax.models import Model
from dfcl_jax.study.config import Hooks, Seeds, StudyConfig
from dfcl_jax.train import Fit, Rows, fit, predict
from dfcl_jax.types import Outcomes, Scores, Trial, stack


def predict_all(model: Model, fitted: Fit, trial: Trial) -> Outcomes:
    """Predictions of every seed's model on its own rows, leaves [s, n, m]."""
    return jax.jit(jax.vmap(partial(predict, model)))(fitted.params, trial.x)


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
            objective=objective,
            validate=cost_curve_area if config.select == "aucc" else accuracy,
            config=config.warm,
            on_epoch=hooks.on_stage(TWO_STAGE, config.warm.epochs, seeds.train.t.size),
        )

    return hooks.stored(TWO_STAGE, train)


def train_method(
    key: Array, name: str, method: Method, model: Model, seeds: Seeds, two_stage: Fit, config: StudyConfig, hooks: Hooks
) -> Fit:
    """Stage two, for every seed: alpha * prediction loss + decision loss, from the two-stage parameters.

    The checkpoint is the one whose policy has the highest value on the validation part, the start included.
    """

    def objective(outcomes: Outcomes, rows: Rows, shared: constants.Constants) -> Array:
        decision = method.loss(outcomes, rows.extra, shared)
        if config.alpha == 0:
            return decision
        return config.alpha * prediction_loss(outcomes, rows.trial, kind=config.prediction) + decision

    def train() -> Fit:
        outcomes = predict_all(model, two_stage, seeds.train)
        surfaces = jax.jit(jax.vmap(method.scores))(seeds.train, outcomes)
        settling = settling_scores(config, seeds.valid, predict_all(model, two_stage, seeds.valid))
        by_aucc = config.select == "aucc"
        return fit(
            jax.random.split(key, seeds.number),
            two_stage.params,
            Rows(seeds.train, surfaces),
            loss_constants(config, outcomes, seeds.budgets),
            seeds.valid.x,
            seeds.valid if by_aucc else (settling, seeds.budgets),
            model=model,
            objective=objective,
            validate=cost_curve_area if by_aucc else mean_value,
            config=replace(config.decision, learning_rate=config.decision.learning_rate * method.pace),
            on_epoch=hooks.on_stage(name, config.decision.epochs, seeds.train.t.size),
        )

    return hooks.stored(name, train)


def loss_constants(config: StudyConfig, outcomes: Outcomes, budgets: Array) -> constants.Constants:
    """The constants of the decision losses for every seed, leaves [s, k]."""
    if config.constants == "fitted":
        return jax.jit(jax.vmap(constants.fitted))(outcomes, budgets)
    return stack([constants.published(config.constants)] * budgets.shape[0])


def mean_value(outcomes: Outcomes, judge: tuple[Scores, Array]) -> Array:
    """Revenue per person, mean over the budgets that can be met, []; `judge` holds scores and budgets."""
    surfaces, budgets = judge
    return jnp.nanmean(metrics.eom(outcomes, surfaces, budgets).revenue)


def cost_curve_area(outcomes: Outcomes, trial: Trial) -> Array:
    """AUCC of the ranking by predicted return, []."""
    return metrics.aucc(metrics.roi_score(outcomes), trial)
