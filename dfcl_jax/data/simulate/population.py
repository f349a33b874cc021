"""A fixed population from which any number of people are drawn, at once or in a stream."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax.errors import refuse
from dfcl_jax.types import Outcomes, Trial

# Number of people whose means and deviations stand for the population's; their error is 1/256 of a deviation.
REFERENCE = 2**16


class Simulation(NamedTuple):
    """A trial, and the truth that it cannot show."""

    trial: Trial
    truth: Outcomes  # expected revenue and cost of every treatment for every person, [n, m] each


class Population(Protocol):
    """Fixed functions and constants, a pytree; people are drawn independently of one another."""

    def features(self, key: Array, n: int) -> Array:
        """Draw the features of n people, [n, d]."""
        ...

    def outcomes(self, x: Array) -> Outcomes:
        """Return the expected revenue and cost of every treatment for people of features x [n, d], [n, m] each."""
        ...

    def respond(self, key: Array, truth: Outcomes, t: Array) -> tuple[Array, Array]:
        """Draw the revenue and cost under treatment t [n], [n] each, with the means in `truth`."""
        ...

    def propensities(self, truth: Outcomes) -> Array:
        """Return the propensity of each treatment, [m], or [n, m] if it depends on the person."""
        ...


def draw(population: Population, key: Array, n: int, *, first: int = 0) -> Simulation:
    """Draw people first..first+n-1 of an endless sequence of people, with their treatments and outcomes.

    Person i is drawn from `fold_in(key, i)` alone, so they do not depend on how many others there are.

    Args:
        population: the population to draw from.
        key: for people, treatments and outcomes.
        n: number of people.
        first: number of people of the same key before them.
    """
    return _draw(population, key, jnp.asarray(first, jnp.uint32), n)


def stream(population: Population, key: Array, n: int, *, chunk: int = REFERENCE) -> Iterator[Simulation]:
    """Yield the n people of `draw`, `chunk` at a time; the last chunk holds the rest. Memory holds one chunk.

    Raises:
        InputError: no people, or an empty chunk.
    """
    for name, size in (("n", n), ("chunk", chunk)):
        if size < 1:
            refuse(name, found=size, expected="at least 1")
    chunk = min(chunk, n)
    for first in range(0, n, chunk):
        # The last chunk is drawn whole as well, so that there is one compilation.
        yield first_people(draw(population, key, chunk, first=first), n - first)


def first_people(simulation: Simulation, n: int) -> Simulation:
    """Return the first n people, or all if there are fewer."""
    trial, truth = simulation
    p = trial.p[:n] if trial.p.ndim == 2 else trial.p
    return Simulation(Trial(trial.x[:n], trial.t[:n], trial.r[:n], trial.c[:n], p), Outcomes(truth.r[:n], truth.c[:n]))


@partial(jax.jit, static_argnums=3)
def _draw(population: Population, key: Array, first: Array, n: int) -> Simulation:
    keys = jax.vmap(partial(jax.random.fold_in, key))(first + jnp.arange(n, dtype=jnp.uint32))
    x_keys, t_keys, noise_keys = jax.vmap(partial(jax.random.split, num=3))(keys).T
    x = jax.vmap(lambda key: population.features(key, 1)[0])(x_keys)
    truth = population.outcomes(x)
    p = population.propensities(truth)
    log_p = jnp.broadcast_to(jnp.log(jnp.atleast_2d(p)), truth.r.shape)
    t = jax.vmap(jax.random.categorical)(t_keys, log_p).astype(jnp.int32)
    r, c = _respond_each(population, noise_keys, truth, t)
    return Simulation(Trial(x, t, r, c, p), truth)


def _respond_each(population: Population, keys: Array, truth: Outcomes, t: Array) -> tuple[Array, Array]:
    """Call `population.respond` with a separate key [n] for each person."""

    def one(key: Array, truth: Outcomes, t: Array) -> tuple[Array, Array]:
        one_person = jax.tree.map(lambda row: row[None], (truth, t))
        r, c = population.respond(key, *one_person)
        return r[0], c[0]

    return jax.vmap(one)(keys, truth, t)
