"""DFCL against two-stage learning on a simulated trial of five discounts, whose truth is known."""

from dataclasses import dataclass
from functools import partial

import jax

from dfcl_jax.data import simulate
from dfcl_jax.runs import DISCOUNT_ARMS, RunConfig, command, draw_splits, open_run
from dfcl_jax.study import compare, policy_of


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Compare TSM-SL, DFCL-PL, -MER, -IFD and PL on better scores on simulated trials, a fresh one for each seed."""

    train: int = 100_000
    """People in the training part."""
    valid: int = 25_000
    test: int = 50_000
    features: int = 30
    base_spread: float = 1.0
    """Standard deviation of log base demand; 0 makes it homogeneous."""


def main(config: Config) -> None:
    """Task -> method.fit -> policy <- exam."""
    parts, methods = (config.train, config.valid, config.test), config.chosen_methods()
    draw = jax.jit(partial(simulate.marketing, d=config.features, base_spread=config.base_spread), static_argnums=1)
    with open_run("quickstart", config, parts=parts, features=config.features, spread=config.base_spread) as run:
        splits = draw_splits(run, config, draw, parts)
        study = compare(jax.random.key(0), splits, methods, cells=run.cells())
        run.report(study)


if __name__ == "__main__":
    command(main, Config)
