"""Propensities of logs that do not state them, learned from who had what."""

import jax
import jax.numpy as jnp
import optax
from jax import Array

from dfcl_jax.methods.gradient import build
from dfcl_jax.models import NetworkConfig
from dfcl_jax.train import FitConfig, MeanOverRows, Rows, Stage, Validation, fit, predict
from dfcl_jax.types import Outcomes, Trial, num_arms, take

NETWORK = NetworkConfig(hidden=(32,))
TRAINING = FitConfig(epochs=20, batch_size=512, learning_rate=3e-3, weight_decay=1e-2)
# Least propensity: it bounds weights by 1 / 0.02, at the price of a bias where a treatment is rarer than that.
FLOOR = 0.02
# Of so many people one chooses the epoch.
_HELD_OUT = 10


def with_learned_propensities(key: Array, trial: Trial) -> Trial:
    """The people with propensities p_ij = P(t = j | x_i), [n, m], that a network has learned from them.

    Of people of several sources, such as a trial and logs, these are the propensities of the mixture of their policies:
    what a trial gives everybody bounds them from below, also where the logs' policy never gave a treatment (the balance
    heuristic of importance sampling, Veach and Guibas 1995).
    """
    model = build(NETWORK, num_arms(trial))
    cut_key, init_key, order_key = jax.random.split(key, 3)
    order = jax.random.permutation(cut_key, trial.rows)
    valid, train = (take(trial, part) for part in jnp.split(order, [-(-trial.rows // _HELD_OUT)]))
    stage = Stage(model, MeanOverRows(_misfit), _fit_of, TRAINING)
    net = fit(order_key, model.init(init_key, trial.x[:1]), Rows(train), None, Validation(valid.x, valid), stage).params
    p = jnp.maximum(jax.nn.softmax(predict(model, net, trial.x).r, axis=1), FLOOR)
    return trial._replace(p=(p / p.sum(axis=1, keepdims=True)).astype(trial.r.dtype))


def _misfit(outcomes: Outcomes, rows: Rows, shared: None) -> Array:
    """Cross-entropy of the treatments, whose logits stand in the place of revenue."""
    return optax.softmax_cross_entropy_with_integer_labels(outcomes.r, rows.trial.t).mean()


def _fit_of(outcomes: Outcomes, trial: Trial) -> Array:
    return -_misfit(outcomes, Rows(trial), None)
