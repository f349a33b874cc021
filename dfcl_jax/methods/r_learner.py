"""R-learner: effects from what is left of outcomes and of treatments once both are predicted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax.data import Task
from dfcl_jax.methods.gradient import predict_money
from dfcl_jax.methods.method import Log
from dfcl_jax.methods.regression import CrossFitted, over_control, person_weights
from dfcl_jax.models import Params
from dfcl_jax.train import Seeds
from dfcl_jax.types import Outcomes, Trial


class Residuals(NamedTuple):
    """What is left to explain, of n people."""

    r: Array  # [n] revenue less its expectation over treatments
    c: Array  # [n]
    t: Array  # [n, m] 1[t = j] - p_j
    w: Array  # [n] weights of people


def residual_loss(effect: Outcomes, given: Residuals) -> Array:
    """mean_i w_i (y_i - m(x_i) - sum_j (1[t_i = j] - p_ij) f_ij)^2 / 2, of revenue plus of cost, [].

    The R-loss (Nie and Wager 2021, equation 4) for m treatments. It does not change if all f_ij of a person do, so
    only differences between treatments are learned.
    """

    def misfit(left: Array, f: Array) -> Array:
        return (given.w * (left - (given.t * f).sum(axis=1)) ** 2).mean() / 2

    return misfit(given.r, effect.r) + misfit(given.c, effect.c)


@dataclass(frozen=True)
class RLearner(CrossFitted):
    """Effects by `residual_loss`, added to the predicted outcomes of treatment 0.

    m(x) = sum_j p_j y_hat_j(x), y_hat of models that have not seen the person.
    """

    def predict(self, params: Params, x: Array) -> Outcomes:
        """Revenue and cost of every treatment, [n, m] each; cost within the range that the trial has seen of it."""
        effect = predict_money(self.network, params["effect"], x)
        return over_control(self.nuisance.predict(params["nuisance"], x), effect, params["effect"]["costs"])

    def _given(self, trial: Trial, hat: Outcomes) -> Residuals:
        p = jnp.broadcast_to(jnp.atleast_2d(trial.p), hat.r.shape)
        return Residuals(
            trial.r - (p * hat.r).sum(axis=1),
            trial.c - (p * hat.c).sum(axis=1),
            jax.nn.one_hot(trial.t, p.shape[1], dtype=p.dtype) - p,
            person_weights(hat, trial.weight, own_units=self.own_units),
        )

    def _fit(self, key: Array, tasks: Sequence[Task], log: Log, seeds: Seeds) -> Params:
        """Parameters of the effects and of two-stage learning."""
        effect, known = self.regressed(residual_loss, self._given, key, tasks, log, seeds)
        return {"effect": effect, "nuisance": known.params}
