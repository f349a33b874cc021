"""DR-learner: a network regressed on doubly robust score surfaces."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from dfcl_jax import scores
from dfcl_jax.data import Task
from dfcl_jax.losses import surface_loss
from dfcl_jax.methods.gradient import predict_money, within_seen
from dfcl_jax.methods.method import Log
from dfcl_jax.methods.regression import CrossFitted, person_weights
from dfcl_jax.models import Params
from dfcl_jax.train import Seeds
from dfcl_jax.types import Outcomes, Scores, Trial


@dataclass(frozen=True)
class DRLearner(CrossFitted):
    """Regress G = y_hat + 1[t = j] (y - y_hat) / p on features, y_hat of models that have not seen the person.

    L = mean_ij w_i (G_ij - f_ij)^2 for revenue and for cost (Kennedy 2023, for the surfaces of all treatments rather
    than for one contrast). G is unbiased whatever the models predict, as the treatment was randomised.
    """

    def predict(self, params: Params, x: Array) -> Outcomes:
        """Revenue and cost of every treatment, [n, m] each; cost within the range that the trial has seen of it."""
        return within_seen(predict_money(self.network, params, x), params["costs"])

    def _given(self, trial: Trial, hat: Outcomes) -> Scores:
        weight = person_weights(hat, trial.weight, own_units=self.own_units)[:, None]
        surfaces = scores.aipw(trial, hat)
        return Scores(weight * surfaces.r, weight * surfaces.c, weight * jnp.ones_like(surfaces.w))

    def _fit(self, key: Array, tasks: Sequence[Task], log: Log, seeds: Seeds) -> Params:
        return self.regressed(surface_loss, self._given, key, tasks, log, seeds)[0]
