"""Random functions of features, with the means and deviations that make them standard."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array


class Moments(NamedTuple):
    """Mean and standard deviation of people, over the first axis."""

    mean: Array  # [1, ...]
    deviation: Array  # [1, ...]

    def standardise(self, x: Array) -> Array:
        """(x - mean) / deviation."""
        return (x - self.mean) / self.deviation


def moments(x: Array) -> Moments:
    """The moments of the people x [n, ...]."""
    return Moments(x.mean(axis=0, keepdims=True), x.std(axis=0, keepdims=True))


class RandomFunction(NamedTuple):
    """0.6 linear + w (a tanh net + 0.2 x_1 x_2) of some features, standardised, clipped to +-3.5; w 1 by default."""

    columns: Array  # [k] int, the features
    linear: Array  # [k]
    inner: Array  # [k, units]
    outer: Array  # [units]
    nonlinearity: Array  # [] w
    line: Moments  # of the linear part, [1]
    net: Moments  # of the net
    whole: Moments  # of the sum

    def __call__(self, x: Array) -> Array:
        """The function of x [n, d], [n]."""
        return jnp.clip(self.whole.standardise(self._sum(x[:, self.columns])), -3.5, 3.5)

    def _sum(self, x: Array) -> Array:
        line = self.line.standardise(x @ self.linear)
        net = self.net.standardise(_net(x, self.inner, self.outer))
        return 0.6 * line + self.nonlinearity * net + 0.2 * self.nonlinearity * x[:, 0] * x[:, 1]


def draw_function(
    key: Array, x: Array, *, informative: int | None = None, units: int = 12, nonlinearity: float = 1.0
) -> RandomFunction:
    """A function of 8 features at random, standard over the people x [n, d].

    Args:
        key: which features and weights.
        x: standardised features.
        informative: how many of the features, the first ones, it may depend on; all if not given.
        units: of the net: with more of them than a model has, the model is misspecified.
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
