"""How many seeds one program trains: one, or several at once."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import Array

from dfcl_jax.train.trainer import Trainer


class Seeds(NamedTuple):
    """How many seeds one program trains, and how it is compiled."""

    axes: int  # leading axes of every array: 0 for one seed, 1 for several
    # (trainer of one seed, whether an epoch may overwrite its state) -> compiled trainer of all seeds
    compiled: Callable[[Trainer, bool], Trainer]
    members: tuple[int, ...] = ()  # (k,) where each seed has k members (`with_members`)

    def each(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Apply a function of one seed to each seed."""
        return jax.vmap(function) if self.axes else function

    def shape(self, key: Array) -> tuple[int, ...]:
        """The shape of one number for each seed and member; `key` holds the seeds' keys."""
        return (*key.shape, *self.members)


def _one(trainer: Trainer, donate: bool) -> Trainer:
    epoch = jax.jit(trainer.epoch, donate_argnums=0 if donate else ())
    return trainer._replace(start=jax.jit(trainer.start), epoch=epoch)


def _several(trainer: Trainer, donate: bool) -> Trainer:
    return _one(trainer._replace(start=_over_seeds(trainer.start), epoch=_over_seeds(trainer.epoch)), donate)


def _over_seeds(function: Callable[..., Any]) -> Callable[..., Any]:
    """Apply a function of one seed to all seeds: side by side, or one after another on a CPU."""
    if jax.default_backend() != "cpu":
        return jax.vmap(function)
    # The matrix products of one seed keep a CPU busy, and several seeds together do not fit its cache.
    return lambda *arguments: jax.lax.map(lambda one: function(*one), arguments)


ONE_SEED = Seeds(0, _one)
# On a CPU the rows of one seed at a time are copied.
ALL_SEEDS = Seeds(1, _several)
