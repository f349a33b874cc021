"""One network that decides as another method does, such as an ensemble: a fraction of its size to deploy."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax.data import Task
from dfcl_jax.losses.constants import score_spread
from dfcl_jax.methods.gradient import in_memory, predict_money
from dfcl_jax.methods.method import Log, Method
from dfcl_jax.methods.regression import OverSeeds, all_rows, counted_in, nuisances, person_weights, regress
from dfcl_jax.methods.two_stage import TwoStage
from dfcl_jax.methods.weighted import WeightedTwoStage
from dfcl_jax.models import Params
from dfcl_jax.train import FitConfig, Seeds
from dfcl_jax.types import Outcomes, Trial


class Taught(NamedTuple):
    """What a network learns of n people."""

    of: Outcomes  # the teacher's surfaces, [n, m] each
    w: Array  # [n] weights of people


def teaching_loss(outcomes: Outcomes, given: Taught) -> Array:
    """mean_ij w_i (d_ij - D_ij)^2 of revenue plus of cost, [], with d_ij = y_hat_ij - mean_j y_hat_ij, D the teacher's.

    Only differences between treatments decide, so a teacher's level is not learned.
    """

    def misfit(y: Array, target: Array) -> Array:
        apart = y - target
        apart = apart - apart.mean(axis=1, keepdims=True)
        return (given.w * (apart**2).mean(axis=1)).mean()

    return misfit(outcomes.r, given.of.r) + misfit(outcomes.c, given.of.c)


@dataclass(frozen=True)
class Distilled(OverSeeds):
    """A network regressed on a method's surfaces by `teaching_loss`, in everybody's own unit.

    The network is that of `start`, which it begins from. Outcomes are not looked at again: what it learns is without
    their noise, for as many people as there are (Hinton et al. 2015).
    """

    of: Method
    start: TwoStage | WeightedTwoStage = field(default_factory=TwoStage)
    training: FitConfig = field(default_factory=lambda: TwoStage().training)

    @property
    def money(self) -> bool:
        """False: the level of surfaces is not learned."""
        return False

    def predict(self, params: Params, x: Array) -> Outcomes:
        """Surfaces whose differences rank decisions, [n, m] each."""
        return predict_money(self.start.network, params, x)

    def _fit(self, key: Array, tasks: Sequence[Task], log: Log, seeds: Seeds) -> Params:
        teachers = log.fitted(self.of, key, tasks)
        known = nuisances(self.start, key, tasks, log, seeds)

        def of_people(hat: Outcomes, people: Sequence[Trial]) -> tuple[Outcomes, Outcomes]:
            each = [self.of.predict(teacher, trial.x) for teacher, trial in zip(teachers, people, strict=True)]
            taught = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each) if seeds.axes else each[0]
            taught = seeds.each(counted_in)(known.counted.units, taught)
            return seeds.each(_of_size)(taught, hat), hat

        hat = of_people(known.hat, [in_memory(task.train) for task in tasks])
        valid_hat = of_people(known.valid_hat, [task.valid for task in tasks])
        both = known._replace(hat=hat, valid_hat=valid_hat)  # pyright: ignore[reportArgumentType]
        told = log.stage("", self.training.epochs, all_rows(tasks))
        begin = known.params["net"]
        return regress(teaching_loss, _taught, key, both, self.start.network, self.training, told, begin=begin)


def _taught(trial: Trial, hats: tuple[Outcomes, Outcomes]) -> Taught:
    teacher, own = hats
    return Taught(teacher, person_weights(own, own_units=True))


def _of_size(taught: Outcomes, hat: Outcomes) -> Outcomes:
    """Surfaces of the size of others: a teacher's scores are in any unit, and a network begins near its own."""
    size = score_spread(hat.r) / score_spread(taught.r)
    size = jnp.where(jnp.isfinite(size) & (size > 0), size, 1)
    return Outcomes(size * taught.r, size * taught.c)
