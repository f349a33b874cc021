"""Two-stage learning by weighted least squares: people count as their outcomes are precise."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from jax import Array

from dfcl_jax.data import Task
from dfcl_jax.losses import surface_loss
from dfcl_jax.methods.method import Log
from dfcl_jax.methods.over_seeds import OverSeeds
from dfcl_jax.methods.regression import all_rows, nuisances, regress
from dfcl_jax.methods.two_stage import TwoStage
from dfcl_jax.models import NetworkConfig, Params
from dfcl_jax.scores import weighed
from dfcl_jax.scores.surfaces import raw_by_precision
from dfcl_jax.train import FitConfig, Seeds
from dfcl_jax.types import Outcomes, Scores, Trial


class FromStart(OverSeeds):
    """A method that goes on with the network of another, `start`, and shares its network and prediction loss."""

    start: Any

    @property
    def network(self) -> NetworkConfig:
        """The network, which is that of the start."""
        return self.start.network

    @property
    def loss(self) -> Literal["squares", "cross_entropy"]:
        """The prediction loss of the start."""
        return self.start.loss


@dataclass(frozen=True)
class WeightedTwoStage(FromStart):
    """Least squares with weights 1 / s(x_i)^2, s the `scores.outcome_scale` of the two-stage learning it starts from.

    With noise proportional to s these weights are those of least variance (Aitken 1936). There is no decision in it:
    what it gains over two-stage learning is owed to heavy tails alone.
    """

    start: TwoStage = field(default_factory=TwoStage)
    training: FitConfig = field(default_factory=lambda: FitConfig(epochs=12, batch_size=1024, learning_rate=1e-3))

    money = True
    weighs = True

    def predict(self, params: Params, x: Array) -> Outcomes:
        """As `TwoStage.predict`."""
        return self.start.predict(params, x)

    def _fit(self, key: Array, tasks: Sequence[Task], log: Log, seeds: Seeds) -> Params:
        known = nuisances(self.start, key, tasks, log, seeds)
        told = log.stage("", self.training.epochs, all_rows(tasks))
        begin = known.params["net"]
        return regress(surface_loss, of_people, key, known, self.network, self.training, told, begin=begin)


def of_people(trial: Trial, hat: Outcomes) -> Scores:
    """Raw scores by their precision, each row counting as many people as it stands for."""
    return weighed(raw_by_precision(trial, hat), trial.weight)
