"""Table 3: the online experiment, three groups of the people of 28 days, beside what was published."""

from collections.abc import Sequence
from dataclasses import replace

import jax
import pandas as pd

from dfcl_jax.data import Split, simulate
from dfcl_jax.methods import TWO_STAGE
from dfcl_jax.methods.gradient import in_memory
from dfcl_jax.report.published import beside_published, draw_published, shown
from dfcl_jax.report.terminal import markdown_table, plus_minus
from dfcl_jax.runs.paper.config import PaperConfig
from dfcl_jax.runs.paper.duration import expected_seconds, told
from dfcl_jax.runs.paper.field import field_of
from dfcl_jax.runs.paper.sources import ONLINE_LIFT
from dfcl_jax.runs.run_folder import Run, open_run
from dfcl_jax.runs.simulated import DISCOUNT_ARMS, draw_splits
from dfcl_jax.study import Study, compare, daily_budgets, online, online_lifts, policy_of

PARTS, WIDE_PARTS = (20_000, 5_000, 20_000), (1_200_000, 200_000, 200_000)
# The groups of the paper beside two-stage learning, G-DPM and G-DFCL.
GROUPS = ("DPM", "DFCL-IFD")


def run_days(config: PaperConfig) -> None:
    """Learn in week 0, decide for the people of the weeks that follow, and write lifts with t intervals over days."""
    start = config.brief(config.two_stage)
    methods, _ = field_of(start, config.stage, quick=config.quick)
    names = (TWO_STAGE, *(config.methods or GROUPS))
    chosen = {name: method for name, method in config.chosen_methods(methods).items() if name in names}
    parts = config.size(PARTS, WIDE_PARTS)
    days, people = (3, 3_000) if config.quick else (28, 310_000 if config.full else 31_000)
    dials = simulate.WIDE if config.full else simulate.MarketingDials()
    with open_run("paper", config, table=3, parts=parts, wide=config.full, quick=config.quick) as run:
        weeks, splits = [], []
        for seed in config.seed_numbers:
            week_0 = simulate.marketing_population(jax.random.fold_in(jax.random.key(seed), 2), dials)
            one = replace(config, seeds=1, first_seed=seed)
            splits += draw_splits(run, one, lambda key, n, of=week_0: simulate.draw(of, key, n), parts)
            weeks.append(week_0)
        with told(run, expected_seconds(chosen, parts[0], config.seeds) + 1e-6 * days * people * config.seeds):
            study = compare(jax.random.key(0), splits, chosen, cells=run.cells())
            daily = pd.concat(
                [
                    _days(study, split, week_0, list(chosen), days, people).assign(seed=split.task.seed)
                    for split, week_0 in zip(splits, weeks, strict=True)
                ]
            )
        _report(run, daily, list(chosen))


def _days(
    study: Study, split: Split, week_0: simulate.Marketing, names: Sequence[str], days: int, people: int
) -> pd.DataFrame:
    """Daily revenue and cost of each group; all follow the spend that they see, so that they spend the same."""
    seed = split.task.seed
    policies = {name: policy_of(study, split, name, arms=DISCOUNT_ARMS) for name in names}
    budgets = daily_budgets(in_memory(split.task.train), days, seed=seed)
    key = jax.random.fold_in(jax.random.key(seed), 3)
    return online(key, lambda day: week_0.in_week(1 + day // 7), policies, budgets, people, paced=list(policies))


def _report(run: Run, daily: pd.DataFrame, names: Sequence[str]) -> None:
    """Lifts of each group, the mean over days, with intervals over populations and, of the first, over its days."""
    lifts = pd.concat([online_lifts(of, TWO_STAGE).assign(seed=seed) for seed, of in daily.groupby("seed")])
    measured = lifts.pivot(index="seed", columns="policy", values="lift")[list(names)]
    beside = beside_published(measured, ONLINE_LIFT, base=TWO_STAGE)
    first = lifts[lifts.seed == lifts.seed.min()].set_index("policy")
    over_days = [plus_minus(row.lift, row.high) for row in first.loc[beside.method].itertuples()]
    beside["over days"] = ["-", *over_days[1:]]
    beside["spend %"] = [f"{lifts[lifts.policy == name].spend.mean():.1f}" for name in beside.method]
    run.write_table("daily", daily)
    run.write_table("online", lifts)
    run.write_table("table", beside)
    text = shown(beside, digits=2, base=TWO_STAGE, signed=True)
    days, people = daily.day.max(), daily.people.iloc[0]
    caption = (
        f"Table 3. Online, revenue over {TWO_STAGE} in %. Simulated people, {people:,} a day in each of {len(names)} "
        f"groups over {days} days, other people than those learned from and in other weeks; published figures are of "
        f"other data, context and no target. Every group follows the spend that it sees, and its total is in % of the "
        f"budgets. ±: 95% t intervals over {len(measured)} populations; over days: the t interval over the days of "
        "the first, as in the paper."
    )
    run.write_text("table.md", f"{caption}\n\n{markdown_table(list(text.columns), text.to_numpy().tolist())}")
    draw_published(beside, run.path / "table.png", title="Table 3. Online", x=f"% over {TWO_STAGE}")
    run.show(text, caption)
