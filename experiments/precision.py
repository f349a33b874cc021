"""What hidden layers in bfloat16 change in the decisions that are learned, beside float32."""

from dataclasses import dataclass, replace
from typing import Literal

import jax
import numpy as np
import pandas as pd
from rich.console import Console

from dfcl_jax import METHODS
from dfcl_jax.methods import TWO_STAGE
from dfcl_jax.metrics import paired_interval
from dfcl_jax.models import PUBLISHED_CRITEO, Compute
from dfcl_jax.report import DRAWS, RunConfig, command, draw_splits, experiment, training
from dfcl_jax.report.summary import markdown_table, mean_values
from dfcl_jax.study import Study, StudyConfig, compare

KINDS: tuple[Compute, Compute] = ("float32", "bfloat16")


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
        config = replace(config, study=replace(config.study, network=PUBLISHED_CRITEO, prediction="cross_entropy"))
    with experiment("precision", config) as run:
        splits, budgets = draw_splits(config, DRAWS[config.population], (config.train, config.valid, config.test))
        key, studies = jax.random.key(config.first_seed), {}
        for kind in KINDS:
            with training(run, config, METHODS, Console(), suffix=f", {kind}") as hooks:
                studies[kind] = compare(key, splits, budgets, METHODS, computing(config.study, kind), hooks)
        study = together(studies)
        study.values.to_csv(run.path / "metrics.csv", index=False)
        study.quality.to_csv(run.path / "quality.csv", index=False)
        table = markdown_table(*differences(study))
        run.write_text("table.md", table)
        print(table)


def computing(study: StudyConfig, kind: Compute) -> StudyConfig:
    """The study with hidden layers in one arithmetic."""
    warm, decision = (replace(stage, compute=kind) for stage in (study.warm, study.decision))
    return replace(study, warm=warm, decision=decision)


def together(studies: dict[Compute, Study]) -> Study:
    """One study, whose methods are those of each, named with its arithmetic."""

    def named(table: pd.DataFrame, kind: Compute) -> pd.DataFrame:
        return table.assign(method=table.method + f", {kind}")

    values = pd.concat([named(study.values, kind) for kind, study in studies.items()])
    quality = pd.concat([named(study.quality, kind) for kind, study in studies.items()])
    return studies[KINDS[0]]._replace(values=values, quality=quality)


def differences(study: Study) -> tuple[list[str], list[list[str]]]:
    """Headers and rows of a table: each metric in float32, and what bfloat16 changes, with the interval over seeds."""
    metrics = {"EOM, mean over budgets": mean_values(study)}
    for column in study.quality.columns.difference(["seed", "method"]):
        metrics[column] = study.quality.pivot(index="seed", columns="method", values=column)
    rows = []
    for method in (TWO_STAGE, *METHODS):
        row = [method]
        for wide in metrics.values():
            before, after = (wide[f"{method}, {kind}"] for kind in KINDS)
            change = paired_interval(np.asarray(100 * (after / before - 1)))
            row += [f"{before.mean():.4g}", f"{change.mean:+.3f} ±{change.high - change.mean:.3f}"]
        rows.append(row)
    return ["method", *(text for name in metrics for text in (name, "change, %"))], rows


if __name__ == "__main__":
    command(main, Config)
