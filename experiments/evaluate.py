"""Ready-made predictions judged on a trial: values with intervals, areas, calibration, and whether the trial is sound."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import Progress

from dfcl_jax import data, scores
from dfcl_jax.data.tables import Columns, Table, finite, read_frame, trial_table
from dfcl_jax.errors import refuse
from dfcl_jax.report import command, evaluation, open_run
from dfcl_jax.study import default_budgets, evaluate
from dfcl_jax.types import Outcomes, Trial


@dataclass(frozen=True, kw_only=True)
class Config:
    """Judge predictions that stand in the columns of a trial's table; without --data, an example is simulated."""

    data: Path | None = None
    """CSV (also .csv.gz) or Parquet file of people whom the predictions were not fitted on."""
    treatment: str = "treatment"
    revenue: str = "revenue"
    cost: str = "cost"
    features: tuple[str, ...] = ()
    """Columns of numbers known before treatment, for the test of balance; every other one if not given."""
    propensities: tuple[float, ...] = ()
    """Probability of each treatment by design; the shares of the table if not given."""
    predicted_revenue: tuple[str, ...] = ()
    """Columns of predicted revenue at each treatment, in the order of their codes."""
    predicted_cost: tuple[str, ...] = ()
    rival_revenue: tuple[str, ...] = ()
    """The same of a second model, to compare the first with."""
    rival_cost: tuple[str, ...] = ()
    budgets: tuple[float, ...] = ()
    """Cost per person; six between the cheapest and the dearest treatment's mean cost if not given."""
    settle: Literal["aipw", "ipw"] = "aipw"
    """Doubly robust scores, with the first model's predictions, or inverse-propensity scores."""
    replicates: int = 1000
    """Of the bootstrap."""
    seed: int = 0
    out: Path | None = None
    """Folder for tables and figures, a new one; runs/evaluate-TIME if not given."""


def main(config: Config) -> None:
    """Load, evaluate, write, show."""
    trial, policies, names = from_table(config) if config.data else example(config.seed)
    settling = scores.aipw(trial, next(iter(policies.values()))) if config.settle == "aipw" else scores.ipw(trial)
    budgets = config.budgets or default_budgets(settling.c.mean(axis=0))
    out = config.out or Path("runs") / f"evaluate-{datetime.now():%Y%m%d-%H%M%S}"
    console = Console()
    with (
        open_run(out, {"experiment": "evaluate", "options": vars(config)}) as run,
        Progress(console=console) as progress,
    ):
        task = progress.add_task("bootstrap", total=config.replicates)
        judged = evaluate(
            jax.random.key(config.seed),
            trial,
            policies,
            settling,
            budgets,
            replicates=config.replicates,
            names=names,
            on_batch=lambda done: progress.update(task, completed=done),
        )
        evaluation.write_evaluation(judged, run.path)
    console.print(*evaluation.tables(judged), sep="\n", highlight=False)
    for doubt in evaluation.doubts(judged):
        console.print(f"Mind: {doubt}", highlight=False)
    print(f"Written to {out}")


def from_table(config: Config) -> tuple[Trial, dict[str, Outcomes], list[str]]:
    """The trial, the predictions by name, and the names of the features."""
    assert config.data is not None
    asked = {
        "model": (config.predicted_revenue, config.predicted_cost),
        "rival": (config.rival_revenue, config.rival_cost),
    }
    if not config.predicted_revenue:
        refuse("--predicted-revenue", found="no columns", expected="one for each treatment")
    frame = read_frame(config.data, [column for pair in asked.values() for part in pair for column in part])
    taken = {column for pair in asked.values() for part in pair for column in part}
    rest = frame.drop(columns=list(taken))
    columns = Columns(
        treatment=config.treatment,
        revenue=config.revenue,
        cost=config.cost,
        features=config.features,
        propensities=config.propensities,
    )
    table = trial_table(rest, columns)
    numbers = table.features.select_dtypes("number")
    policies = {name: predictions(frame, pair, table, name) for name, pair in asked.items() if any(pair)}
    x = np.stack([finite(numbers[column]) for column in numbers], axis=1) if len(numbers.columns) else None
    x = np.zeros((len(table.t), 0), np.float32) if x is None else x
    return Trial(*map(jnp.asarray, (x, table.t, table.r, table.c, table.p))), policies, list(numbers.columns)


def predictions(
    frame: pd.DataFrame, pair: tuple[tuple[str, ...], tuple[str, ...]], table: Table, name: str
) -> Outcomes:
    """Predicted revenue and cost at every treatment, checked."""
    m = len(table.arms)
    for outcome, columns in zip(("revenue", "cost"), pair, strict=True):
        if len(columns) != m:
            expected = f"{m}, one for each of {', '.join(table.arms)}"
            refuse(f"columns of predicted {outcome} of the {name}", found=len(columns), expected=expected)
    return Outcomes(
        *(jnp.stack([jnp.asarray(finite(frame[column])) for column in columns], axis=1) for columns in pair)
    )


def example(seed: int) -> tuple[Trial, dict[str, Outcomes], list[str]]:
    """A simulated trial of five discounts, with a linear model for each treatment, fitted on other people.

    The rival knows everybody's mean outcomes alone.
    """
    trial, _ = data.simulate.marketing(jax.random.key(seed), 40_000)
    m, half = trial.p.shape[0], 20_000
    x = jnp.concatenate([jnp.ones((2 * half, 1)), trial.x], axis=1)
    surfaces: dict[str, list[jax.Array]] = {"r": [], "c": []}
    for j in range(m):
        rows = jnp.flatnonzero(trial.t[:half] == j)
        for name, column in (("r", trial.r), ("c", trial.c)):
            surfaces[name].append(x[half:] @ jnp.linalg.lstsq(x[rows], column[rows])[0])
    linear = Outcomes(*(jnp.stack(columns, axis=1) for columns in surfaces.values()))
    mean = jax.tree.map(lambda s: jnp.broadcast_to(s.mean(axis=0, keepdims=True), s.shape), linear)
    rest = trial._replace(x=trial.x[half:], t=trial.t[half:], r=trial.r[half:], c=trial.c[half:])
    return rest, {"linear": linear, "mean outcomes": mean}, [f"x{k}" for k in range(trial.x.shape[1])]


if __name__ == "__main__":
    command(main, Config)
