"""An online experiment: policies that were learned from a trial, side by side on the people of many days."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from dfcl_jax import METHODS, scores
from dfcl_jax.data import simulate, split_simulation
from dfcl_jax.errors import refuse
from dfcl_jax.methods import TWO_STAGE
from dfcl_jax.report import RunConfig, RunFolder, command, experiment, load_predictor, run_study
from dfcl_jax.study import Policy, default_budgets, online, online_lifts, policy_of
from dfcl_jax.types import Trial, in_units


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Train TSM-SL and DFCL on a trial of one week, then let them decide in the weeks that follow (DFCL section 5).

    Every day's people are given to the policies at random; demand and features shift from week to week.
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
    people: int = 310_000
    """Who arrive each day, for all groups together."""
    budget: float = 0.3
    """Mean of the daily budgets, on the way from the cheapest to the dearest treatment's mean cost."""
    budget_spread: float = 0.2
    """Standard deviation of the log of a day's budget."""


def main(config: Config) -> None:
    """Simulate, train, experiment, report."""
    for name in config.methods:
        if name not in METHODS:
            refuse("method", found=name, expected=", ".join(METHODS))
    parts = config.train, config.valid, config.test
    for name, count in {"train": config.train, "valid": config.valid, "test": config.test, "days": config.days}.items():
        if count < 1:
            refuse(f"--{name}", found=count, expected="at least 1")
    if not (0 < config.budget < 1 and 0 <= config.budget_spread < float("inf")):
        found = f"{config.budget} and {config.budget_spread}"
        refuse("--budget, --budget-spread", found=found, expected="a share below 1, and a number of at least 0")
    with experiment("online", config) as run:
        key, *seed_keys = jax.random.split(jax.random.fold_in(jax.random.key(config.first_seed), 1), config.seeds + 1)
        week_0 = simulate.marketing_population(key, simulate.WIDE if config.wide else simulate.MarketingDials())
        splits = [split_simulation(simulate.draw(week_0, k, sum(parts)), *parts[:2]) for k in seed_keys]
        mean_costs = np.asarray(scores.ipw(splits[0].train).c.mean(axis=0))
        chosen = {name: METHODS[name] for name in config.methods}
        arms = tuple(f"{discount:.0%}" for discount in simulate.DISCOUNTS)
        run_study(run, splits, default_budgets(mean_costs), chosen, config, arms=arms)
        policies = {name: learned(run, name, splits[0].test) for name in (TWO_STAGE, *chosen)}
        budgets = daily_budgets(config, mean_costs)
        console = Console()
        with Progress(console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("online", total=config.days)
            daily = online(
                jax.random.fold_in(key, 1),
                lambda day: week_0.in_week(1 + day // 7),
                policies,
                budgets,
                config.people,
                on_day=lambda day: progress.update(task, completed=day + 1),
            )
        lifts = online_lifts(daily, TWO_STAGE)
        daily.to_csv(run.path / "daily.csv", index=False)
        lifts.to_csv(run.path / "online.csv", index=False)
        console.print(shown(lifts), caption(config), sep="\n", highlight=False)


def learned(run: RunFolder, method: str, held_out: Trial) -> Policy:
    """The policy of a method's model, whose multipliers are those that meet budgets on the test part of the trial."""
    decider, two_stage = (load_predictor(run.path, name) for name in (method, TWO_STAGE))
    settling = scores.aipw(in_units(held_out, decider.unit), two_stage.in_units(held_out.x))
    return policy_of(decider.in_units, held_out.x, settling, unit=decider.unit)


def daily_budgets(config: Config, mean_costs: np.ndarray) -> list[float]:
    """Log-normal around the mean that was asked for, no larger than the dearest treatment's mean cost."""
    key = jax.random.fold_in(jax.random.key(config.first_seed), 2)
    s = config.budget_spread
    share = config.budget * jnp.exp(s * jax.random.normal(key, (config.days,)) - s**2 / 2)
    return (mean_costs.min() + np.minimum(np.asarray(share), 1) * np.ptp(mean_costs)).tolist()


def shown(lifts: pd.DataFrame) -> Table:
    """The result for a terminal."""
    table = Table(box=SIMPLE_HEAD)
    for header in ("policy", "revenue", "spend, % of budget", f"% over {TWO_STAGE}", "95% interval"):
        table.add_column(header, justify="left" if header == "policy" else "right")
    for row in lifts.to_dict("records"):
        interval = (
            "-" if row["policy"] == TWO_STAGE or np.isnan(row["low"]) else f"{row['low']:+.2f} to {row['high']:+.2f}"
        )
        cells = f"{row['revenue']:.4f}", f"{row['spend']:.1f}", f"{row['lift']:+.2f}", interval
        table.add_row(row["policy"], *cells)
    return table


def caption(config: Config) -> str:
    """What the numbers are."""
    group = config.people // (len(config.methods) + 1)
    return (
        f"revenue: per person and day, as seen, of {group:,} people a day for each policy over {config.days} days; "
        f"the interval is Student's t over the days' lifts."
    )


if __name__ == "__main__":
    command(main, Config)
