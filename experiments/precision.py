"""What hidden layers in bfloat16 change in the decisions that are learned, beside float32."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import jax
import numpy as np
import pandas as pd
from jax import Array
from rich.console import Console

from dfcl_jax import METHODS
from dfcl_jax.data import simulate
from dfcl_jax.data.simulate import Simulation
from dfcl_jax.methods import TWO_STAGE
from dfcl_jax.metrics import paired_interval
from dfcl_jax.models import Compute, NetworkConfig
from dfcl_jax.report import RunConfig, command, draw_splits, experiment, training
from dfcl_jax.report.summary import markdown_table, mean_values
from dfcl_jax.study import Hooks, Study, StudyConfig, compare

POPULATIONS: dict[str, Callable[[Array, int], Simulation]] = {
    "marketing": jax.jit(simulate.marketing, static_argnums=1),
    "criteo": jax.jit(simulate.criteo_like, static_argnums=1),
}
METRICS = {"revenue": "EOM, mean over budgets", "aucc": "AUCC", "prediction_loss": "prediction loss"}


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Train every method on the same simulated trials in float32 and in bfloat16, and compare what they are worth.

    On the Criteo population with the network of the paper's recipe.
    """

    population: Literal["marketing", "criteo"] = "marketing"
    train: int = 100_000
    """People in the training part."""
    valid: int = 25_000
    test: int = 50_000


def main(config: Config) -> None:
    """Simulate, train twice, report."""
    parts, draw = (config.train, config.valid, config.test), POPULATIONS[config.population]
    kinds: tuple[Compute, Compute] = ("float32", "bfloat16")
    stages = [f"{name}, {kind}" for kind in kinds for name in (TWO_STAGE, *METHODS)]
    with experiment("precision", config) as run:
        splits, budgets = draw_splits(config, draw, parts)
        key, studies = jax.random.key(config.first_seed), {}
        with training(run, config, stages, Console()) as hooks:
            for kind in kinds:
                how = in_precision(config, kind)
                studies[kind] = compare(key, splits, budgets, METHODS, how, named(hooks, kind))
        seeds = pd.concat([by_seed(study).assign(compute=kind) for kind, study in studies.items()])
        run.write_text("precision.csv", seeds.to_csv(index=False))
        table = markdown_table(*differences(seeds, *kinds))
        run.write_text("table.md", table)
        print(table)


def in_precision(config: Config, kind: Compute) -> StudyConfig:
    """The study with hidden layers in one arithmetic."""
    study = replace(
        config.study,
        warm=replace(config.study.warm, compute=kind),
        decision=replace(config.study.decision, compute=kind),
    )
    if config.population == "marketing":
        return study
    network = NetworkConfig("shared_trunk", hidden=(127,), head=(64,), link="sigmoid")
    return replace(study, network=network, prediction="cross_entropy")


def named(hooks: Hooks, kind: Compute) -> Hooks:
    """Hooks of one of several studies, which names its stages."""
    return Hooks(
        lambda stage, epochs, rows: hooks.on_stage(f"{stage}, {kind}", epochs, rows),
        lambda stage: hooks.checkpoints(f"{stage}, {kind}"),
    )


def by_seed(study: Study) -> pd.DataFrame:
    """Every method's metrics on the test part of every seed."""
    revenue = mean_values(study)[[TWO_STAGE, *METHODS]].melt(value_name="revenue", ignore_index=False)
    return revenue.reset_index().merge(study.quality, on=["method", "seed"])


def differences(seeds: pd.DataFrame, before: str, after: str) -> tuple[list[str], list[list[str]]]:
    """Headers and rows of a table: each metric, and what `after` changes in it, with the interval over paired seeds."""
    metrics = [name for name in METRICS if name in seeds]
    headers = ["method"] + [text for name in metrics for text in (METRICS[name], "change, %")]
    rows = []
    for method in (TWO_STAGE, *METHODS):
        row = [method]
        for name in metrics:
            wide = seeds[seeds.method == method].pivot(index="seed", columns="compute", values=name)
            change = paired_interval(np.asarray(100 * (wide[after] / wide[before] - 1)))
            row += [f"{wide[before].mean():.4g}", f"{change.mean:+.3f} ±{change.high - change.mean:.3f}"]
        rows.append(row)
    return headers, rows


if __name__ == "__main__":
    command(main, Config)
