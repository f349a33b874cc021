"""Simulated trials that return the truth beside what was seen."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax.types import Outcomes, Trial, pick


class Simulation(NamedTuple):
    """A trial and what it could not show."""

    trial: Trial
    truth: Outcomes  # expected revenue and cost of every treatment for every person, [n, m] each


DISCOUNTS = (0.0, 0.05, 0.10, 0.15, 0.20)


def marketing(key: Array, n: int, *, d: int = 30, base_spread: float = 1.0) -> Simulation:
    """A trial of five discounts on a population with heavy-tailed base demand, drawn anew for each key.

    With z_b, z_A, z_k random functions of the features, b = exp(s z_b - s^2 / 2), A = 1.2 sigmoid(2 z_A - 2) and
    k = 6 exp(z_k), the expected outcomes of a discount d_j are
    R_j = b (1 + A (1 - exp(-k d_j)) / (1 - exp(-0.2 k))) and C_j = d_j R_j: the discount is paid on every order.
    Revenue seen is R_t Gamma(4, 1/4), cost d_t times that. Treatments are given with equal probability.

    Args:
        key: population, people and outcomes; the same key gives the same trial.
        n: people.
        d: features, a third skewed, a third rounded, all standardised.
        base_spread: s, the standard deviation of log base demand; 0 makes it homogeneous.
    """
    x_key, b_key, a_key, k_key, t_key, noise_key = jax.random.split(key, 6)
    x = _features(x_key, n, d)
    discounts = jnp.array(DISCOUNTS)
    m = len(DISCOUNTS)

    base = jnp.exp(base_spread * _random_function(b_key, x) - base_spread**2 / 2)[:, None]
    lift = 1.2 * jax.nn.sigmoid(2 * _random_function(a_key, x) - 2)[:, None]
    rate = 6 * jnp.exp(_random_function(k_key, x))[:, None]
    revenue = base * (1 + lift * jnp.expm1(-rate * discounts[None, :]) / jnp.expm1(-rate * discounts[-1]))
    truth = Outcomes(r=revenue, c=discounts[None, :] * revenue)

    t = jax.random.randint(t_key, (n,), 0, m)
    r = pick(revenue, t) * jax.random.gamma(noise_key, 4.0, (n,)) / 4
    return Simulation(Trial(x, t, r, discounts[t] * r, jnp.full(m, 1 / m)), truth)


def criteo_like(key: Array, n: int, *, d: int = 12) -> Simulation:
    """A trial in the shape of CRITEO-UPLIFT: 85% treated, few visits (the cost), fewer conversions (the revenue).

    A visit has logit -4.25 + 1.6 z_v, and 0.25 exp(0.7 z_u - 0.245) more when treated; a conversion, given the visit,
    -3.35 + z_c + 0.3 z_v, and 0.25 clip(z_w, -1, 3) + 0.1 more when treated. Each z is a random function of the
    features. Over populations visits are 4.7% (standard deviation 0.3%) and conversions 0.4% (0.16%).

    Args:
        key: population, people and outcomes.
        n: people.
        d: features.
    """
    x_key, v_key, u_key, c_key, w_key, t_key, visit_key, buy_key = jax.random.split(key, 8)
    x = _features(x_key, n, d)
    z_v, z_u, z_c, z_w = (_random_function(k, x)[:, None] for k in (v_key, u_key, c_key, w_key))
    treated = jnp.array([[0.0, 1.0]])
    visit = jax.nn.sigmoid(-4.25 + 1.6 * z_v + treated * 0.25 * jnp.exp(0.7 * z_u - 0.245))
    buy = jax.nn.sigmoid(-3.35 + z_c + 0.3 * z_v + treated * (0.25 * jnp.clip(z_w, -1, 3) + 0.1))
    truth = Outcomes(r=visit * buy, c=visit)

    p = jnp.array([0.15, 0.85])
    t = jax.random.bernoulli(t_key, p[1], (n,)).astype(jnp.int32)
    c = jax.random.bernoulli(visit_key, pick(visit, t))
    r = c & jax.random.bernoulli(buy_key, pick(buy, t))
    return Simulation(Trial(x, t, r.astype(x.dtype), c.astype(x.dtype), p), truth)


def _features(key: Array, n: int, d: int) -> Array:
    """X ~ N(0, 0.2 11' + 0.8 I), a third exponentiated, a third rounded, standardised, [n, d]."""
    common, own = jax.random.split(key)
    z = jnp.sqrt(0.2) * jax.random.normal(common, (n, 1)) + jnp.sqrt(0.8) * jax.random.normal(own, (n, d))
    third = jnp.arange(d)[None, :] * 3 // d
    x = jnp.where(third == 0, jnp.exp(z), jnp.where(third == 1, jnp.round(z), z))
    return _standardised(x)


def _random_function(key: Array, x: Array) -> Array:
    """0.6 linear + a 12-unit tanh net + 0.2 x_1 x_2 of 8 features at random, standardised, clipped to +-3.5, [n]."""
    which, linear, inner, outer = jax.random.split(key, 4)
    x = x[:, jax.random.choice(which, x.shape[1], (min(8, x.shape[1]),), replace=False)]
    size = x.shape[1]
    line = _standardised(x @ jax.random.normal(linear, (size,)))
    hidden = jnp.tanh(x @ jax.random.normal(inner, (size, 12)) / jnp.sqrt(size))
    net = _standardised(hidden @ jax.random.normal(outer, (12,)))
    return jnp.clip(_standardised(0.6 * line + net + 0.2 * x[:, 0] * x[:, 1]), -3.5, 3.5)


def _standardised(x: Array) -> Array:
    return (x - x.mean(axis=0, keepdims=True)) / x.std(axis=0, keepdims=True)
