"""From a program of one seed to that of several."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from dfcl_jax.train.trainer import Trainer


class Seeds(NamedTuple):
    """How many seeds a program trains, and how."""

    axes: int  # leading axes of every array: 0 for one seed, 1 for several
    compiled: Callable[[Trainer, bool], Trainer]  # (trainer of one seed, whether a state may be donated) -> of all

    def each(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` of one seed for each of them."""
        return jax.vmap(function) if self.axes else function


def _one(trainer: Trainer, donate: bool) -> Trainer:
    epoch = jax.jit(trainer.epoch, donate_argnums=0 if donate else ())
    return trainer._replace(start=jax.jit(trainer.start), epoch=epoch)


def _several(trainer: Trainer, donate: bool) -> Trainer:
    epoch = jax.jit(of_all_seeds(trainer.epoch), donate_argnums=0 if donate else ())
    return trainer._replace(start=jax.jit(of_all_seeds(trainer.start)), epoch=epoch)


def of_all_seeds(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of one seed for all of them, at once or, on a CPU, one after another."""
    if jax.default_backend() != "cpu":
        return jax.vmap(function)
    # One seed's products fill a CPU, and several at once leave its cache.
    return lambda *arguments: jax.lax.map(lambda one: function(*one), arguments)


ONE_SEED = Seeds(0, _one)
# All in one program; on a CPU one seed's rows are copied at a time.
ALL_SEEDS = Seeds(1, _several)
