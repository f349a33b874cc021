"""Ablations of a decision loss, each a sweep in one compiled program: alpha, multipliers, temperature."""

from dataclasses import dataclass
from functools import partial

import jax
from rich.console import Console

from dfcl_jax import METHODS, constants
from dfcl_jax.data import simulate
from dfcl_jax.errors import refuse
from dfcl_jax.report import RunConfig, command, draw_splits, experiment, training, write_sweeps
from dfcl_jax.study import grid, sweep


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Sweep the weight of the prediction loss, sets of multipliers and the temperature on simulated trials.

    Alphas and sets of multipliers are the paper's (DFCL, section 3), beside alpha 0.
    """

    method: str = "PL-centred"
    alpha: tuple[float, ...] = (0.0, 0.1, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0)
    """Weights of the prediction loss."""
    lams: tuple[float, ...] = (0.1, 0.5, 1.0)
    """Multipliers: the first set has the first of them, every other one more."""
    temperature: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
    """Of the softened decision, in spreads of the two-stage model's scores."""
    train: int = 20_000
    """People in the training part."""
    valid: int = 5_000
    test: int = 20_000
    features: int = 30
    memory: int | None = None
    """Bytes that training may take beside the data; most of what is free if not given."""


def main(config: Config) -> None:
    """Simulate, sweep, report."""
    if config.method not in METHODS:
        refuse("method", found=config.method, expected=", ".join(METHODS))
    method = METHODS[config.method]
    fixed = method._replace(constants=constants.fitted_at, tracked=False)
    sets = [config.lams[: k + 1] for k in range(len(config.lams))]
    sweeps = {
        "alpha": (method, grid(alpha=config.alpha)),
        "multipliers": (fixed, grid(lams=sets)),
        "temperature": (method, grid(temperature_in_spreads=config.temperature)),
    }
    draw = jax.jit(partial(simulate.marketing, d=config.features), static_argnums=1)
    with experiment("ablation", config) as run:
        splits, budgets = draw_splits(config, draw, (config.train, config.valid, config.test))
        key, done = jax.random.key(config.first_seed), {}
        with training(run, config, sweeps, Console()) as hooks:
            for name, (one, settings) in sweeps.items():
                how = {"name": name, "memory": config.memory}
                done[name] = sweep(key, splits, budgets, one, settings, config.study, hooks, **how)
        write_sweeps(run, done)


if __name__ == "__main__":
    command(main, Config)
