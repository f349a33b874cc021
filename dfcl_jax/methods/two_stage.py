"""Two-stage learning (TSM-SL): predict revenue and cost of every treatment, and let a solver decide."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import jax
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.data import StreamedTrial, Task
from dfcl_jax.errors import refuse
from dfcl_jax.losses import prediction_loss
from dfcl_jax.methods.gradient import (
    build,
    count_all,
    fit_network,
    predict_money,
    refuse_unless_rising,
    refuse_unless_two,
    with_units,
    within_seen,
)
from dfcl_jax.methods.judged import cost_curve_area
from dfcl_jax.methods.method import Log
from dfcl_jax.methods.over_seeds import OverSeeds
from dfcl_jax.models import NetworkConfig, Params
from dfcl_jax.train import (
    FitConfig,
    MeanOverRows,
    Rows,
    Seeds,
    Stage,
    Streamed,
)
from dfcl_jax.types import Outcomes, Trial, Units, in_units, num_arms


@dataclass(frozen=True)
class TwoStage(OverSeeds):
    """A network trained on the prediction loss (DFCL, D4); the checkpoint with the least of it on the validation part.

    Raises:
        InputError: cross-entropy for a network whose outputs are no probabilities.
    """

    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: Literal["squares", "cross_entropy"] = "squares"
    training: FitConfig = field(default_factory=lambda: FitConfig(epochs=20, batch_size=512, learning_rate=3e-3))
    select: Literal["loss", "aucc"] = "loss"  # what chooses the checkpoint

    money = True
    weighs = True

    def __post_init__(self) -> None:
        """Check that the loss fits the network."""
        if self.loss == "cross_entropy" and self.network.link != "sigmoid":
            expected = "'sigmoid', for outcomes of 0 to 1; loss 'squares' fits money"
            refuse("link of a network trained by cross_entropy", found=repr(self.network.link), expected=expected)

    def predict(self, params: Params, x: Array) -> Outcomes:
        """Revenue and cost of every treatment, [n, m] each; cost within the range that the trial has seen of it.

        A treatment whose cost never varied, such as a free control, has exactly that cost.
        """
        outcomes = within_seen(predict_money(self.network, params, x), params["costs"])
        if not self.network.rises:
            return outcomes
        # The largest cost that was seen of a treatment may be below that of the one before.
        return outcomes._replace(c=jax.lax.cummax(outcomes.c, axis=1))

    def _fit(self, key: Array, tasks: Sequence[Task], log: Log, seeds: Seeds) -> Params:
        if self.select == "aucc":
            refuse_unless_two(tasks[0], "select")
        counted = count_all(tasks, self.network.link, seeds, multiple=self.training.devices)
        self.check_outcomes({"revenue": counted.sample.r, "cost": counted.sample.c})
        if self.network.rises:
            for task in tasks:
                refuse_unless_rising(task)
        model = build(self.network, num_arms(counted.sample))

        def objective(outcomes: Outcomes, rows: Rows, shared: None) -> Array:
            return prediction_loss(outcomes, rows.trial, kind=self.loss)

        def accuracy(outcomes: Outcomes, trial: Trial) -> Array:
            return -prediction_loss(outcomes, trial, kind=self.loss)

        def prepare(trial: Trial, units: Units) -> Rows:
            return Rows(in_units(trial, units))

        train, validate = tasks[0].train, cost_curve_area if self.select == "aucc" else accuracy
        net = fit_network(
            jax.random.fold_in(key, 0),
            counted,
            Stage(model, MeanOverRows(objective), validate, self.training),
            seeds,
            log.stage("", self.training.epochs, sum(task.train.rows for task in tasks)),
            rows=Streamed(train, prepare, counted.units) if isinstance(train, StreamedTrial) else None,
        )
        return with_units(net, counted)

    def check_outcomes(self, outcomes: dict[str, ArrayLike]) -> None:
        """Refuse outcomes, by name, that the network cannot predict: other than 0 to 1 for one of probabilities."""
        for name, outcome in outcomes.items():
            low, high = float(np.min(outcome)), float(np.max(outcome))
            if self.network.link == "sigmoid" and not 0 <= low <= high <= 1:
                found = f"values from {low:.6g} to {high:.6g}"
                expected = "0 to 1, or link identity with loss squares, which fits money"
                refuse(f"{name} for a sigmoid network", found=found, expected=expected)
