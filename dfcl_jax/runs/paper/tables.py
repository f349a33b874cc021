"""Tables 1 and 2: every method on Criteo-like and on marketing trials, beside what was published."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array

from dfcl_jax import metrics
from dfcl_jax.data import Split, simulate, sources, with_budgets
from dfcl_jax.data.simulate import Simulation
from dfcl_jax.methods import CHEAPEST, OF_MONEY, OF_TWO, TWO_STAGE, TwoStage
from dfcl_jax.metrics import paired_interval
from dfcl_jax.models import PUBLISHED_CRITEO
from dfcl_jax.report.published import Published, beside_published, draw_published, shown
from dfcl_jax.report.summary import lifts, lifts_by_budget, summarise, without
from dfcl_jax.report.terminal import markdown_table, number, plus_minus
from dfcl_jax.runs.config import TableConfig
from dfcl_jax.runs.opened_table import open_table
from dfcl_jax.runs.paper.config import PaperConfig, Parts
from dfcl_jax.runs.paper.duration import expected_seconds, told
from dfcl_jax.runs.paper.field import field_of, from_pl_to_ifd
from dfcl_jax.runs.paper.sources import CRITEO_AUCC, MARKETING_LIFT
from dfcl_jax.runs.run_folder import Run, open_run
from dfcl_jax.runs.simulated import DRAWS, Draw, draw_splits
from dfcl_jax.solvers import chosen_budgets
from dfcl_jax.study import Judge, Study, areas, compare
from dfcl_jax.train import FitConfig
from dfcl_jax.types import Trial


class Table(NamedTuple):
    """A table of the paper, and what stands for it here."""

    title: str
    draw: Callable[[PaperConfig, Parts], Draw]
    parts: Parts
    full: Parts
    two_stage: TwoStage
    left_out: tuple[str, ...]  # methods that are not for this population
    brief: tuple[str, ...]  # methods that are tried quickly
    published: dict[str, Published]
    measure: Callable[[Study], pd.DataFrame]  # a column for each method, a row for each seed
    unit: str
    digits: int
    signed: bool  # the measure is a difference to the base already
    caption: str


def run_table_of_paper(number: int, config: PaperConfig) -> None:
    """Draw or read the trials, train what is missing, and write the table as CSV, Markdown and a picture."""
    table = TABLES[number]
    start = config.brief(table.two_stage)
    criteo = number == 1
    methods, missing = field_of(start, config.stage, left_out=table.left_out, criteo=criteo, quick=config.quick)
    if criteo and not config.quick:
        methods |= from_pl_to_ifd(start, config.stage)
    methods = replace(config, methods=config.methods or (table.brief if config.quick else ())).chosen_methods(methods)
    parts = config.size(table.parts, table.full)
    if config.data is not None:
        splits, about, data = _of_file(config)
        task, exam = splits[0].task, splits[0].exam
        parts = (task.train.rows, task.valid.rows, exam.test.rows)
    else:
        splits, data = [], {"parts": parts, "quick": config.quick, "wide": config.full}
        about = "simulated trials, so that published figures are of other data, context and no target"
    with open_run("paper", config, table=number, **data) as run:
        run.say(*missing)
        splits = splits or draw_splits(run, config, table.draw(config, parts), parts)
        with told(run, expected_seconds(methods, parts[0], config.seeds)):
            judge = Judge(loss=start.loss)
            study = compare(jax.random.key(0), splits, methods, judge=judge, cells=run.cells(), skip_diverged=True)
        sizes = f"{parts[0]:,} people to train on, {parts[1]:,} to validate, {parts[2]:,} to judge by"
        _report(run, table, study, splits, f"Measured on {about} ({sizes}).")


def _of_file(config: PaperConfig) -> tuple[list[Split], str, dict]:
    """Splits of the published file, one for each seed, with budgets by its mean costs."""
    assert config.data is not None
    table = TableConfig(
        data=config.data,
        splits=config.seeds,
        first_seed=config.first_seed,
        scaling="minmax",
        two_stage=TABLES[1].two_stage,
    )
    opened = open_table(table, sources.CRITEO)
    splits = with_budgets(opened.splits, chosen_budgets((), opened.mean_costs))
    about = (
        "random splits of the file that was given, judged by its own outcomes, with intervals that allow for overlap"
    )
    return splits, about, {"rows": opened.rows, "checksum": opened.checksum}


def error_of_data(study: Study, split: Split, *, replicates: int = 200) -> dict[str, float]:
    """Half the 95% interval of each method's AUCC less that of the base on one test part, people drawn anew."""
    test = split.exam.test

    def ranking(name: str) -> Array:
        cell = next(cell for cell in study.cells[name] if cell.seed == split.task.seed)
        return metrics.roi_score(study.methods[name].predict(cell.params, test.x))

    names = [name for name in study.cells if name not in (CHEAPEST, study.judge.base)]
    base = ranking(study.judge.base)

    def over_base(data: tuple[Array, Array, Trial], weights: Array) -> Array:
        mine, theirs, trial = data
        return metrics.aucc(mine, trial, weights=weights) - metrics.aucc(theirs, trial, weights=weights)

    key = jax.random.key(0)
    return {
        name: 1.96
        * float(
            metrics.bootstrap(over_base, (ranking(name), base, test), test.rows, key=key, replicates=replicates).error
        )
        for name in names
    }


def lift(study: Study) -> pd.DataFrame:
    """True revenue over TSM-SL in %, mean over six budgets."""
    return lifts(study).drop(columns=CHEAPEST)


def _report(run: Run, table: Table, study: Study, splits: Sequence[Split], about: str) -> None:
    """Write the table with its caption and picture, and print it."""
    measured = table.measure(study)
    beside = beside_published(measured, table.published, base=TWO_STAGE, test_share=study.test_share)
    summary = summarise(study).set_index("method")
    if "gain" in summary:
        beside["% of gain"] = [number(summary.gain.get(name, np.nan)) for name in beside.method]
    money = {name for name, method in study.methods.items() if method.money}
    loss = summary.prediction_loss.where(summary.index.isin(money))
    beside["loss"] = [number(loss.get(name, np.nan)) for name in beside.method]
    caption = (
        f"{table.title}. {table.caption} {about} ±: 95% t intervals over {len(measured)} seeds; behind published "
        "figures what the source prints. loss: prediction loss, of methods that predict money."
    )
    caption += without(study)
    if "gain" in summary:
        caption += " % of gain: of the oracle's over the cheapest treatment for all, mean over six budgets."
    if table.measure is areas and splits[0].exam.truth is None:
        reach = error_of_data(study, splits[0])
        beside["data ±"] = [number(reach.get(name, np.nan), 2) for name in beside.method]
        caption += f" data ±: half the paired 95% interval of the difference to {TWO_STAGE} on the first test part."
    run.write_table("metrics", study.values)
    run.write_table("quality", study.quality)
    run.write_table("table", beside)
    text = shown(beside, digits=table.digits, base=TWO_STAGE, signed=table.signed)
    page = f"{caption}\n\n{markdown_table(list(text.columns), text.to_numpy().tolist())}"
    draw_published(beside, run.path / "table.png", title=table.title, x=table.unit)
    run.show(text, caption)
    if table.signed:
        budgets = _at_budgets(study)
        run.write_table("budgets", budgets)
        page += f"\n{AT_BUDGETS}\n\n{markdown_table(list(budgets.columns), budgets.to_numpy().tolist())}"
        run.show(budgets, AT_BUDGETS)
    run.write_text("table.md", page)


AT_BUDGETS = f"Revenue over {TWO_STAGE} in % at each budget per person."


def _at_budgets(study: Study) -> pd.DataFrame:
    """A row for each method and a column for each budget, as text."""

    def shown_of(lift: pd.Series) -> str:
        of = paired_interval(lift.to_numpy(np.float64))
        return plus_minus(of.mean, of.high)

    columns = {number(budget, 3): lift.apply(shown_of) for budget, lift in lifts_by_budget(study).items()}
    return pd.DataFrame(columns).rename_axis("method").reset_index()


def two_weeks(parts: Parts) -> Draw:
    """107 features; people to learn from in one week, people to judge by in the next."""

    def draw(key: Array, n: int) -> Simulation:
        del n
        population_key, now_key, next_key = jax.random.split(key, 3)
        population = simulate.marketing_population(population_key, simulate.WIDE)
        now = simulate.draw(population, now_key, parts[0] + parts[1])
        later = simulate.draw(population.in_week(1), next_key, parts[2])
        whole = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), now, later)
        # Propensities are those of all weeks.
        return whole._replace(trial=whole.trial._replace(p=now.trial.p))

    return draw


def marketing(config: PaperConfig, parts: Parts) -> Draw:
    """The draw of table 2: small trials, or the paper's two weeks of 107 features."""
    return two_weeks(parts) if config.full else DRAWS["marketing"]


def criteo_as_published(config: PaperConfig, parts: Parts) -> Draw:
    """The draw of table 1: features of the file's marginals at full size, mixed ones otherwise."""
    del parts
    if not config.full:
        return DRAWS["criteo"]
    return jax.jit(partial(simulate.criteo_like, published=True), static_argnums=1)


TABLES = {
    1: Table(
        title="Table 1. Criteo, AUCC",
        draw=criteo_as_published,
        parts=(60_000, 15_000, 100_000),
        full=(8_387_755, 1_397_959, 4_193_878),
        # As published but for its training, which is for 8 million rows.
        two_stage=TwoStage(PUBLISHED_CRITEO, "cross_entropy", FitConfig(20, 1000, 1e-3)),
        left_out=(*OF_MONEY, "PL-both", "PL-both x5"),
        brief=("DFCL-IFD", "DRP"),
        published=CRITEO_AUCC,
        measure=areas,
        unit="AUCC",
        digits=4,
        signed=False,
        caption="AUCC of the ranking; 0.5 is random. The published loss of TSM-SL is .2165.",
    ),
    2: Table(
        title="Table 2. Marketing, revenue at six budgets",
        draw=marketing,
        parts=(20_000, 5_000, 50_000),
        full=(1_200_000, 200_000, 1_400_000),
        two_stage=TwoStage(),
        left_out=(*OF_TWO, "PL-root", "PL-root x5"),
        brief=("DFCL-PL", "DPM"),
        published=MARKETING_LIFT,
        measure=lift,
        unit=f"% over {TWO_STAGE}",
        digits=2,
        signed=True,
        caption=f"True revenue over {TWO_STAGE} in %, mean over six budgets.",
    ),
}
