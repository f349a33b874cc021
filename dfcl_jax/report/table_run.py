"""From somebody's own trial table to a comparison and a budgeted plan."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as TerminalTable

from dfcl_jax import scores
from dfcl_jax.data import Split, Table, read_frame, split_table
from dfcl_jax.data.encode import Scaling, encode
from dfcl_jax.methods import METHODS, TWO_STAGE, Method
from dfcl_jax.report.command import RunConfig, experiment, run_study
from dfcl_jax.report.plan import Plan, plan_for, proven_best
from dfcl_jax.report.predictor import load_predictor
from dfcl_jax.report.run_folder import RunFolder
from dfcl_jax.study import Study
from dfcl_jax.study.config import chosen_budgets
from dfcl_jax.types import Trial


@dataclass(frozen=True, kw_only=True)
class TableConfig(RunConfig):
    """The options of every experiment on a table."""

    data: Path
    """CSV (also .csv.gz) or Parquet file of the trial."""
    budgets: tuple[float, ...] = ()
    """Cost per person; six between the cheapest and the dearest treatment's mean cost if not given."""
    fractions: tuple[float, float, float] = (0.6, 0.1, 0.3)
    """Training, validation and test parts."""
    scaling: Scaling = "standard"
    people: Path | None = None
    """Table of people to plan for; the test part of the first seed if not given."""


def run_table(
    name: str, config: TableConfig, table: Table, methods: dict[str, Method] = METHODS, *, plan: bool = True
) -> Study:
    """Compare methods on splits of a table and write the run folder, with a plan by the method that proved best.

    Args:
        name: of the experiment.
        config: its options.
        table: the trial.
        methods: what to compare with two-stage learning.
        plan: whether to plan at the end.

    Raises:
        InputError: bad budgets, fractions, features or people, before anything is written.
    """
    budgets = _budgets(config, table)
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    splits = [split_table(table, seed, fractions=config.fractions, scaling=config.scaling) for seed in seeds]
    people = None if config.people is None or not splits else _people(config.people, splits[0])
    with experiment(name, config, rows=len(table.t), checksum=_checksum(table)) as run:
        study = run_study(run, splits, budgets, methods, config, arms=table.arms)
        if plan:
            frame = table.features.iloc[splits[0].test_rows] if people is None else people
            rows = splits[0].test_rows if people is None else np.arange(len(people))
            method = proven_best(study)
            decider, two_stage = (load_predictor(run.path, each) for each in (method, TWO_STAGE))
            _write_plan(run, plan_for(decider, two_stage, splits[0].test, frame, rows, budgets), method)
    return study


def _people(path: Path, split: Split) -> pd.DataFrame:
    people = read_frame(path)
    if split.encoder is not None:
        encode(split.encoder, people)  # what it refuses is refused now, not after training
    return people


def _budgets(config: TableConfig, table: Table) -> Sequence[float]:
    t, r, c, p = (jnp.asarray(part) for part in (table.t, table.r, table.c, table.p))
    return chosen_budgets(config.budgets, scores.ipw(Trial(jnp.empty((len(t), 0)), t, r, c, p)).c.mean(axis=0))


def _checksum(table: Table) -> int:
    checksum = 0
    for part in (table.t, table.r, table.c, table.p, pd.util.hash_pandas_object(table.features).to_numpy()):
        checksum = zlib.crc32(part.tobytes(), checksum)
    return checksum


def _write_plan(run: RunFolder, plan: Plan, method: str) -> None:
    plan.assignments.to_csv(run.path / "plan.csv", index=False)
    plan.budgets.to_csv(run.path / "plan_budgets.csv", index=False)
    console = Console()
    why = "no method proved better" if method == TWO_STAGE else f"the interval of its lift over {TWO_STAGE} is above 0"
    source = "spend and revenue per person as estimated on the test part of the first seed"
    console.print(f"\nPlan for {len(plan.assignments):,} people by {method} ({why}); {source}:", highlight=False)
    shown = TerminalTable(box=SIMPLE_HEAD)
    for column in plan.budgets.columns:
        shown.add_column(column, justify="right")
    for row in plan.budgets.itertuples(index=False):
        shown.add_row(*(f"{value:.4g}" for value in row))
    console.print(shown, *plan.notes, sep="\n")
