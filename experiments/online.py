"""An online experiment: policies that were learned from a trial, side by side on the people of many days."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
import pandas as pd
from jax import Array
from rich.progress import Progress

from dfcl_jax.data import Split, simulate
from dfcl_jax.errors import refuse
from dfcl_jax.methods import TWO_STAGE, Policy
from dfcl_jax.runs import DISCOUNT_ARMS, Run, RunConfig, command, draw_splits, open_run
from dfcl_jax.study import Study, compare, daily_budgets, online, online_lifts, policy_of
from dfcl_jax.types import Trial

PACED = " paced"


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Train TSM-SL and DFCL on a trial of one week, then let them decide in the weeks that follow (DFCL section 5).

    Every day's people are given to the policies at random; demand and features shift from week to week. Each policy has
    two groups: one where it trusts the spend curve of the trial, one where it follows the spend that it sees.
    """

    train: int = 100_000
    """People in the training part of the trial; then of validation and of test."""
    valid: int = 25_000
    test: int = 50_000
    seeds: int = 1
    """The models of the first decide."""
    methods: tuple[str, ...] = ("DFCL-MER", "PL-own-units")
    """Beside TSM-SL."""
    wide: bool = False
    """107 features instead of 30."""
    days: int = 28
    people: int = 620_000
    """Who arrive each day, for all groups together."""
    batches: int = 24
    """In which the people of a day arrive; a paced policy follows the spend of each."""
    budget: float = 0.3
    """Mean of the daily budgets, on the way from the cheapest to the dearest treatment's mean cost."""
    budget_spread: float = 0.2
    """Standard deviation of the log of a day's budget."""

    def __post_init__(self) -> None:
        """Check now what would be refused after training."""
        super().__post_init__()
        if self.days < 1:
            refuse("days", found=self.days, expected="at least 1")
        if not 0 < self.budget < 1:
            refuse("budget", found=self.budget, expected="a share above 0 and below 1")
        if not 0 <= self.budget_spread < float("inf"):
            refuse("budget spread", found=self.budget_spread, expected="a number of at least 0")


def main(config: Config) -> None:
    """Simulate, train, experiment, report."""
    population_key, online_key = jax.random.split(jax.random.fold_in(jax.random.key(config.first_seed), 2))
    week_0 = simulate.marketing_population(population_key, simulate.WIDE if config.wide else simulate.MarketingDials())
    parts, methods = (config.train, config.valid, config.test), config.chosen_methods()
    with open_run("online", config, parts=parts, wide=config.wide) as run:
        splits = draw_splits(run, config, lambda key, n: simulate.draw(week_0, key, n), parts)
        study = compare(jax.random.key(0), splits, methods, cells=run.cells())
        run.report(study)
        policies = policies_of(study, splits[0], config.methods)
        daily = side_by_side(run, config, online_key, week_0, policies, splits[0].task.train.sample(config.train))
        lifts = both_lifts(daily)
        run.write_table("daily", daily)
        run.write_table("online", lifts)
        run.show(shown(lifts), caption(daily))


def policies_of(study: Study, split: Split, names: Sequence[str]) -> dict[str, Policy]:
    """TSM-SL and the policies of these names, all if there are none, each twice: as it is, and to be paced."""
    chosen = dict.fromkeys((TWO_STAGE, *(names or study.cells)))
    policies = {name: policy_of(study, split, name, arms=DISCOUNT_ARMS) for name in chosen}
    return policies | {name + PACED: policy for name, policy in policies.items()}


def side_by_side(
    run: Run, config: Config, key: Array, week_0: simulate.Marketing, policies: dict[str, Policy], trial: Trial
) -> pd.DataFrame:
    """The days of the experiment, from week 1 on, with budgets that make sense by what treatments cost in the trial."""
    with Progress(console=run.console, disable=not run.console.is_terminal) as progress:
        task = progress.add_task("online", total=config.days)
        return online(
            key,
            lambda day: week_0.in_week(1 + day // 7),
            policies,
            daily_budgets(trial, config.days, share=config.budget, spread=config.budget_spread, seed=config.first_seed),
            config.people,
            paced=[name for name in policies if name.endswith(PACED)],
            batches=config.batches,
            on_day=lambda day: progress.update(task, completed=day + 1),
        )


def both_lifts(daily: pd.DataFrame) -> pd.DataFrame:
    """Lifts over TSM-SL without pacing, then of the paced policies over paced TSM-SL: they spend the same."""
    paced = daily.policy.str.endswith(PACED)
    without, with_pacing = online_lifts(daily[~paced], TWO_STAGE), online_lifts(daily[paced], TWO_STAGE + PACED)
    return pd.concat([without, with_pacing], ignore_index=True)


def shown(lifts: pd.DataFrame) -> pd.DataFrame:
    """The result for a terminal."""
    base = lifts.policy.isin([TWO_STAGE, TWO_STAGE + PACED])
    return pd.DataFrame(
        {
            "policy": lifts.policy,
            "revenue": lifts.revenue.map("{:.4f}".format),
            "spend %": lifts.spend.map("{:.1f}".format),
            "largest day %": lifts.largest_day.map("{:.1f}".format),
            f"% over {TWO_STAGE}": lifts.lift.map("{:+.2f}".format).mask(base, "-"),
            "95% interval": [
                "-" if none or np.isnan(low) else f"{low:+.2f} to {high:+.2f}"
                for none, low, high in zip(base, lifts.low, lifts.high, strict=True)
            ],
        }
    )


def caption(daily: pd.DataFrame) -> str:
    """What the numbers are."""
    return (
        f"Revenue is per person and day, as seen, of {daily.people.iloc[0]:,} people a day for each policy over "
        f"{daily.day.max()} days. Spend is the total in % of the budgets, the largest day in % of its own budget. The "
        f"interval is Student's t over the days' lifts; paced policies are compared with paced {TWO_STAGE}."
    )


if __name__ == "__main__":
    command(main, Config)
