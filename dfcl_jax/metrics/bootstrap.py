"""The bootstrap over people, by weights: any metric that takes `weights` gets an interval."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from dfcl_jax.errors import refuse
from dfcl_jax.metrics.intervals import Interval, z_score

Sampling = Literal["poisson", "half"]
Method = Literal["percentile", "normal"]
# (data, weights [n]) -> pytree of arrays
Statistic = Callable[[Any, Array], Any]

# Weights of the replicates that one compiled call draws, and of those that it works on at a time: few enough for a
# cache, enough to fill vectors.
_CALL, _AT_ONCE = 2**23, 2**16


class Replicates(NamedTuple):
    """A statistic and its bootstrap replicates, pytrees of one shape."""

    estimate: Any  # leaves [...]
    draws: Any  # leaves [k, ...]

    @property
    def error(self) -> Any:
        """Standard errors, leaves [...]; NaN where the statistic is not defined, as in `interval`."""

        def one(estimate: np.ndarray, draws: np.ndarray) -> np.ndarray:
            defined = _defined(estimate, draws, 0.95)
            return np.where(defined, np.nanstd(np.where(defined, draws, 0), axis=0, ddof=1), np.nan)

        return jax.tree.map(one, self.estimate, self.draws)

    def interval(self, *, level: float = 0.95, method: Method = "percentile") -> Any:
        """Each leaf's two-sided `Interval` of coverage `level`.

        "percentile" ends at quantiles of the draws, "normal" at estimate +- z standard errors. Draws that are NaN (a
        budget that a replicate cannot meet) are left out, as long as they are at most the 1 - level that an interval
        leaves out by itself. With more of them, or where the estimate is NaN, the ends are NaN: the statistic is not
        defined on this sample, or not surely.
        """

        def one(estimate: np.ndarray, draws: np.ndarray) -> Interval:
            defined = _defined(estimate, draws, level)
            draws = np.where(defined, draws, 0)
            if method == "percentile":
                low, high = np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
            else:
                half = z_score(level) * np.nanstd(draws, axis=0, ddof=1)
                low, high = estimate - half, estimate + half
            return Interval(estimate, np.where(defined, low, np.nan), np.where(defined, high, np.nan))

        return jax.tree.map(one, self.estimate, self.draws)


def bootstrap(
    statistic: Statistic,
    data: Any,
    n: int,
    *,
    key: Array,
    replicates: int = 1000,
    sampling: Sampling = "poisson",
    on_batch: Callable[[int], None] = lambda done: None,
) -> Replicates:
    """Replicates of statistic(data, weights), weights [n] drawn anew for each, beside its value at weights 1.

    People are weighed, not copied: what does not depend on weights (a budget path) is done once. A difference between
    two policies is a statistic like any other, and its interval is the paired one, as both see the same weights. What
    is chosen by the same people, such as the multiplier of a budget that estimated spend meets, is chosen anew in each
    replicate: the interval is on the value at the multiplier that the whole population would choose.

    - "poisson": Poisson(1), the limit of drawing n of n people with return, person by person.
    - "half": 2 or 0 with equal chance, a random half of the people; of the same variance. A statistic that sorts by
      what it weighs sees no ties that the data do not have.

    Args:
        statistic: a pure function that does not sum to other than "per person by the sum of weights", as all metrics
            here; jitted, so pass a function that is defined once.
        data: what it needs, a pytree of arrays.
        n: people.
        key: the same key gives the same replicates, so that intervals of different statistics are comparable.
        replicates: k.
        sampling: how weights are drawn.
        on_batch: told how many replicates are done, after each batch of them.

    Raises:
        InputError: fewer than 2 replicates.
    """
    if replicates < 2:
        refuse("replicates", found=replicates, expected="at least 2")
    # The estimate is the first of the draws, with weights of 1: one program serves all, and the last batch is filled up
    # with draws that are thrown away.
    total = replicates + 1
    size = max(1, min(total, _CALL // n))
    keys = jax.random.split(key, replicates)
    batches = []
    for first in range(0, total, size):
        batch = jnp.minimum(jnp.arange(first, first + size), total - 1)
        weighed = keys[jnp.maximum(batch - 1, 0)], batch > 0
        draws = jax.tree.map(np.asarray, _draws(statistic, data, n, weighed, sampling))
        batches.append(jax.tree.map(lambda leaf, first=first: leaf[: total - first], draws))
        on_batch(min(first + size, total) - 1)
    draws = jax.tree.map(lambda *leaves: np.concatenate(leaves).astype(np.float64), *batches)
    return Replicates(*(jax.tree.map(lambda leaf, at=at: leaf[at], draws) for at in (0, slice(1, None))))


def _defined(estimate: np.ndarray, draws: np.ndarray, level: float) -> np.ndarray:
    """Whether a statistic is defined on the sample and on all replicates but 1 - level of them, [...] bool."""
    return ~np.isnan(estimate) & (np.isnan(draws).mean(axis=0) <= 1 - level)


@partial(jax.jit, static_argnums=(0, 2, 4))
def _draws(statistic: Statistic, data: Any, n: int, batch: tuple[Array, Array], sampling: Sampling) -> Any:
    def draw(one: tuple[Array, Array]) -> Any:
        key, weighed = one
        return statistic(data, jnp.where(weighed, draw_weights(key, n, sampling), 1))

    return jax.lax.map(draw, batch, batch_size=max(1, _AT_ONCE // n))


def draw_weights(key: Array, n: int, sampling: Sampling = "poisson") -> Array:
    """One replicate's weights, [n]: independent, of mean 1 and variance 1."""
    if sampling == "half":
        return 2.0 * jax.random.bernoulli(key, 0.5, (n,))
    # The inverse distribution function of Poisson(1) at a uniform number: how many of its steps lie below.
    below = np.cumsum([1 / np.prod(np.arange(1.0, k + 1)) for k in range(12)]) / np.e
    u = jax.random.uniform(key, (n,))
    return sum(((u >= share).astype(u.dtype) for share in below), jnp.zeros_like(u))
