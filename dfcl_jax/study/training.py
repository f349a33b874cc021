"""The two stages of training: predictions first, decisions from there."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax import constants, metrics, scores
from dfcl_jax.losses import prediction_loss
from dfcl_jax.methods import TWO_STAGE, Method
from dfcl_jax.models import Model, Params
from dfcl_jax.study.config import Hooks, Seeds, StudyConfig
from dfcl_jax.train import Fit, MeanOverRows, Rows, fit, predict
from dfcl_jax.train.loop import Compiled, Validate, all_seeds
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
        checkpoints=hooks.checkpoints(TWO_STAGE),
        mesh=config.mesh(),
    )


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


class Terms(NamedTuple):
    """What the loss of a batch is told beside its rows; leaves [s, ...], or [s, k, ...] of k members."""

    alpha: Array | None  # weight of the prediction loss beside the decision loss; None: there is none
    constants: constants.Constants
    epoch: Array  # from 0


def train_method(
    key: Array, name: str, method: Method, model: Model, seeds: Seeds, warm: Warm, config: StudyConfig, hooks: Hooks
) -> Fit:
    """Stage two, for every seed: alpha * prediction loss + decision loss, from the two-stage parameters.

    The checkpoint is the one whose policy has the highest value on the validation part, the start included.
    """
    alpha = jnp.full(seeds.number, config.alpha) if config.alpha else None
    terms = Terms(alpha, loss_constants(method, config, warm.outcomes, seeds.budgets), jnp.zeros(seeds.number))
    return train_on_decisions(key, name, method, model, seeds, warm, config, hooks, terms=terms)


def train_on_decisions(
    key: Array,
    name: str,
    method: Method,
    model: Model,
    seeds: Seeds,
    warm: Warm,
    config: StudyConfig,
    hooks: Hooks,
    *,
    terms: Terms,
    paces: ArrayLike = 1.0,
    compiled: Compiled = all_seeds,
) -> Fit:
    """`train_method` on ready-made terms; `paces` and `compiled` as in `fit`."""

    def objective(outcomes: Outcomes, rows: Rows, shared: Terms) -> Array:
        now = constants.annealed(shared.constants, method.annealing(shared.epoch))
        decision = method.loss(outcomes, rows.extra, now)
        alpha = shared.alpha if method.alpha is None else jnp.asarray(method.alpha(shared.epoch), decision.dtype)
        if alpha is None:
            return decision
        return alpha * prediction_loss(outcomes, rows.trial, kind=config.prediction) + decision

    def renew(params: Params, shared: Terms) -> Terms:
        now = shared.constants
        if method.tracked and config.constants == "fitted":
            some, predicted = jax.tree.map(lambda leaf: leaf[:, :TRACKED_ROWS], (seeds.train, warm.outcomes))
            now = _tracked_for_all(model, params, now, some, predicted)
        return shared._replace(constants=now, epoch=shared.epoch + 1)

    surfaces = jax.jit(jax.vmap(method.scores))(seeds.train, warm.outcomes)
    return fit(
        jax.random.split(key, seeds.number),
        warm.fit.params,
        Rows(seeds.train, surfaces),
        terms,
        seeds.valid.x,
        warm.judge,
        model=model,
        objective=MeanOverRows(objective) if method.by_rows else objective,
        validate=partial(_if_finite, cost_curve_area if config.select == "aucc" else mean_value),
        config=replace(
            config.decision,
            learning_rate=config.decision.learning_rate * method.pace,
            through=method.through or config.decision.through,
        ),
        paces=paces,
        renew=renew,
        compiled=compiled,
        on_epoch=hooks.on_stage(name, config.decision.epochs, seeds.train.t.size),
        checkpoints=hooks.checkpoints(name),
        mesh=config.mesh(),
    )


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

    def each(params: Params, now: constants.Constants, *people: Any) -> constants.Constants:
        if now.lams.ndim == 1:
            return one(params, now, *people)
        return jax.lax.map(lambda member: one(*member, *people), (params, now))

    return jax.vmap(each)(params, now, trial, outcomes_hat)


def _if_finite(validate: Validate, outcomes: Outcomes, judge: Any) -> Array:
    # Predictions that are no numbers would put people in some order, too.
    finite = jnp.isfinite(outcomes.r).all() & jnp.isfinite(outcomes.c).all()
    return jnp.where(finite, validate(outcomes, judge), jnp.nan)


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
