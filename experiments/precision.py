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
from dfcl_jax.report.summary import markdown_table
from dfcl_jax.study import Study, StudyConfig, compare

POPULATIONS: dict[str, Callable[[Array, int], Simulation]] = {
    "marketing": jax.jit(simulate.marketing, static_argnums=1),
    "criteo": jax.jit(simulate.criteo_like, static_argnums=1),
}
KINDS: tuple[Compute, Compute] = ("float32", "bfloat16")
NAMES = (TWO_STAGE, *METHODS)
METRICS = {"revenue": "EOM, mean over budgets", "aucc": "AUCC", "prediction_loss": "prediction loss"}


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Train every method on the same simulated trials in float32 and in bfloat16, and compare what they are worth.

    The Criteo population is learned by the network of the paper's recipe.
    """

    population: Literal["marketing", "criteo"] = "marketing"
    train: int = 100_000
    """People in the training part."""
    valid: int = 25_000
    test: int = 50_000


def main(config: Config) -> None:
    """Simulate, train twice, report."""
    if config.population == "criteo":
        network = NetworkConfig("shared_trunk", hidden=(127,), head=(64,), link="sigmoid")
        config = replace(config, study=replace(config.study, network=network, prediction="cross_entropy"))
    with experiment("precision", config) as run:
        draw = POPULATIONS[config.population]
        splits, budgets = draw_splits(config, draw, (config.train, config.valid, config.test))
        key, studies = jax.random.key(config.first_seed), {}
        for kind in KINDS:
            study = in_precision(config.study, kind)
            with training(run, config, METHODS, Console(), suffix=f", {kind}") as hooks:
                studies[kind] = compare(key, splits, budgets, METHODS, study, hooks)
        seeds = by_seed(studies)
        run.write_text("precision.csv", seeds.to_csv(index=False))
        table = markdown_table(*differences(seeds))
        run.write_text("table.md", table)
        print(table)


def in_precision(study: StudyConfig, kind: Compute) -> StudyConfig:
    """The study with hidden layers in one arithmetic."""
    warm, decision = (replace(stage, compute=kind) for stage in (study.warm, study.decision))
    return replace(study, warm=warm, decision=decision)


def by_seed(studies: dict[Compute, Study]) -> pd.DataFrame:
    """Metrics on the test part: a row for each seed, method and arithmetic, revenue over budgets that all can meet."""
    values = pd.concat([study.values.assign(compute=kind) for kind, study in studies.items()])
    values = values[values.method.isin(NAMES)].set_index(["seed", "budget", "method", "compute"]).revenue
    revenue = values.unstack("budget").dropna(axis=1).mean(axis=1).rename("revenue")
    quality = pd.concat([study.quality.assign(compute=kind) for kind, study in studies.items()])
    return quality.merge(revenue.reset_index(), on=["seed", "method", "compute"])


def differences(seeds: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Headers and rows of a table: each metric in float32, and what bfloat16 changes, with the interval over seeds."""
    before, after = KINDS
    metrics = [name for name in METRICS if name in seeds]
    headers = ["method"] + [text for name in metrics for text in (METRICS[name], "change, %")]
    rows = []
    for method in NAMES:
        row = [method]
        for name in metrics:
            wide = seeds[seeds.method == method].pivot(index="seed", columns="compute", values=name)
            change = paired_interval(np.asarray(100 * (wide[after] / wide[before] - 1)))
            row += [f"{wide[before].mean():.4g}", f"{change.mean:+.3f} ±{change.high - change.mean:.3f}"]
        rows.append(row)
    return headers, rows


if __name__ == "__main__":
    command(main, Config)
