"""Times the bootstrap of every metric, in float32: compiling and all, as a user waits for it."""

import json
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import tyro
from jax import Array
from rich.console import Console
from rich.table import Table

from dfcl_jax import Outcomes, Trial, data, metrics, scores


@dataclass(frozen=True)
class Config:
    """What is timed."""

    n: int = 100_000  # people
    budgets: int = 10
    replicates: int = 1000
    out: Path | None = None  # a JSON file for the figures


def main(config: Config) -> None:
    """Time each metric's curve and its replicates."""
    simulation = data.simulate.marketing(jax.random.key(0), config.n)
    noise = jax.random.normal(jax.random.key(1), simulation.truth.r.shape)
    outcomes = Outcomes(simulation.truth.r * jnp.exp(0.1 * noise), simulation.truth.c)
    settling = scores.aipw(simulation.trial, outcomes)
    spread = simulation.truth.c.mean(axis=0)[-1]
    budgets = jnp.linspace(0.1, 0.7, config.budgets) * spread
    two = data.simulate.criteo_like(jax.random.key(2), config.n)
    score = metrics.roi_score(two.truth)
    jax.block_until_ready((budgets, settling, score))

    start = time.perf_counter()
    steps = jax.block_until_ready(metrics.value_steps(outcomes, settling))
    seconds = {"steps of the curve": time.perf_counter() - start}
    cases: dict[str, tuple[Callable[[Any, Array], Any], Any]] = {
        f"EOM at {config.budgets} budgets": (partial(_eom, budgets, "sample"), steps),
        f"EOM at {config.budgets} budgets, matched": (partial(_eom, budgets, "matched"), steps),
        "multi-armed Qini area": (partial(_qini_area, budgets[-1]), steps),
        "AUCC": (_aucc, (score, two.trial)),
        "Qini (CausalML)": (_qini, (score, two.trial)),
    }
    for name, (statistic, given) in cases.items():
        start = time.perf_counter()
        metrics.bootstrap(statistic, given, config.n, key=jax.random.key(3), replicates=config.replicates)
        seconds[f"{name}, {config.replicates} replicates"] = time.perf_counter() - start
    report(config, seconds)


def _eom(budgets: Array, normalise: metrics.Normalise, steps: metrics.ValueSteps, weights: Array) -> Array:
    return steps.at(budgets, weights=weights, normalise=normalise).revenue


def _qini_area(budget: Array, steps: metrics.ValueSteps, weights: Array) -> Array:
    return metrics.qini_area(steps, budget, weights=weights)


def _aucc(given: tuple[Array, Trial], weights: Array) -> Array:
    return metrics.aucc(*given, weights=weights)


def _qini(given: tuple[Array, Trial], weights: Array) -> Array:
    return metrics.causalml_qini(*given, weights=weights)


def report(config: Config, seconds: dict[str, float]) -> None:
    """Print the table and write the JSON file."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    table = Table(title=f"{config.n:,} people, {jax.default_backend()}, peak {peak:.2f} GiB")
    table.add_column("what")
    table.add_column("seconds", justify="right")
    for name, time_taken in seconds.items():
        table.add_row(name, f"{time_taken:.2f}")
    Console().print(table)
    if config.out is not None:
        config.out.write_text(json.dumps({"config": asdict(config), "peak_gib": peak, "seconds": seconds}, default=str))


if __name__ == "__main__":
    main(tyro.cli(Config))
