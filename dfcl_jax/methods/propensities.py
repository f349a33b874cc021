"""Propensities of logs that do not state them, learned from who had what."""

from functools import partial

import jax
import jax.numpy as jnp
import optax
from jax import Array

from dfcl_jax.methods.gradient import build
from dfcl_jax.models import NetworkConfig
from dfcl_jax.types import Trial, num_arms

NETWORK = NetworkConfig(hidden=(32,))
EPOCHS, BATCH, RATE = 20, 512, 3e-3
# Least propensity: it bounds weights by 1 / 0.02, at the price of a bias where a treatment is rarer than that.
FLOOR = 0.02


def with_learned_propensities(key: Array, trial: Trial) -> Trial:
    """The people with propensities p_ij = P(t = j | x_i), [n, m], that a network has learned from them.

    Of people of several sources, such as a trial and logs, these are the propensities of the mixture of their policies:
    what a trial gives everybody bounds them from below, also where the logs' policy never gave a treatment (the balance
    heuristic of importance sampling, Veach and Guibas 1995).
    """
    return trial._replace(p=_learned(key, trial.x, trial.t, num_arms(trial)).astype(trial.r.dtype))


@partial(jax.jit, static_argnames="m")
def _learned(key: Array, x: Array, t: Array, m: int) -> Array:
    model = build(NETWORK, m)
    n = x.shape[0]
    size = min(BATCH, n)
    batches = n // size
    init_key, order_key = jax.random.split(key)
    optimiser = optax.adamw(optax.cosine_decay_schedule(RATE, EPOCHS * batches), weight_decay=1e-2)
    params = model.init(init_key, x[:1])

    def loss(params: object, rows: Array) -> Array:
        logits = model.apply(params, x[rows]).r
        return optax.softmax_cross_entropy_with_integer_labels(logits, t[rows]).mean()

    def step(state: tuple, rows: Array) -> tuple[tuple, None]:
        params, memory = state
        updates, memory = optimiser.update(jax.grad(loss)(params, rows), memory, params)
        return (optax.apply_updates(params, updates), memory), None

    def epoch(state: tuple, key: Array) -> tuple[tuple, None]:
        order = jax.random.permutation(key, n)[: batches * size].reshape(batches, size)
        return jax.lax.scan(step, state, order)

    keys = jax.random.split(order_key, EPOCHS)
    (params, _), _ = jax.lax.scan(epoch, (params, optimiser.init(params)), keys)
    p = jnp.maximum(jax.nn.softmax(model.apply(params, x).r, axis=1), FLOOR)
    return p / p.sum(axis=1, keepdims=True)
