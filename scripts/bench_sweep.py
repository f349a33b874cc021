"""Times a sweep of alpha in one compiled program against its members one after another."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import tyro
from rich.console import Console
from rich.table import Table

from dfcl_jax import METHODS, scores
from dfcl_jax.data import simulate, split_simulation
from dfcl_jax.study import Hooks, StudyConfig, default_budgets, grid
from dfcl_jax.study.comparison import begin
from dfcl_jax.study.sweep import terms_of
from dfcl_jax.study.training import train_method, train_on_decisions
from dfcl_jax.train import FitConfig, Trainer, members
from dfcl_jax.train.loop import Compiled

METHOD = METHODS["PL-centred"]


@dataclass(frozen=True)
class Config:
    """What is timed."""

    alpha: tuple[float, ...] = (0.1, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0)
    seeds: int = 3
    train: int = 20_000  # people
    valid: int = 5_000
    epochs: int = 6
    batch_size: int = 1024


class Clock:
    """Hooks that note when each epoch of a stage ends."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def hooks(self) -> Hooks:
        """For one stage or several."""
        return Hooks(on_stage=lambda stage, epochs, rows: lambda *_: self.seconds.append(time.perf_counter()))


def main(config: Config) -> None:
    """Train the same members in three ways."""
    draw = jax.jit(simulate.marketing, static_argnums=1)
    keys = jax.random.split(jax.random.key(0), config.seeds)
    sizes = config.train, config.valid
    splits = [split_simulation(draw(key, sum(sizes) + 1000), *sizes) for key in keys]
    budgets = default_budgets(scores.ipw(splits[0].train).c.mean(axis=0))
    decision = FitConfig(epochs=config.epochs, batch_size=config.batch_size, learning_rate=1e-3)
    study = StudyConfig(warm=FitConfig(epochs=2, batch_size=512, learning_rate=3e-3), decision=decision)
    start = begin(jax.random.key(0), splits, budgets, study, Hooks())
    where = METHOD, start.model, start.seeds, start.warm
    settings = grid(alpha=config.alpha)
    terms, paces = terms_of(METHOD.constants, METHOD, settings, start, study)

    def swept(at_once: int) -> Callable[[Hooks], object]:
        compiled = in_groups(len(settings), at_once)
        how = {"terms": terms, "paces": paces, "compiled": compiled}
        return lambda hooks: train_on_decisions(start.key, "sweep", *where, study, hooks, **how)

    def alone(hooks: Hooks) -> None:
        for alpha in config.alpha:
            train_method(start.key, "alone", *where, replace(study, alpha=alpha), hooks)

    ways = {f"one program, {k} members at once": swept(k) for k in (len(settings), 1)} | {"one after another": alone}
    report(config, {name: timed(way, config.epochs) for name, way in ways.items()})


def in_groups(k: int, at_once: int) -> Compiled:
    """As `train.with_members`, with the size of the groups given."""

    def compiled(trainer: Trainer, donate: bool) -> Trainer:
        ready = []

        def epoch(*data):
            ready[:] = ready or [members.program(trainer, donate, data, at_once)]
            return ready[0](*data)

        return trainer._replace(start=jax.jit(jax.vmap(members.of_members(trainer, k).start)), epoch=epoch)

    return compiled


def timed(way: Callable[[Hooks], object], epochs: int) -> tuple[float, float]:
    """Seconds in all, and of an epoch of all members once it is compiled."""
    clock = Clock()
    began = time.perf_counter()
    way(clock.hooks())
    total = time.perf_counter() - began
    runs = [clock.seconds[k : k + epochs] for k in range(0, len(clock.seconds), epochs)]
    return total, sum((run[-1] - run[0]) / (epochs - 1) for run in runs)


def report(config: Config, seconds: dict[str, tuple[float, float]]) -> None:
    """A table."""
    table = Table(f"{len(config.alpha)} alphas x {config.seeds} seeds", "in all, s", "an epoch of all, compiled, s")
    for name, times in seconds.items():
        table.add_row(name, *(f"{time:.3g}" for time in times))
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Config))
