"""Two-stage learning with a zero-inflated log-normal head: revenue of few people, and of those with a heavy tail."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax.data import Task
from dfcl_jax.errors import refuse
from dfcl_jax.methods.gradient import build, count_all, fit_network, with_units, within_seen
from dfcl_jax.methods.method import Log
from dfcl_jax.methods.observed import in_memory
from dfcl_jax.methods.over_seeds import OverSeeds
from dfcl_jax.methods.regression import all_rows
from dfcl_jax.models import NetworkConfig, Params
from dfcl_jax.scores import observation_weights
from dfcl_jax.train import FitConfig, MeanOverRows, Rows, Seeds, Stage, predict
from dfcl_jax.types import Outcomes, Trial, num_arms, pick

# Largest log-variance: the mean of a log-normal grows with its exponential.
_WIDEST = 1.5


def head_of(raw: Outcomes) -> tuple[Array, Array, Array, Array]:
    """Logit of P(r > 0), mean and log standard deviation of log r where r > 0, and cost, [n, m] each.

    `raw` are the outputs of a network for twice as many treatments, [n, 2 m] each.
    """
    (logit, mu), (cost, wide) = (jnp.split(y, 2, axis=1) for y in raw)
    return logit, mu, _WIDEST / 2 * jnp.tanh(wide), cost


def zero_inflated_loss(raw: Outcomes, trial: Trial) -> Array:
    """Negative log-likelihood of revenue plus squares of cost, weighted as the prediction loss (DFCL, D4), [].

    l(r) = CE(1[r > 0], p) + 1[r > 0] ((ln r - mu)^2 / (2 s^2) + ln s), of the treatment that each person was given.
    """
    logit, mu, log_s, cost = (pick(y, trial.t) for y in head_of(raw))
    some = trial.r > 0
    log_r = jnp.log(jnp.where(some, trial.r, 1))
    tail = (log_r - mu) ** 2 * jnp.exp(-2 * log_s) / 2 + log_s
    misfit = jax.nn.softplus(logit) - some * logit + jnp.where(some, tail, 0) + (trial.c - cost) ** 2
    w = pick(observation_weights(trial), trial.t)
    return (w * misfit).mean() / num_arms(trial)


@dataclass(frozen=True)
class ZeroInflated(OverSeeds):
    """Predict mean revenue p exp(mu + s^2 / 2) by a head of its own (ZILN, Wang et al. 2019; RERUM, KDD 2024).

    The network is that of twice as many treatments: for each a logit, mu, ln s and cost. Revenue is at least 0.

    Raises:
        InputError: a network with a link or steps that rise; when it learns, revenue below 0 or a streamed trial.
    """

    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: FitConfig = field(default_factory=lambda: FitConfig(epochs=20, batch_size=512, learning_rate=3e-3))

    money = True

    def __post_init__(self) -> None:
        """Check the network."""
        if self.network.link != "identity" or self.network.rises:
            refuse(
                "network of a zero-inflated head",
                found=f"{self.network.shape}, link {self.network.link}",
                expected="link identity, and no steps that rise: the head has links of its own",
            )

    def predict(self, params: Params, x: Array) -> Outcomes:
        """Revenue and cost of every treatment, [n, m] each; cost within the range that the trial has seen of it."""
        m = params["costs"].shape[-1]
        logit, mu, log_s, cost = head_of(predict(build(self.network, 2 * m), params["net"], x))
        r = jax.nn.sigmoid(logit) * jnp.exp(mu + jnp.exp(2 * log_s) / 2)
        return within_seen(Outcomes(r * params["units"]["r"], cost * params["units"]["c"]), params["costs"])

    def _fit(self, key: Array, tasks: Sequence[Task], log: Log, seeds: Seeds) -> Params:
        for task in tasks:
            in_memory(task.train, "ZeroInflated")
        counted = count_all(tasks, "identity", seeds, multiple=self.training.devices)
        least = float(counted.sample.r.min())
        if least < 0:
            refuse("revenue of a zero-inflated head", found=f"values from {least:.6g}", expected="at least 0")
        model = build(self.network, 2 * num_arms(counted.sample))

        def objective(raw: Outcomes, rows: Rows, shared: None) -> Array:
            return zero_inflated_loss(raw, rows.trial)

        def accuracy(raw: Outcomes, trial: Trial) -> Array:
            return -zero_inflated_loss(raw, trial)

        stage = Stage(model, MeanOverRows(objective), accuracy, self.training)
        told = log.stage("", self.training.epochs, all_rows(tasks))
        return with_units(fit_network(key, counted, stage, seeds, told), counted)
