"""Random functions of features, with the means and deviations that standardise them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array


class Moments(NamedTuple):
    """Mean and standard deviation over people, the first axis."""

    mean: Array  # [1, ...]
    deviation: Array  # [1, ...]

    def standardise(self, x: Array) -> Array:
        """Return (x - mean) / deviation."""
        return (x - self.mean) / self.deviation


def moments(x: Array) -> Moments:
    """Return the moments of the people x [n, ...]."""
    return Moments(x.mean(axis=0, keepdims=True), x.std(axis=0, keepdims=True))


class RandomFunction(NamedTuple):
    """The function 0.6 linear + w (a tanh net + 0.2 x_1 x_2) of some features, standardised, clipped to +-3.5."""

    columns: Array  # [k] int, the features
    linear: Array  # [k]
    inner: Array  # [k, units]
    outer: Array  # [units]
    nonlinearity: Array  # [] w; 1 by default
    line: Moments  # moments of the linear part, [1]
    net: Moments  # moments of the net
    whole: Moments  # moments of the sum

    def __call__(self, x: Array) -> Array:
        """Return the function of x [n, d], [n]."""
        return jnp.clip(self.whole.standardise(self._sum(x[:, self.columns])), -3.5, 3.5)

    def _sum(self, x: Array) -> Array:
        line = self.line.standardise(x @ self.linear)
        net = self.net.standardise(_net(x, self.inner, self.outer))
        return 0.6 * line + self.nonlinearity * net + 0.2 * self.nonlinearity * x[:, 0] * x[:, 1]


def draw_function(
    key: Array, x: Array, *, informative: int | None = None, units: int = 12, nonlinearity: float = 1.0
) -> RandomFunction:
    """Draw a function of 8 random features, standardised over the people x [n, d].

    Args:
        key: for the choice of features and the weights.
        x: standardised features.
        informative: number of features, the first ones, that it may depend on; default all.
        units: hidden units of the net; a model with fewer units is misspecified.
        nonlinearity: w; 0 makes the function linear.
    """
    which, linear, inner, outer = jax.random.split(key, 4)
    informative = x.shape[1] if informative is None else informative
    size = min(8, informative)
    columns = jax.random.choice(which, informative, (size,), replace=False)
    weights = (
        jax.random.normal(linear, (size,)),
        jax.random.normal(inner, (size, units)),
        jax.random.normal(outer, (units,)),
    )
    some = x[:, columns]
    line, net = moments(some @ weights[0]), moments(_net(some, *weights[1:]))
    standard = Moments(jnp.zeros(1, x.dtype), jnp.ones(1, x.dtype))
    w = jnp.asarray(nonlinearity, x.dtype)
    function = RandomFunction(columns, *weights, w, line, net, standard)
    return function._replace(whole=moments(function._sum(some)))


def _net(x: Array, inner: Array, outer: Array) -> Array:
    return jnp.tanh(x @ inner / jnp.sqrt(x.shape[1])) @ outer
