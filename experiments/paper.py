"""The paper's tables, every method beside the figure that was published: `./scripts/run paper --table 1|2`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from dfcl_jax import metrics
from dfcl_jax.data import Split
from dfcl_jax.losses import constants
from dfcl_jax.methods import (
    CHEAPEST,
    OF_TWO,
    TWO_STAGE,
    Boosted,
    CausalForest,
    Decision,
    Method,
    TwoStage,
    rivals,
    standard,
)
from dfcl_jax.models import PUBLISHED_CRITEO
from dfcl_jax.report.published import Published, beside_published, draw_published, shown
from dfcl_jax.report.summary import lifts, summarise
from dfcl_jax.report.terminal import markdown_table, number
from dfcl_jax.runs import DRAWS, Run, RunConfig, command, draw_splits, open_run
from dfcl_jax.runs.options import COUNT
from dfcl_jax.study import ORACLE, Judge, Study, compare
from dfcl_jax.train import FitConfig
from dfcl_jax.types import Outcomes, Trial

DFCL, DHCL, LOG = "DFCL", "DHCL", "log of DFCL's code"
LIFT = "DFCL, from IFD's +3.94%"
OTHER = "Bi-DFCL, Marketing II"


class Table(NamedTuple):
    """One table of the paper, and what stands for it here."""

    title: str
    population: str  # of `runs.DRAWS`
    parts: tuple[int, int, int]  # people for training, validation and test
    two_stage: TwoStage
    left_out: tuple[str, ...]  # methods that are not for this population
    published: dict[str, Published]
    measure: Callable[[Study, list[Split]], pd.DataFrame]  # a column for each method, a row for each seed
    unit: str
    digits: int
    signed: bool  # the measure is a difference to the base already
    caption: str


def true_aucc(study: Study, splits: list[Split]) -> pd.DataFrame:
    """AUCC of each policy's ranking, settled by the truth: everybody is treated and control with expected outcomes."""
    return pd.DataFrame(
        {
            name: [
                _true_aucc(study.methods[name].predict(cell.params, split.exam.test.x), split)
                for cell, split in zip(cells, splits, strict=True)
            ]
            for name, cells in study.cells.items()
            if name != CHEAPEST
        }
        | {ORACLE: [_true_aucc(split.exam.truth, split) for split in splits if split.exam.truth is not None]}
    )


def _true_aucc(outcomes: Outcomes, split: Split) -> float:
    truth = split.exam.truth
    assert truth is not None
    n = truth.r.shape[0]
    r, c = (surface.T.reshape(-1) for surface in truth)
    both = Trial(jnp.zeros((2 * n, 1)), jnp.repeat(jnp.arange(2), n), r, c, jnp.full(2, 0.5))
    return float(metrics.aucc(jnp.tile(metrics.roi_score(outcomes), 2), both))


def lift(study: Study, splits: list[Split]) -> pd.DataFrame:
    """True revenue over TSM-SL in %, mean over six budgets."""
    return lifts(study).drop(columns=CHEAPEST)


TABLES = {
    1: Table(
        title="Criteo, AUCC",
        population="criteo",
        parts=(60_000, 15_000, 100_000),
        # As published but for its training, which is for 8 million rows.
        two_stage=TwoStage(PUBLISHED_CRITEO, "cross_entropy", FitConfig(20, 1000, 1e-3)),
        left_out=("DPM",),  # its form of two treatments is DRP
        published={
            "TSM-SL": Published(0.7561, None, LIFT),
            "DRP": Published(0.7739, 0.0002, DHCL),
            "Direct Rank": Published(0.7562, 0.0131, DHCL),
            "DFCL-PL": Published(0.7769, None, LOG),
            "DFCL-MER": Published(0.7727, None, LOG),
            "DFCL-IFD": Published(0.7859, 0.0021, DFCL),
        },
        measure=true_aucc,
        unit="AUCC",
        digits=4,
        signed=False,
        caption="AUCC of the ranking, settled by the true expected outcomes of the test people; 0.5 is random.",
    ),
    2: Table(
        title="Marketing, revenue at six budgets",
        population="marketing",
        parts=(20_000, 5_000, 50_000),
        two_stage=TwoStage(),
        left_out=OF_TWO,
        published={
            "TSM-SL": Published(0.0, None, DFCL),
            "TSM-CF": Published(-3.20, None, OTHER),
            "DPM": Published(0.59, None, OTHER),
            "DFCL-PL": Published(1.98, None, DFCL),
            "DFCL-MER": Published(2.06, None, DFCL),
            "DFCL-IFD": Published(2.85, None, DFCL),
        },
        measure=lift,
        unit=f"% over {TWO_STAGE}",
        digits=2,
        signed=True,
        caption=f"True revenue over {TWO_STAGE} in %, mean over six budgets.",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Compare every method with what was published, on simulated trials.

    A method or a seed that is added later, with the same --out, costs only itself.
    """

    table: Literal[1, 2] = 2
    """1: Criteo, AUCC. 2: marketing, revenue at six budgets."""
    seeds: Annotated[int, COUNT] = 3
    parts: Annotated[tuple[int, int, int] | None, COUNT] = None
    """People for training, validation and test instead of the table's."""
    quick: bool = False
    """Tiny trials, two epochs, few trees: whether it runs, not what comes of it."""


def main(config: Config) -> None:
    """Simulate, train what is missing, compare, and print the table."""
    table = TABLES[config.table]
    parts = config.parts or ((4000, 2000, 4000) if config.quick else table.parts)
    methods, missing = known_methods(table, config)
    methods = config.chosen_methods(methods)
    with open_run("paper", config, table=config.table, parts=parts, quick=config.quick) as run:
        run.say(*missing)
        splits = draw_splits(run, config, DRAWS[table.population], parts)
        judge = Judge(loss=of_table(table, config).loss)
        study = compare(jax.random.key(0), splits, methods, judge=judge, cells=run.cells())
        report(run, table, study, splits, parts)


def of_table(table: Table, config: Config) -> TwoStage:
    """Two-stage learning as the options have it, or as the table has it where they say nothing."""
    return table.two_stage if config.two_stage == TwoStage() else config.two_stage


def known_methods(table: Table, config: Config) -> tuple[dict[str, Method], list[str]]:
    """Methods by name, in the order of the table, and a sentence for each that is left out for lack of its package."""
    start, decision = of_table(table, config), config.decision
    if config.quick:
        start = replace(start, training=replace(start.training, epochs=2))
        decision = replace(decision, epochs=2)
    methods = standard(start, decision) | rivals(start, decision)
    missing = []
    for name, method in list(methods.items()):
        package = {Boosted: "sklearn", CausalForest: "econml"}.get(type(method))
        if name in table.left_out:
            del methods[name]
        elif package is not None and find_spec(package) is None and name not in config.methods:
            missing.append(f"{name} is left out: it needs the extra {'boost' if package == 'sklearn' else 'forest'}")
            del methods[name]
        else:
            methods[name] = _as_here(method, name, table, config.quick)
    return methods, missing


def _as_here(method: Method, name: str, table: Table, quick: bool) -> Method:
    if table is TABLES[1] and isinstance(method, Decision) and name.startswith(("DFCL", "CN")):
        method = replace(method, constants=constants.published_criteo)
    if quick and isinstance(method, Boosted | CausalForest):
        method = replace(method, trees=8)
    if quick and hasattr(method, "training") and not isinstance(method, TwoStage | Decision):
        method = replace(method, training=FitConfig(epochs=2, batch_size=1000))  # pyright: ignore
    return method


def report(run: Run, table: Table, study: Study, splits: list[Split], parts: tuple[int, int, int]) -> None:
    """Write the table as CSV and Markdown with its picture, and print it."""
    measured = table.measure(study, splits)
    beside = beside_published(measured, table.published, base=TWO_STAGE)
    summary = summarise(study).set_index("method")
    beside["% of gain"] = [number(summary.gain.get(name, np.nan)) for name in beside.method]
    money = {name for name, method in study.methods.items() if method.money}
    loss = summary.prediction_loss.where(summary.index.isin(money))
    beside["loss"] = [number(loss.get(name, np.nan)) for name in beside.method]
    run.write_table("metrics", study.values)
    run.write_table("quality", study.quality)
    run.write_table("table", beside)
    text = shown(beside, digits=table.digits, base=TWO_STAGE, signed=table.signed)
    caption = (
        f"{table.title}. {table.caption} Measured on simulated trials ({parts[0]:,} people to train on, {parts[1]:,} "
        f"to validate, {parts[2]:,} to judge by): published figures are of other data, context and no target. ±: 95% t "
        f"intervals over {len(measured)} seeds, each a fresh trial; behind published figures what the source prints. "
        "% of gain: of the oracle's over the cheapest treatment for all, mean over six budgets. loss: prediction loss, "
        "of methods that predict money."
    )
    run.write_text("table.md", f"{caption}\n\n{markdown_table(list(text.columns), text.to_numpy().tolist())}")
    draw_published(beside, run.path / "table.png", title=table.title, x=table.unit)
    run.show(text, caption)


if __name__ == "__main__":
    command(main, Config)
