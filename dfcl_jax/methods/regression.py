"""What meta-learners share: nuisances that predict people they have not seen, and networks regressed on scores."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count as numbers
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax.data import Task
from dfcl_jax.errors import refuse
from dfcl_jax.methods.gradient import Counted, build, count, keys_for, with_units, within_seen
from dfcl_jax.methods.method import Log
from dfcl_jax.methods.two_stage import TwoStage
from dfcl_jax.models import NetworkConfig, Params
from dfcl_jax.scores import crossfit, outcome_scale
from dfcl_jax.train import ONE_SEED, FitConfig, MeanOverRows, Rows, Stage, StageLog, Validation, fit, mesh_of
from dfcl_jax.types import Outcomes, Trial, Units, num_arms

# (predictions, whatever the loss needs of the same people) -> loss, []
RegressionLoss = Callable[[Outcomes, Any], Array]


class Nuisances(NamedTuple):
    """A task in the model's units with what two-stage learning predicts for its people."""

    counted: Counted
    params: Params  # of two-stage learning on all training people
    hat: Outcomes  # predictions of the training people, [n, m] each
    valid_hat: Outcomes  # predictions of the validation people


def nuisances(two_stage: TwoStage, key: Array, task: Task, log: Log, *, folds: int = 1) -> Nuisances:
    """Predict the outcomes that a meta-learner takes as known.

    Args:
        two_stage: what predicts.
        key: of the learner.
        task: of a streamed trial a sample is used, see `gradient.SAMPLE`.
        log: trains the model of all people, or knows it already.
        folds: everybody is predicted by a model of the other folds; 1: by the model of all people.
    """
    params = log.fitted(two_stage, key, [task])[0]
    counted = count(task, two_stage.network.link)
    fold = numbers(1)

    def of_others(fold_key: Array, others: Any) -> Callable[[Array], Outcomes]:
        name = f"fold {next(fold)}"
        told = log._replace(stage=lambda part, epochs, rows: log.stage(f"{name} {part}".strip(), epochs, rows))
        part = task._replace(train=others._replace(r=others.r * counted.units.r, c=others.c * counted.units.c))
        return partial(two_stage.predict, two_stage.fit(fold_key, part, told))

    whole = partial(two_stage.predict, params)
    if folds > 1:
        fold_key = jax.random.fold_in(jax.random.fold_in(key, 2), task.seed)
        hat = crossfit(fold_key, counted.sample, of_others, folds=folds)
    else:
        hat = whole(counted.sample.x)
    return Nuisances(counted, params, *(counted_in(counted.units, each) for each in (hat, whole(counted.valid.x))))


def counted_in(units: Units, outcomes: Outcomes) -> Outcomes:
    """Predictions of money in the model's units."""
    return Outcomes(outcomes.r / units.r, outcomes.c / units.c)


def person_weights(hat: Outcomes, own_units: bool) -> Array:
    """Weights of people in a regression, [n]: 1, or 1 / s(x_i)^2 with s the `scores.outcome_scale`."""
    return 1 / outcome_scale(hat) ** 2 if own_units else jnp.ones_like(hat.r[:, 0])


def regress(
    loss: RegressionLoss,
    key: Array,
    counted: Counted,
    given: tuple[Any, Any],
    network: NetworkConfig,
    training: FitConfig,
    log: StageLog,
) -> Params:
    """Train a network on a loss that is a mean over people; the checkpoint with the least on the validation part.

    Args:
        loss: of predictions in the model's units.
        key: initial parameters and the order of batches.
        counted: the task in these units.
        given: what the loss needs of the training people and of the validation people, leaves [n, ...].
        network: to train.
        training: how.
        log: what is told.

    Returns:
        Parameters for `gradient.predict_money`.
    """
    model = build(network, num_arms(counted.sample))
    init_key, order_key = (keys_for(jax.random.fold_in(key, k), counted, ONE_SEED) for k in (0, 1))

    def objective(outcomes: Outcomes, rows: Rows, shared: None) -> Array:
        return loss(outcomes, rows.extra)

    def accuracy(outcomes: Outcomes, judge: Any) -> Array:
        return -loss(outcomes, judge)

    fitted = fit(
        order_key,
        model.init(init_key, counted.sample.x[:1]),
        Rows(counted.sample, given[0]),
        None,
        Validation(counted.valid.x, given[1]),
        Stage(model, MeanOverRows(objective), accuracy, training),
        mesh=mesh_of(training),
        log=log,
    )
    return with_units(fitted.params, counted)


def over_control(control: Outcomes, effect: Outcomes, costs: Array) -> Outcomes:
    """Surfaces from predictions of treatment 0 and effects over it, [n, m] each; cost within what was seen, [2, m]."""
    r, c = (y[:, :1] + tau - tau[:, :1] for y, tau in zip(control, effect, strict=True))
    return within_seen(Outcomes(r, c), costs)


@dataclass(frozen=True)
class CrossFitted:
    """A learner that is regressed on what nuisance models say of people whom they have not seen.

    Raises:
        InputError: fewer than two folds.
    """

    nuisance: TwoStage = field(default_factory=TwoStage)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: FitConfig = field(default_factory=lambda: TwoStage().training)
    folds: int = 2
    own_units: bool = False  # people weigh w = 1 / s(x)^2, as precise as their outcomes are; not all alike

    money = True

    def __post_init__(self) -> None:
        """Check the number of folds."""
        if self.folds < 2:
            refuse("folds", found=self.folds, expected="at least 2: a model fits the people whom it has seen too well")

    def regressed(
        self, loss: RegressionLoss, given: Callable[[Trial, Outcomes], Any], key: Array, task: Task, log: Log
    ) -> tuple[Params, Nuisances]:
        """The network's parameters and the nuisances; `given` makes what the loss needs of people and predictions."""
        known = nuisances(self.nuisance, key, task, log, folds=self.folds)
        counted = known.counted
        parts = given(counted.sample, known.hat), given(counted.valid, known.valid_hat)
        told = log.stage("", self.training.epochs, counted.sample.rows)
        return regress(loss, key, counted, parts, self.network, self.training, told), known
