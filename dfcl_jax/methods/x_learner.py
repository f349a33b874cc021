"""X-learner: effects learned twice, from the treated and from the control, each imputing the outcome it lacks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import jax.numpy as jnp
from jax import Array

from dfcl_jax import scores
from dfcl_jax.data import Task
from dfcl_jax.losses import surface_loss
from dfcl_jax.methods.gradient import predict_money
from dfcl_jax.methods.method import Log
from dfcl_jax.methods.over_seeds import OverSeeds
from dfcl_jax.methods.regression import all_rows, nuisances, over_control, person_weights, regress
from dfcl_jax.methods.two_stage import TwoStage
from dfcl_jax.models import NetworkConfig, Params
from dfcl_jax.train import FitConfig, Seeds
from dfcl_jax.types import Outcomes, Scores, Trial

SIDES = ("treated", "control")


@dataclass(frozen=True)
class XLearner(OverSeeds):
    """Effects of each treatment j over treatment 0, added to its predicted outcomes (Kuenzel et al. 2019).

    Two networks are regressed on imputed effects: y_i - y_hat_i0 of the people with treatment j, and y_hat_ij - y_i of
    those with treatment 0. tau_j = g tau_control + (1 - g) tau_treated with g = p_j / (p_0 + p_j), so most weight has
    the side whose imputed outcomes come from the larger arm. Propensities that differ between people count by their
    mean.
    """

    nuisance: TwoStage = field(default_factory=TwoStage)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: FitConfig = field(default_factory=lambda: TwoStage().training)
    own_units: bool = False  # people weigh w = 1 / s(x)^2, as precise as their outcomes are; not all alike

    money = True
    weighs = True

    def predict(self, params: Params, x: Array) -> Outcomes:
        """Revenue and cost of every treatment, [n, m] each; cost within the range that the trial has seen of it."""
        treated, control = (predict_money(self.network, params[name], x) for name in SIDES)
        g = params["share"][None, :]
        effect = Outcomes(*(g * low + (1 - g) * high for high, low in zip(treated, control, strict=True)))
        # Treatment 0 has no effect over itself, whatever the networks say of it.
        effect = Outcomes(*(tau.at[:, 0].set(0) for tau in effect))
        return over_control(self.nuisance.predict(params["nuisance"], x), effect, params["treated"]["costs"])

    def _fit(self, key: Array, tasks: Sequence[Task], log: Log, seeds: Seeds) -> Params:
        """Parameters of both sides' effects, of two-stage learning, and the shares that weigh the sides."""
        known = nuisances(self.nuisance, key, tasks, log, seeds)

        def side(name: str) -> Params:
            told = log.stage(name, self.training.epochs, all_rows(tasks))
            given = partial(self._imputed, name)
            return regress(surface_loss, given, key, known, self.network, self.training, told)

        share = seeds.each(_share)(known.counted.sample.p)
        return {name: side(name) for name in SIDES} | {"nuisance": known.params, "share": share}

    def _imputed(self, side: str, trial: Trial, hat: Outcomes) -> Scores:
        """Imputed effects times their weights in the regression."""
        weight = person_weights(hat, trial.weight, own_units=self.own_units)[:, None]
        if side == "treated":
            given = scores.centred(trial, hat, base=lambda y_hat, p: y_hat[:, 0])
        else:
            w = scores.observation_weights(trial)[:, :1] * jnp.ones_like(hat.r)
            given = Scores(w * (hat.r - trial.r[:, None]), w * (hat.c - trial.c[:, None]), w)
        return Scores(*(weight * surface for surface in given))


def _share(p: Array) -> Array:
    """p_j / (p_0 + p_j), [m], for propensities [m] or [n, m]."""
    mean = jnp.atleast_2d(p).mean(axis=0)
    return mean / (mean[0] + mean)
