"""DFCL against two-stage learning on a simulated trial of five discounts, whose truth is known."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import jax

from dfcl_jax.data import simulate
from dfcl_jax.runs import DISCOUNT_ARMS, RunConfig, command, draw_splits, open_run, save_policies
from dfcl_jax.runs.options import COUNT, Within
from dfcl_jax.study import compare, policy_of


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Compare TSM-SL, DFCL-PL, -MER, -IFD and PL on better scores on simulated trials, a fresh one for each seed."""

    train: Annotated[int, COUNT] = 100_000
    """People in the training part."""
    valid: Annotated[int, COUNT] = 25_000
    test: Annotated[int, COUNT] = 50_000
    features: Annotated[int, Within(8)] = 30
    base_spread: Annotated[float, Within(0)] = 1.0
    """Standard deviation of log base demand; 0 makes it homogeneous."""


def main(config: Config) -> None:
    """Task -> method.fit -> policy <- exam."""
    parts, methods = (config.train, config.valid, config.test), config.chosen_methods()
    draw = jax.jit(partial(simulate.marketing, d=config.features, base_spread=config.base_spread), static_argnums=1)
    with open_run("quickstart", config, parts=parts, features=config.features, spread=config.base_spread) as run:
        splits = draw_splits(run, config, draw, parts)
        study = compare(jax.random.key(0), splits, methods, cells=run.cells())
        run.report(study)
        save_policies(run, {name: policy_of(study, splits[0], name, arms=DISCOUNT_ARMS) for name in study.methods})


if __name__ == "__main__":
    command(main, Config)
