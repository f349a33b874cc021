"""What hidden layers in bfloat16 change in the decisions that are learned, beside float32."""

from dataclasses import dataclass, replace
from typing import Literal

import jax
import numpy as np
import pandas as pd

from dfcl_jax.methods import CHEAPEST, Method, TwoStage, standard
from dfcl_jax.metrics import paired_interval
from dfcl_jax.models import PUBLISHED_CRITEO, Compute
from dfcl_jax.report.summary import mean_values
from dfcl_jax.report.terminal import markdown_table, number
from dfcl_jax.runs import DRAWS, RunConfig, command, draw_splits, open_run
from dfcl_jax.study import Judge, Study, compare

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
    parts, criteo = (config.train, config.valid, config.test), config.population == "criteo"
    two_stage = config.two_stage
    if criteo:
        two_stage = replace(two_stage, network=PUBLISHED_CRITEO, loss="cross_entropy")
    with open_run("precision", config, population=config.population, parts=parts) as run:
        splits, cells = draw_splits(run, config, DRAWS[config.population], parts), run.cells()
        studies = {}
        for kind in KINDS:
            methods = config.chosen_methods(computing(kind, two_stage, config))
            judge = Judge(loss=two_stage.loss)
            studies[kind] = compare(jax.random.key(0), splits, methods, judge=judge, cells=cells)
        table = differences(studies)
        run.write_table("differences", table)
        run.write_text("table.md", markdown_table(list(map(str, table)), table.to_numpy().tolist()))
        run.show(table)


def computing(kind: Compute, two_stage: TwoStage, config: Config) -> dict[str, Method]:
    """The methods with hidden layers in one arithmetic."""
    training = replace(two_stage.training, compute=kind)
    return standard(replace(two_stage, training=training), replace(config.decision, compute=kind))


def differences(studies: dict[Compute, Study]) -> pd.DataFrame:
    """Each metric in float32, and what bfloat16 changes of it in per cent, with the interval over seeds."""
    metrics = {"EOM, mean over budgets": {kind: mean_values(study) for kind, study in studies.items()}}
    for column in studies[KINDS[0]].quality.columns.difference(["seed", "method"]):
        metrics[column] = {
            kind: study.quality.pivot(index="seed", columns="method", values=column) for kind, study in studies.items()
        }
    rows = []
    for method in studies[KINDS[0]].methods:
        if method == CHEAPEST:
            continue
        row = {"method": method}
        for name, wide in metrics.items():
            before, after = (wide[kind][method] for kind in KINDS)
            change = paired_interval(np.asarray(100 * (after / before - 1)))
            row |= {name: number(before.mean()), f"{name}, %": f"{change.mean:+.3f} ±{change.high - change.mean:.3f}"}
        rows.append(row)
    return pd.DataFrame(rows)


if __name__ == "__main__":
    command(main, Config)
