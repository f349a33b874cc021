"""What methods share whose loss sees more of a network than its predictions."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import jax
from jax import Array

from dfcl_jax.data import Task
from dfcl_jax.errors import refuse
from dfcl_jax.losses import prediction_loss
from dfcl_jax.methods.gradient import count_all, fit_network, refuse_changed, with_units, within_seen
from dfcl_jax.methods.method import Log
from dfcl_jax.methods.observed import in_memory
from dfcl_jax.methods.over_seeds import OverSeeds
from dfcl_jax.methods.regression import all_rows
from dfcl_jax.methods.two_stage import TwoStage
from dfcl_jax.models import Model, NetworkConfig, Params, Represented, represented
from dfcl_jax.train import FitConfig, OfNetwork, Rows, Seeds, Stage, predict
from dfcl_jax.types import Outcomes, Trial, num_arms


@dataclass(frozen=True)
class ByLoss(OverSeeds):
    """A network that learns by a loss of its own; the checkpoint with the least prediction loss is kept.

    Raises:
        InputError: members, several devices, or options for losses of predictions alone; when it learns, people who are
            streamed.
    """

    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: FitConfig = field(default_factory=lambda: TwoStage().training)

    money = True

    def __post_init__(self) -> None:
        """Check what a loss of the whole batch cannot have."""
        name = type(self).__name__
        if self.network.members > 1 or self.network.rises:
            found = f"{self.network.shape} of {self.network.members}"
            refuse(f"network of {name}", found=found, expected="one whose treatments have heads of their own")
        refuse_changed(self.training, name, "chunk", "compute", "through", "devices")

    @abstractmethod
    def model(self, m: int) -> Model:
        """The network for m treatments."""

    @abstractmethod
    def loss(self, params: Params, trial: Trial) -> Array:
        """The loss of a batch, [], money in the model's units."""

    def represented(self, m: int) -> Represented:
        """A trunk `network.hidden` and, for every outcome of every treatment, a head `network.head` on it."""
        return represented(m, trunk=self.network.hidden, head=self.network.head, link=self.network.link)

    def predict(self, params: Params, x: Array) -> Outcomes:
        """Revenue and cost of every treatment, [n, m] each; cost within the range that was seen of it."""
        return within_seen(_in_money(self, params, x), params["costs"])

    def _fit(self, key: Array, tasks: Sequence[Task], log: Log, seeds: Seeds) -> Params:
        for task in tasks:
            in_memory(task.train, type(self).__name__)
        counted = count_all(tasks, self.network.link, seeds)
        model = self.model(num_arms(counted.sample))

        def loss(params: Params, rows: Rows, shared: None) -> Array:
            return self.loss(params, rows.trial)

        def accuracy(outcomes: Outcomes, trial: Trial) -> Array:
            return -prediction_loss(outcomes, trial)

        stage = Stage(model, OfNetwork(loss), accuracy, self.training)
        told = log.stage("", self.training.epochs, all_rows(tasks))
        return with_units(fit_network(key, counted, stage, seeds, told), counted)


@partial(jax.jit, static_argnums=0)
def _in_money(method: ByLoss, params: Params, x: Array) -> Outcomes:
    r, c = predict(method.model(params["costs"].shape[-1]), params["net"], x)
    return Outcomes(r * params["units"]["r"], c * params["units"]["c"])
