"""What meta-learners share: nuisances that predict people they have not seen, and networks regressed on scores."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from dfcl_jax.data import Task
from dfcl_jax.data.clusters import apart_from, random_order
from dfcl_jax.errors import refuse
from dfcl_jax.methods.gradient import Counted, build, count_all, fit_network, in_memory, with_units, within_seen
from dfcl_jax.methods.method import Log, Method
from dfcl_jax.methods.over_seeds import OverSeeds
from dfcl_jax.methods.two_stage import TwoStage
from dfcl_jax.models import NetworkConfig, Params
from dfcl_jax.scores import outcome_level, outcome_scale
from dfcl_jax.train import (
    FitConfig,
    MeanOverRows,
    Rows,
    Seeds,
    Stage,
    StageLog,
)
from dfcl_jax.types import Outcomes, Trial, Units, num_arms, stack, take

# (predictions, whatever the loss needs of the same people) -> loss, []
RegressionLoss = Callable[[Outcomes, Any], Array]


class PredictsMoney(Method, Protocol):
    """A method with one network that predicts money: two-stage learning, weighted or not."""

    @property
    def network(self) -> NetworkConfig:
        """The network, whose parameters are "net" among the method's."""
        ...


class Nuisances(NamedTuple):
    """Tasks in the model's units with what two-stage learning predicts for their people; of several seeds [s, ...]."""

    seeds: Seeds
    counted: Counted
    params: Params  # of two-stage learning on all training people
    hat: Outcomes  # predictions of the training people, [n, m] each
    valid_hat: Outcomes  # predictions of the validation people


def nuisances(
    two_stage: PredictsMoney, key: Array, tasks: Sequence[Task], log: Log, seeds: Seeds, *, folds: int = 1
) -> Nuisances:
    """Predict the outcomes that a meta-learner takes as known.

    Args:
        two_stage: what predicts.
        key: of the learner.
        tasks: of the seeds; of a streamed trial a sample is used, see `gradient.SAMPLE`.
        log: trains the models, or knows them already.
        seeds: how many.
        folds: everybody is predicted by a model of the other folds; 1: by the model of all people.
    """
    fitted = log.fitted(two_stage, key, tasks)
    params = stack(fitted) if seeds.axes else fitted[0]
    counted = count_all(tasks, two_stage.network.link, seeds)
    predict = seeds.each(two_stage.predict)
    hat = of_others(two_stage, key, tasks, log, seeds, folds) if folds > 1 else predict(params, counted.sample.x)
    in_units = seeds.each(counted_in)
    valid_hat = in_units(counted.units, predict(params, counted.valid.x))
    return Nuisances(seeds, counted, params, in_units(counted.units, hat), valid_hat)


def of_others(
    two_stage: PredictsMoney, key: Array, tasks: Sequence[Task], log: Log, seeds: Seeds, folds: int
) -> Outcomes:
    """Predictions of the training people, in money, by models of the other folds: all are trained in one program."""
    fold_key = jax.random.fold_in(jax.random.fold_in(key, 2), folds)
    samples = [in_memory(task.train) for task in tasks]
    parts = [
        np.array_split(random_order(jax.random.fold_in(fold_key, task.seed), sample), folds)
        for task, sample in zip(tasks, samples, strict=True)
    ]

    def others(sample: Trial, of: list[np.ndarray], k: int) -> Trial:
        # Folds differ by one person at most: without that one all models learn from equally many.
        rest = np.concatenate(of[:k] + of[k + 1 :])[: sample.rows - len(of[0])]
        return take(sample, jnp.asarray(apart_from(rest, of[k], sample)))

    apart = [
        task._replace(train=others(sample, of, k), seed=folds * task.seed + k)
        for task, sample, of in zip(tasks, samples, parts, strict=True) for k in range(folds)
    ]  # fmt: skip
    models = iter(log.fitted(two_stage, fold_key, apart))
    hats = []
    for sample, of in zip(samples, parts, strict=True):
        each = [two_stage.predict(next(models), sample.x[part]) for part in of]
        back = np.argsort(np.concatenate(of))
        hats.append(jax.tree.map(lambda *leaves, back=back: jnp.concatenate(leaves)[back], *each))
    return stack(hats) if seeds.axes else hats[0]


def counted_in(units: Units, outcomes: Outcomes) -> Outcomes:
    """Predictions of money in the model's units."""
    return Outcomes(outcomes.r / units.r, outcomes.c / units.c)


def person_weights(hat: Outcomes, weight: Array | None, *, own_units: bool) -> Array:
    """What rows count in a regression, [n]: their weight, 1 if there is none, or that over s(x_i)^2.

    s is the `scores.outcome_scale`.
    """
    people = jnp.ones_like(hat.r[:, 0]) if weight is None else weight
    return people / outcome_scale(hat, level=outcome_level(hat, weight)) ** 2 if own_units else people


def regress(
    loss: RegressionLoss,
    given: Callable[[Trial, Any], Any],
    key: Array,
    known: Nuisances,
    network: NetworkConfig,
    training: FitConfig,
    log: StageLog,
    *,
    begin: Params | None = None,
) -> Params:
    """Train a network on a loss that is a mean over people; the checkpoint with the least on the validation part.

    Args:
        loss: of predictions in the model's units.
        given: what the loss needs of people and of what is predicted for them, leaves [n, ...].
        key: initial parameters and the order of batches.
        known: the tasks in these units with their nuisances.
        network: to train.
        training: how.
        log: what is told.
        begin: parameters of the network that training starts from; new ones if not given.

    Returns:
        Parameters for `gradient.predict_money`.
    """
    seeds, counted = known.seeds, known.counted
    model = build(network, num_arms(counted.sample))

    def objective(outcomes: Outcomes, rows: Rows, shared: None) -> Array:
        return loss(outcomes, rows.extra)

    def accuracy(outcomes: Outcomes, judge: Any) -> Array:
        return -loss(outcomes, judge)

    # What makes them may be an object that `jit` cannot refer to.
    of_people = jax.jit(lambda *people: seeds.each(given)(*people))
    net = fit_network(
        key,
        counted,
        Stage(model, MeanOverRows(objective), accuracy, training),
        seeds,
        log,
        rows=Rows(counted.sample, of_people(counted.sample, known.hat)),
        judge=of_people(counted.valid, known.valid_hat),
        begin=begin,
    )
    return with_units(net, counted)


def all_rows(tasks: Sequence[Task]) -> int:
    """Training people of all tasks."""
    return sum(task.train.rows for task in tasks)


def over_control(control: Outcomes, effect: Outcomes, costs: Array) -> Outcomes:
    """Surfaces from predictions of treatment 0 and effects over it, [n, m] each; cost within what was seen, [2, m]."""
    r, c = (y[:, :1] + tau - tau[:, :1] for y, tau in zip(control, effect, strict=True))
    return within_seen(Outcomes(r, c), costs)


@dataclass(frozen=True)
class CrossFitted(OverSeeds):
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
    weighs = True

    def __post_init__(self) -> None:
        """Check the number of folds."""
        if self.folds < 2:
            refuse("folds", found=self.folds, expected="at least 2: a model fits the people whom it has seen too well")

    def regressed(
        self,
        loss: RegressionLoss,
        given: Callable[[Trial, Outcomes], Any],
        key: Array,
        tasks: Sequence[Task],
        log: Log,
        seeds: Seeds,
    ) -> tuple[Params, Nuisances]:
        """The network's parameters and the nuisances; see `regress`."""
        known = nuisances(self.nuisance, key, tasks, log, seeds, folds=self.folds)
        told = log.stage("", self.training.epochs, all_rows(tasks))
        return regress(loss, given, key, known, self.network, self.training, told), known
