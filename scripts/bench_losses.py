"""Times every loss with its gradient against the prediction loss, in float32."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax import Array
from rich.console import Console
from rich.table import Table

from dfcl_jax import Outcomes, Scores, Trial, losses, scores

DECISION_LOSSES: dict[str, Callable[[Outcomes, Scores, Array], Array]] = {
    "PL": losses.policy_learning_loss,
    "IFD matched": losses.finite_difference_loss,
    "IFD sample": lambda o, s, lams: losses.finite_difference_loss(o, s, lams, normalise="sample"),
    "IFD softmax": lambda o, s, lams: losses.dual_finite_difference_loss(o, s, lams, flips="nearest"),
    "DIFD": losses.dual_finite_difference_loss,
    # Budgets from 0.1 to 1 where a treatment costs 0.5 on average: each finds its multiplier first.
    "PPL": losses.primal_policy_learning_loss,
    "PIFD": losses.primal_finite_difference_loss,
}


@dataclass(frozen=True)
class Config:
    """What is timed, and how often."""

    n: int = 1_000_000  # people
    m: int = 5  # treatments
    lams: tuple[int, ...] = (1, 10)  # how many multipliers
    rounds: int = 15  # every candidate is timed once a round
    losses: tuple[str, ...] = tuple(DECISION_LOSSES)  # which
    out: Path | None = None  # a JSON file for the figures


def main(config: Config) -> None:
    """Time the candidates in turn, round by round, so that all see the same machine."""
    outcomes, trial = data(config)
    surfaces = jax.block_until_ready(jax.tree.map(jnp.array, scores.ipw(trial)))
    prediction = jax.jit(jax.value_and_grad(losses.prediction_loss))
    calls: dict[str, Callable[[], object]] = {"prediction": lambda: prediction(outcomes, trial)}
    for name in config.losses:
        compiled = jax.jit(jax.value_and_grad(DECISION_LOSSES[name]))
        for k in config.lams:
            lams = jnp.linspace(0.1, 1.0, k)
            calls[f"{name}, {k}"] = lambda f=compiled, lams=lams: f(outcomes, surfaces, lams)
    for call in calls.values():
        jax.block_until_ready(call())
    seconds = {name: [] for name in calls}
    for _ in range(config.rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            jax.block_until_ready(call())
            seconds[name].append(time.perf_counter() - start)
    report(config, {name: np.array(times) for name, times in seconds.items()})


def data(config: Config) -> tuple[Outcomes, Trial]:
    """Predictions and a trial of random numbers: time does not depend on their values."""
    keys = jax.random.split(jax.random.key(0), 5)
    shape = config.n, config.m
    outcomes = Outcomes(jax.random.normal(keys[0], shape), jax.random.uniform(keys[1], shape))
    t = jax.random.randint(keys[2], (config.n,), 0, config.m)
    r, c = (jax.random.uniform(key, (config.n,)) for key in keys[3:])
    return outcomes, Trial(jnp.zeros((config.n, 1)), t, r, c, jnp.full(config.m, 1 / config.m))


def report(config: Config, seconds: dict[str, np.ndarray]) -> None:
    """A table, and a JSON file if one is asked for."""
    table = Table("loss and gradient", "least, ms", "median, ms", "x prediction, least", "x prediction, median")
    figures = {}
    for name, times in seconds.items():
        # Ratios within a round, whose calls saw the same load.
        ratio = times / seconds["prediction"]
        figures[name] = {
            "least_ms": 1e3 * float(times.min()),
            "median_ms": 1e3 * float(np.median(times)),
            "least_ratio": float(times.min() / seconds["prediction"].min()),
            "median_ratio": float(np.median(ratio)),
        }
        table.add_row(name, *(f"{figure:.3g}" for figure in figures[name].values()))
    Console().print(table)
    if config.out is not None:
        record = {"config": asdict(config) | {"out": None}, "device": str(jax.devices()[0]), "losses": figures}
        config.out.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Config))
