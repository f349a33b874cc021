"""DR-learner: a network regressed on doubly robust score surfaces."""

from dataclasses import dataclass, field

import jax.numpy as jnp
from jax import Array

from dfcl_jax import scores
from dfcl_jax.data import Task
from dfcl_jax.errors import refuse
from dfcl_jax.losses import surface_loss
from dfcl_jax.methods.gradient import predict_money
from dfcl_jax.methods.method import Log
from dfcl_jax.methods.regression import nuisances, person_weights, regress
from dfcl_jax.methods.two_stage import TwoStage
from dfcl_jax.models import NetworkConfig, Params
from dfcl_jax.train import FitConfig
from dfcl_jax.types import Outcomes, Scores, Trial


@dataclass(frozen=True)
class DRLearner:
    """Regress G = y_hat + 1[t = j] (y - y_hat) / p on features, y_hat of models that have not seen the person.

    L = mean_ij w_i (G_ij - f_ij)^2 for revenue and for cost (Kennedy 2023, for the surfaces of all treatments rather
    than for one contrast). G is unbiased whatever the models predict, as the treatment was randomised.

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
            refuse("folds", found=self.folds, expected="at least 2: scores of people whom a model has seen are biased")

    def fit(self, key: Array, task: Task, log: Log) -> Params:
        """The network's parameters with its units of money."""
        known = nuisances(self.nuisance, key, task, log, folds=self.folds)
        parts = ((known.counted.sample, known.hat), (known.counted.valid, known.valid_hat))

        return regress(
            surface_loss,
            key,
            known.counted,
            (self._given(*parts[0]), self._given(*parts[1])),
            self.network,
            self.training,
            log.stage("", self.training.epochs, known.counted.sample.rows),
        )

    def predict(self, params: Params, x: Array) -> Outcomes:
        """Revenue and cost of every treatment, [n, m] each; cost within the range that the trial has seen of it."""
        outcomes = predict_money(self.network, params, x)
        return outcomes._replace(c=jnp.clip(outcomes.c, *params["costs"][:, None]))

    def _given(self, trial: Trial, hat: Outcomes) -> Scores:
        weight = person_weights(hat, self.own_units)[:, None]
        surfaces = scores.aipw(trial, hat)
        return Scores(weight * surfaces.r, weight * surfaces.c, weight * jnp.ones_like(surfaces.w))
