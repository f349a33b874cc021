"""DFCL against two-stage learning on a simulated trial of five discounts, whose truth is known."""

from dataclasses import dataclass

import jax
import numpy as np

from dfcl_jax import METHODS, scores
from dfcl_jax.data import simulate, split_simulation
from dfcl_jax.errors import refuse
from dfcl_jax.report import RunConfig, command, experiment, run_study
from dfcl_jax.study import default_budgets


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Compare TSM-SL, DFCL-PL, -MER, -IFD and PL on centred scores on simulated trials, a fresh one for each seed."""

    train: int = 100_000
    """People in the training part."""
    valid: int = 25_000
    test: int = 50_000
    features: int = 30
    base_spread: float = 1.0
    """Standard deviation of log base demand; 0 makes it homogeneous."""


def main(config: Config) -> None:
    """Simulate, train, compare, report."""
    for part in ("train", "valid", "test"):
        if getattr(config, part) < 1:
            refuse(f"--{part}", found=getattr(config, part), expected="at least 1 person")
    people = config.train + config.valid + config.test
    with experiment("quickstart", config) as run:
        draw = jax.jit(lambda key: simulate.marketing(key, people, d=config.features, base_spread=config.base_spread))
        # Training starts from key(first_seed) itself, so the data have keys of their own.
        keys = [jax.random.fold_in(jax.random.key(config.first_seed + k), 1) for k in range(config.seeds)]
        splits = [split_simulation(draw(key), config.train, config.valid) for key in keys]
        arms = tuple(f"{discount:.0%}" for discount in simulate.DISCOUNTS)
        mean_costs = [np.asarray(scores.ipw(split.train).c.mean(axis=0)) for split in splits]
        budgets = default_budgets(np.mean(mean_costs, axis=0))
        run_study(run, splits, budgets, METHODS, config, arms=arms)


if __name__ == "__main__":
    command(main, Config)
