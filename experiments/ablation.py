"""Ablations of a decision loss, each a sweep in one compiled program: alpha, multipliers, temperature."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

import jax

from dfcl_jax.data import simulate
from dfcl_jax.errors import refuse
from dfcl_jax.losses import constants
from dfcl_jax.methods import CHEAPEST, CheapestArm, Decision, Method, decisions
from dfcl_jax.report.sweep import draw_lifts
from dfcl_jax.runs import RunConfig, command, draw_splits, open_run
from dfcl_jax.runs.options import COUNT, Within
from dfcl_jax.study import Setting, compare, grid, sweep


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Sweep the weight of the prediction loss, sets of multipliers and the temperature on simulated trials.

    Alphas and sets of multipliers are the paper's (DFCL, section 3), beside alpha 0.
    """

    methods: tuple[str, ...] = ("PL-centred",)
    """Name of the one method whose numbers are swept."""
    alpha: Annotated[tuple[float, ...], Within(0)] = (0.0, 0.1, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0)
    """Weights of the prediction loss."""
    lams: Annotated[tuple[float, ...], Within(0)] = (0.1, 0.5, 1.0)
    """Multipliers: the first set has the first of them, every other one more."""
    temperature: Annotated[tuple[float, ...], Within(0, above=True)] = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
    """Of the softened decision, in spreads of the two-stage model's scores."""
    train: Annotated[int, COUNT] = 20_000
    """People in the training part."""
    valid: Annotated[int, COUNT] = 5_000
    test: Annotated[int, COUNT] = 20_000
    features: Annotated[int, Within(8)] = 30
    memory: Annotated[int | None, COUNT] = None
    """Bytes that training may take beside the data; most of what is free if not given."""


def main(config: Config) -> None:
    """Simulate, sweep, compare all variants, report."""
    key, parts, sweeps = jax.random.key(0), (config.train, config.valid, config.test), sweeps_of(config)
    draw = jax.jit(partial(simulate.marketing, d=config.features), static_argnums=1)
    with open_run("ablation", config, parts=parts, features=config.features) as run:
        splits, cells, done = draw_splits(run, config, draw, parts), run.cells(), {}
        for name, (method, settings) in sweeps.items():
            done[name] = sweep(key, splits, method, settings, name=name, cells=cells, memory=config.memory)
            run.write_table(name, done[name].values)
        every: dict[str, Method] = {CHEAPEST: CheapestArm()}
        for swept in done.values():
            every |= swept.study.methods
        run.report(compare(key, splits, every, cells=cells))
        draw_lifts(done, run.path / "lift_by_value.png")


def sweeps_of(config: Config) -> dict[str, tuple[Decision, list[Setting]]]:
    """What is swept, by name: a method and its settings."""
    known = decisions(config.two_stage, config.decision)
    if len(config.methods) != 1 or config.methods[0] not in known:
        found = " ".join(config.methods) or "none"
        refuse("methods", found=found, expected=f"one of {', '.join(known)}")
    method = known[config.methods[0]]
    fixed = replace(method, constants=constants.fitted_at, tracked=False)
    return {
        "alpha": (method, grid(alpha=config.alpha)),
        "multipliers": (fixed, grid(lams=[config.lams[: k + 1] for k in range(len(config.lams))])),
        "temperature": (method, grid(temperature_in_spreads=config.temperature)),
    }


if __name__ == "__main__":
    command(main, Config)
