"""DFCL against two-stage learning on a simulated trial of five discounts, whose truth is known."""

from dataclasses import dataclass
from functools import partial

import jax

from dfcl_jax.data import simulate
from dfcl_jax.report import RunConfig, command, run_simulated


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
    draw = jax.jit(partial(simulate.marketing, d=config.features, base_spread=config.base_spread), static_argnums=1)
    arms = tuple(f"{discount:.0%}" for discount in simulate.DISCOUNTS)
    run_simulated("quickstart", config, draw, (config.train, config.valid, config.test), arms=arms)


if __name__ == "__main__":
    command(main, Config)
