"""Decision-focused learning: a two-stage network trained on, by the value of the decisions that it makes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax import scores
from dfcl_jax.data import Task
from dfcl_jax.errors import refuse
from dfcl_jax.losses import Constants, constants, prediction_loss
from dfcl_jax.losses import decision as losses
from dfcl_jax.methods.distilled import Distilled
from dfcl_jax.methods.gradient import (
    Counted,
    build,
    count_all,
    keys_for,
    predict_counted,
    predict_money,
    refuse_unless_two,
    with_units,
)
from dfcl_jax.methods.judged import Settling, cost_curve_area, if_finite, mean_value, value_judge
from dfcl_jax.methods.method import Log
from dfcl_jax.methods.over_seeds import OverSeeds
from dfcl_jax.methods.regression import counted_in, of_others
from dfcl_jax.methods.two_stage import TwoStage
from dfcl_jax.methods.weighted import WeightedTwoStage
from dfcl_jax.models import Model, Params
from dfcl_jax.scores.surfaces import Estimator, apply, learn
from dfcl_jax.solvers import check_budgets
from dfcl_jax.train import (
    Fit,
    FitConfig,
    MeanOverRows,
    Objective,
    Rows,
    Seeds,
    Stage,
    StageLog,
    Streamed,
    Validate,
    Validation,
    fit,
    mesh_of,
    predict,
)
from dfcl_jax.types import Outcomes, Scores, Trial, Units, in_units, num_arms, of_mean_weight, stack

# Rows that multipliers are tracked on: enough to tell what a policy spends, and a small part of an epoch's work.
TRACKED_ROWS = 32_768

TRAINING = FitConfig(epochs=12, batch_size=1024, learning_rate=1e-3)

DecisionLoss = Callable[[Outcomes, Scores, Constants], Array]

# Losses and scores that know nothing of the weights of rows.
_OF_ROWS_ALIKE = (
    losses.directional,
    losses.primal_policy_learning,
    losses.primal_finite_difference,
    scores.raw_winsorised,
    scores.centred_winsorised,
)


class Terms(NamedTuple):
    """What the loss of a batch is told beside its rows; leaves [s, ...] of seeds, [s, k, ...] of members."""

    alpha: Array | None  # weight of the prediction loss beside the decision loss; None: there is none
    constants: Constants
    epoch: Array  # from 0


@dataclass(frozen=True)
class Decision(OverSeeds):
    """A way to train on decisions: alpha * prediction loss + decision loss, from a two-stage network.

    The checkpoint is the one whose policy has the highest value on the validation part, the start included. A new
    method is a new composition: `Decision(scores.centred, my_loss)`.

    Raises:
        InputError: a weight that is negative or not finite; bad budgets; no fold; a start that predicts no money.
    """

    scores: Estimator  # (training rows, two-stage predictions) -> what decisions earn
    loss: DecisionLoss  # (predictions, scores, constants) -> loss, []
    start: TwoStage | WeightedTwoStage | Distilled = field(default_factory=TwoStage)
    training: FitConfig = field(default_factory=lambda: TRAINING)
    # (predictions, budgets) -> constants; of rows with weights (predictions, budgets, people=weights)
    constants: Callable[..., Constants] = constants.fitted
    by_rows: bool = False  # the loss is a mean over rows, so that chunks of a large batch need not know of each other
    tracked: bool = False  # multipliers solved anew before each epoch, see `constants.tracked`; not once at the start
    alpha: float | optax.Schedule = 0.0  # weight of the prediction loss, or epoch from 0 -> weight
    # Epoch -> temperature and windows as a multiple of the constants', see `constants.annealed`; None: as they are.
    annealing: optax.Schedule | None = None
    select: Literal["value", "aucc"] = "value"  # what chooses the checkpoint
    settle: Settling = "aipw"  # scores of the validation people that the value is settled by
    folds: int = 1  # scores rest on predictions by two-stage models of the other folds; 1: on those of the start
    # Cost per person that the constants are for; None: the task's, which the checkpoint is chosen by all the same.
    budgets: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Check the weight of the prediction loss and the budgets."""
        if not callable(self.alpha) and not 0 <= self.alpha < float("inf"):
            refuse("alpha", found=self.alpha, expected="a finite number of at least 0")
        if self.budgets is not None and not self.budgets:
            refuse("budgets of a method", found="none", expected="at least one, or None for those of the task")
        check_budgets(np.asarray(self.budgets or ()))
        if not self.start.money:
            refuse("start of a decision method", found="a method that predicts no money", expected="one that does")
        if self.folds < 1:
            refuse("folds", found=self.folds, expected="at least 1")

    @property
    def money(self) -> bool:
        """False: a network trained on decisions ranks them; the scale of its predictions is anything."""
        return False

    @property
    def weighs(self) -> bool:
        """Whether rows may have weights: scores times a weight are those of as many people if a loss is linear in them.

        A loss that solves a budget on the people of a batch is not, nor are scores that cut off tails by their share.
        With "matched" finite differences the people of one row are moved together.
        """
        bare = [of.func if isinstance(of, partial) else of for of in (self.loss, self.scores)]
        return not any(of in _OF_ROWS_ALIKE for of in bare)

    def predict(self, params: Params, x: Array) -> Outcomes:
        """Surfaces whose differences rank decisions, [n, m] each."""
        return predict_money(self.start.network, params, x)

    def _fit(self, key: Array, tasks: Sequence[Task], log: Log, seeds: Seeds) -> Params:
        begin = begin_from(self, key, tasks, log, seeds)
        stage_log = log.stage("", self.training.epochs, sum(task.train.rows for task in tasks))
        return with_units(train_on(self, begin, begin.terms(self), seeds, stage_log).params, begin.counted)


class Begin(NamedTuple):
    """What decision training starts from, money in the model's units; leaves [s, ...] of several seeds."""

    key: Array
    model: Model
    counted: Counted
    source: Any  # the `StreamedTrial` of the task; None where its rows are in memory
    net: Params  # of two-stage learning
    sample_hat: Outcomes  # two-stage predictions of the sample of training people
    hat: Outcomes  # those that scores rest on: the same, or of the other folds
    judge: Any  # what a checkpoint is chosen by, beside predictions of the validation people
    seeds: Seeds

    def terms(self, method: Decision) -> Terms:
        """The terms of a method's loss as they are before training."""
        shape = self.counted.seed.shape
        alpha = jnp.full(shape, method.alpha) if not callable(method.alpha) and method.alpha else None
        budgets = self.counted.budgets
        if method.budgets is not None:
            own = jnp.asarray(method.budgets, budgets.dtype)
            budgets = self.seeds.each(lambda unit: own / unit)(self.counted.units.c)
        k = _constants(method.constants, self.seeds, self.sample_hat, budgets, self.counted.sample.weight)
        return Terms(alpha, k, jnp.zeros(shape))


@partial(jax.jit, static_argnums=(0, 1))
def _constants(
    of: Callable[..., Constants], seeds: Seeds, outcomes: Outcomes, budgets: Array, weight: Array | None
) -> Constants:
    if weight is None:
        return seeds.each(of)(outcomes, budgets)
    return seeds.each(lambda *sample: of(*sample[:2], people=sample[2]))(outcomes, budgets, weight)


def begin_from(method: Decision, key: Array, tasks: Sequence[Task], log: Log, seeds: Seeds) -> Begin:
    """Two-stage networks, their predictions, and what judges the validation part."""
    if method.select == "aucc":
        refuse_unless_two(tasks[0], "select")
    two_stage = log.fitted(method.start, key, tasks)
    counted = count_all(tasks, method.start.network.link, seeds, multiple=method.training.devices)
    nets = [params["net"] for params in two_stage]
    net = stack(nets) if seeds.axes else nets[0]
    model = build(method.start.network, num_arms(counted.sample))
    sample_hat = predict_counted(model, seeds, net, counted.sample.x)
    judge: Any = counted.valid
    if method.select == "value":
        judge = value_judge(method.settle, predict_counted(model, seeds, net, counted.valid.x), counted, seeds)
    order_keys = keys_for(jax.random.fold_in(key, 1), counted, seeds)
    source = None if isinstance(tasks[0].train, Trial) else tasks[0].train
    hat = sample_hat
    if method.folds > 1:
        if source is not None:
            refuse("folds of a decision method", found="a streamed trial", expected="a trial in memory, or 1")
        hat = of_others(method.start, key, tasks, log, seeds, method.folds)
        hat = seeds.each(counted_in)(counted.units, hat)
    return Begin(order_keys, model, counted, source, net, sample_hat, hat, judge, seeds)


def train_on(
    method: Decision, begin: Begin, terms: Terms, seeds: Seeds, log: StageLog, *, pace: ArrayLike = 1.0
) -> Fit:
    """The decision stage on ready-made terms; `seeds` may have members, and then so have terms and pace."""
    objective = objective_of(method)
    stage = Stage(
        begin.model,
        MeanOverRows(objective) if method.by_rows else objective,
        validate_of(method),
        method.training,
        renew=partial(renewed, method, begin),
    )
    return fit(
        begin.key,
        begin.net,
        _rows(method, begin),
        terms,
        Validation(begin.counted.valid.x, begin.judge),
        stage,
        pace=pace,
        seeds=seeds,
        mesh=mesh_of(method.training),
        log=log,
    )


def objective_of(method: Decision) -> Objective:
    """The loss of a batch with the scores of its rows, at `Terms`."""

    def objective(outcomes: Outcomes, rows: Rows, shared: Terms) -> Array:
        now = shared.constants
        if method.annealing is not None:
            now = constants.annealed(now, method.annealing(shared.epoch))
        decision = method.loss(outcomes, rows.extra, now)
        alpha = jnp.asarray(method.alpha(shared.epoch), decision.dtype) if callable(method.alpha) else shared.alpha
        if alpha is None:
            return decision
        return alpha * prediction_loss(outcomes, rows.trial, kind=method.start.loss) + decision

    return objective


def validate_of(method: Decision) -> Validate:
    """What chooses a method's checkpoint: (predictions of the validation people, `Begin.judge`) -> value."""
    return partial(if_finite, cost_curve_area if method.select == "aucc" else mean_value)


def renewed(method: Decision, begin: Begin, params: Params, shared: Terms) -> Terms:
    """The terms of the next epoch."""
    now = shared.constants
    if method.tracked:
        some, hat = _first(begin, TRACKED_ROWS)
        now = _tracked(begin.model, begin.seeds, params, now, some, hat)
    return shared._replace(constants=now, epoch=shared.epoch + 1)


def scored(method: Decision, seeds: Seeds, sample: Trial, sample_hat: Outcomes) -> Scores:
    """A method's scores of people in memory, of every seed."""

    # An estimator may be an object that `jit` cannot refer to.
    def of_people(trial: Trial, hat: Outcomes) -> Scores:
        return scores.weighed(method.scores(trial, hat), trial.weight)

    return jax.jit(lambda *rows: seeds.each(of_people)(*rows))(sample, sample_hat)


def _rows(method: Decision, begin: Begin) -> Rows | Streamed:
    """Training rows with the scores of their decisions."""
    sample = begin.counted.sample
    if begin.source is None:
        return Rows(sample, scored(method, begin.seeds, sample, begin.hat))
    statistic = jax.jit(partial(learn, method.scores))(sample, begin.sample_hat)

    def prepare(trial: Trial, context: tuple[Units, Params, Any]) -> Rows:
        units, net, statistic = context
        counted = in_units(trial, units)
        surfaces = apply(method.scores, counted, predict(begin.model, net, counted.x), statistic)
        return Rows(counted, scores.weighed(surfaces, counted.weight))

    return Streamed(begin.source, prepare, (begin.counted.units, begin.net, statistic))


def _first(begin: Begin, n: int) -> tuple[Trial, Outcomes]:
    """The first n people of the sample, with their two-stage predictions."""
    axis = (slice(None),) * begin.seeds.axes
    trial = begin.counted.sample
    # Propensities that all people share have no axis of people.
    shared = trial.p.ndim == begin.seeds.axes + 1
    some = jax.tree.map(lambda leaf: leaf[(*axis, slice(n))], trial._replace(p=trial.t if shared else trial.p))
    some = some._replace(p=trial.p) if shared else some
    return some, jax.tree.map(lambda leaf: leaf[(*axis, slice(n))], begin.hat)


@partial(jax.jit, static_argnums=(0, 1))
def _tracked(model: Model, seeds: Seeds, params: Params, now: Constants, trial: Trial, hat: Outcomes) -> Constants:
    def one(params: Params, now: Constants, trial: Trial, hat: Outcomes) -> Constants:
        settling = scores.weighed(scores.aipw(trial, hat), of_mean_weight(trial).weight)
        return constants.tracked(now, predict(model, params, trial.x), settling)

    def with_members(params: Params, now: Constants, *people: Any) -> Constants:
        if now.lams.ndim == 1:
            return one(params, now, *people)
        return jax.lax.map(lambda member: one(*member, *people), (params, now))

    return seeds.each(with_members)(params, now, trial, hat)
