"""One network that decides as another method does, such as an ensemble: a fraction of its size to deploy."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from dfcl_jax.data import Task
from dfcl_jax.losses.constants import score_spread
from dfcl_jax.methods.gradient import in_memory, predict_money
from dfcl_jax.methods.method import Log, Method, weighs
from dfcl_jax.methods.regression import all_rows, counted_in, nuisances, person_weights, regress
from dfcl_jax.methods.two_stage import TwoStage
from dfcl_jax.methods.weighted import FromStart, WeightedTwoStage
from dfcl_jax.models import Params
from dfcl_jax.train import FitConfig, Seeds
from dfcl_jax.types import Outcomes, Trial, stack


class Taught(NamedTuple):
    """What a network learns of n people."""

    of: Outcomes  # the teacher's surfaces, [n, m] each
    w: Array  # [n] weights of people


def teaching_loss(outcomes: Outcomes, given: Taught, *, level: bool = True) -> Array:
    """mean_ij w_i (y_hat_ij - Y_ij)^2 of revenue plus of cost, [], with Y the teacher's surfaces.

    Without `level`, of differences from each person's mean over treatments: they alone decide.
    """

    def misfit(y: Array, target: Array) -> Array:
        apart = y - target
        apart = apart if level else apart - apart.mean(axis=1, keepdims=True)
        return (given.w * (apart**2).mean(axis=1)).mean()

    return misfit(outcomes.r, given.of.r) + misfit(outcomes.c, given.of.c)


@dataclass(frozen=True)
class Distilled(FromStart):
    """A network regressed on a method's surfaces by `teaching_loss`, in everybody's own unit.

    The network is that of `start`, which it begins from. Outcomes are not looked at again: what it learns is without
    their noise, for as many people as there are (Hinton et al. 2015). Of a teacher that predicts money it learns money;
    of another, whose levels mean nothing, what decides.
    """

    of: Method
    start: TwoStage | WeightedTwoStage = field(default_factory=TwoStage)
    training: FitConfig = field(default_factory=lambda: TwoStage().training)

    @property
    def money(self) -> bool:
        """Whether the teacher predicts money."""
        return self.of.money

    @property
    def weighs(self) -> bool:
        """Whether the teacher weighs rows; what learns from it does."""
        return weighs(self.of)

    def predict(self, params: Params, x: Array) -> Outcomes:
        """The teacher's surfaces as the network has learned them, [n, m] each."""
        return self.start.predict(params, x) if self.money else predict_money(self.network, params, x)

    def _fit(self, key: Array, tasks: Sequence[Task], log: Log, seeds: Seeds) -> Params:
        teachers = log.fitted(self.of, key, tasks)
        known = nuisances(self.start, key, tasks, log, seeds)

        def of_people(hat: Outcomes, people: Sequence[Trial], weight: Array | None) -> tuple[Outcomes, Outcomes]:
            each = [self.of.predict(teacher, trial.x) for teacher, trial in zip(teachers, people, strict=True)]
            taught = stack(each) if seeds.axes else each[0]
            taught = seeds.each(counted_in)(known.counted.units, taught)
            return taught if self.money else seeds.each(_of_size)(taught, hat, weight), hat

        counted = known.counted
        hat = of_people(known.hat, [in_memory(task.train) for task in tasks], counted.sample.weight)
        valid_hat = of_people(known.valid_hat, [task.valid for task in tasks], counted.valid.weight)
        both = known._replace(hat=hat, valid_hat=valid_hat)  # pyright: ignore[reportArgumentType]
        told = log.stage("", self.training.epochs, all_rows(tasks))
        loss, begin = partial(teaching_loss, level=self.money), known.params["net"]
        return regress(loss, _taught, key, both, self.network, self.training, told, begin=begin)


def _taught(trial: Trial, hats: tuple[Outcomes, Outcomes]) -> Taught:
    teacher, own = hats
    return Taught(teacher, person_weights(own, trial.weight, own_units=True))


def _of_size(taught: Outcomes, hat: Outcomes, weight: Array | None) -> Outcomes:
    """Surfaces of the size of others: a teacher's scores are in any unit, and a network begins near its own."""
    size = score_spread(hat.r, weight) / score_spread(taught.r, weight)
    size = jnp.where(jnp.isfinite(size) & (size > 0), size, 1)
    return Outcomes(size * taught.r, size * taught.c)
