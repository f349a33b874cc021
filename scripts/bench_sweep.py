"""Times a sweep of alpha in one compiled program against its members one after another."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import tyro
from rich.console import Console
from rich.table import Table

from dfcl_jax import METHODS, Decision, TwoStage, scores
from dfcl_jax.data import simulate, split_simulation, with_budgets
from dfcl_jax.methods.decision import begin_from, train_on
from dfcl_jax.methods.method import SILENT
from dfcl_jax.solvers import default_budgets
from dfcl_jax.train import ALL_SEEDS, FitConfig, Seeds, StageLog, Trainer, members


@dataclass(frozen=True)
class Config:
    """What is timed."""

    alpha: tuple[float, ...] = (0.1, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0)
    seeds: int = 3
    train: int = 20_000  # people
    valid: int = 5_000
    epochs: int = 6
    batch_size: int = 1024


def main(config: Config) -> None:
    """Train the same members in three ways."""
    draw = jax.jit(simulate.marketing, static_argnums=1)
    keys = jax.random.split(jax.random.key(0), config.seeds)
    sizes = config.train, config.valid
    draws = [draw(key, sum(sizes) + 1000) for key in keys]
    splits = [split_simulation(simulation, *sizes, seed=s) for s, simulation in enumerate(draws)]
    budgets = default_budgets(scores.ipw(draws[0].trial).c.mean(axis=0))
    tasks = [split.task for split in with_budgets(splits, budgets)]
    method = METHODS["PL-centred"]
    assert isinstance(method, Decision)
    training = FitConfig(epochs=config.epochs, batch_size=config.batch_size, learning_rate=1e-3)
    start = TwoStage(training=FitConfig(epochs=2, batch_size=512, learning_rate=3e-3))
    method = replace(method, start=start, training=training)
    begin = begin_from(method, jax.random.key(0), tasks, SILENT, ALL_SEEDS)
    terms, alphas = begin.terms(method), jnp.asarray(config.alpha)
    k, s = len(config.alpha), config.seeds
    of_members = jax.tree.map(lambda leaf: jnp.repeat(leaf[:, None], k, axis=1), terms)
    of_members = of_members._replace(alpha=jnp.broadcast_to(alphas, (s, k)))

    def swept(at_once: int) -> Callable[[StageLog], object]:
        return lambda log: train_on(method, begin, of_members, in_groups(k, at_once), log)

    def one_by_one(log: StageLog) -> None:
        for alpha in config.alpha:
            train_on(method, begin, terms._replace(alpha=jnp.full(s, alpha)), ALL_SEEDS, log)

    ways = {f"one program, {n} members at once": swept(n) for n in (k, 1)} | {"one after another": one_by_one}
    report(config, {name: timed(way, config.epochs) for name, way in ways.items()})


def in_groups(k: int, at_once: int) -> Seeds:
    """Train k members of each seed as `train.with_members` does, in groups of a given size."""

    def compiled(trainer: Trainer, donate: bool) -> Trainer:
        ready = []

        def epoch(*data):
            ready[:] = ready or [members.program(trainer, donate, data, at_once)]
            return ready[0](*data)

        return trainer._replace(start=jax.jit(jax.vmap(members.of_members(trainer, k).start)), epoch=epoch)

    return Seeds(1, compiled, (k,))


def timed(way: Callable[[StageLog], object], epochs: int) -> tuple[float, float]:
    """Seconds in all, and of an epoch of all members once it is compiled."""
    ends: list[float] = []
    began = time.perf_counter()
    way(StageLog(lambda epoch, record: ends.append(time.perf_counter())))
    total = time.perf_counter() - began
    runs = [ends[k : k + epochs] for k in range(0, len(ends), epochs)]
    return total, sum((run[-1] - run[0]) / (epochs - 1) for run in runs)


def report(config: Config, seconds: dict[str, tuple[float, float]]) -> None:
    """A table."""
    table = Table(f"{len(config.alpha)} alphas x {config.seeds} seeds", "in all, s", "an epoch of all, compiled, s")
    for name, times in seconds.items():
        table.add_row(name, *(f"{time:.3g}" for time in times))
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Config))
