"""Times an outer step of bi-level training in gradients of the target network on a batch, and accounts its memory."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from dfcl_jax import Outcomes, Trial, losses
from dfcl_jax.models import NetworkConfig
from dfcl_jax.train import Hypergradient, hypergradient


@dataclass(frozen=True)
class Config:
    """What is timed, and how often."""

    batch: int = 1024  # people of the logs, and of the trial
    d: int = 30  # features
    m: int = 5  # treatments
    hidden: tuple[int, ...] = (64, 32, 32)
    k: tuple[int, ...] = (1, 5, 10)
    n_cg: tuple[int, ...] = (10, 50, 200)
    rounds: int = 15  # every candidate is timed once a round
    out: Path | None = None  # a JSON file for the figures


def main(config: Config) -> None:
    """Time the candidates in turn, round by round, so that all see the same machine."""
    keys = jax.random.split(jax.random.key(0), 8)
    n, m = config.batch, config.m
    x = jax.random.normal(keys[0], (n, config.d))
    r, c = (jax.random.normal(key, (n,)) for key in keys[1:3])
    people = Trial(x, jax.random.randint(keys[3], (n,), 0, m), r, c, jnp.full(m, 1 / m))
    teacher = Outcomes(*(jax.random.normal(key, (n, m)) for key in keys[4:6]))
    target = NetworkConfig(hidden=config.hidden).build(m)
    bridge = NetworkConfig(hidden=config.hidden, link="sigmoid").build(m)
    theta, phi = target.init(keys[6], x[:1]), bridge.init(keys[7], x[:1])

    def lower(phi: Any, outcomes: Outcomes) -> jax.Array:
        return losses.pseudo_label_loss(outcomes, people, teacher, bridge.apply(phi, x))

    def upper(theta: Any) -> jax.Array:
        return losses.prediction_loss(target.apply(theta, x), people)

    def outer(how: Hypergradient) -> Callable[[Any, Any], Any]:
        def step(phi: Any, theta: Any) -> Any:
            return hypergradient(
                how, phi, theta, predict=lambda theta: target.apply(theta, x), lower=lower, upper=upper
            ).gradient

        return step

    # No tolerance: every product of conjugate gradients is taken.
    how = Hypergradient(tolerance=0.0, damping=1.0)
    steps = {
        f"k={k} n_cg={n_cg}": (k + n_cg, outer(replace(how, k=k, n_cg=n_cg))) for k in config.k for n_cg in config.n_cg
    }
    candidates = {"gradient": (1, jax.grad(lambda phi, theta: lower(phi, target.apply(theta, x)), argnums=1)), **steps}
    compiled = {name: jax.jit(step).lower(phi, theta).compile() for name, (_, step) in candidates.items()}
    seconds = {name: [] for name in compiled}
    for _ in range(config.rounds + 1):
        for name, call in compiled.items():
            start = time.perf_counter()
            jax.block_until_ready(call(phi, theta))
            seconds[name].append(time.perf_counter() - start)
    report(config, {name: number for name, (number, _) in candidates.items()}, compiled, seconds)


def report(config: Config, numbers: dict[str, int], compiled: dict[str, Any], seconds: dict[str, list[float]]) -> None:
    """A table, and a JSON file if one is asked for; the first round warms up."""
    table = Table("outer step", "median, ms", "gradients", "over 3 (k + n_cg)", "bytes beside a gradient's")
    bytes_of = {name: call.memory_analysis().temp_size_in_bytes for name, call in compiled.items()}
    one = np.array(seconds["gradient"][1:])
    figures = {}
    for name, times in seconds.items():
        # Ratios within a round, whose calls saw the same load.
        gradients = float(np.median(np.array(times[1:]) / one))
        figures[name] = {
            "median_ms": 1e3 * float(np.median(times[1:])),
            "gradients": gradients,
            "of_allowed": gradients / (3 * numbers[name]),
            "memory": bytes_of[name] / bytes_of["gradient"],
        }
        table.add_row(name, *(f"{figure:.3g}" for figure in figures[name].values()))
    Console().print(table)
    if config.out is not None:
        record = {"config": asdict(config) | {"out": None}, "device": str(jax.devices()[0]), "steps": figures}
        config.out.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Config))
