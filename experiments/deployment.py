"""Proof of deployment: plans of files for new people against the truth, over many simulated trials."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, NamedTuple

import jax
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from dfcl_jax import scores
from dfcl_jax.data import Encoder, Split, simulate, split_simulation
from dfcl_jax.data.encode import NumericColumn
from dfcl_jax.data.simulate import Marketing
from dfcl_jax.methods import CHEAPEST, TWO_STAGE, Method, Policy
from dfcl_jax.metrics import spend_curve
from dfcl_jax.runs import RunConfig, command, open_run, plan_people
from dfcl_jax.runs.options import COUNT, Within
from dfcl_jax.study import Cell

ARMS = tuple(f"{discount:.0%}" for discount in simulate.DISCOUNTS)


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Train, estimate spend curves on held-out people, plan new people through files, and look at the truth."""

    seeds: Annotated[int, COUNT] = 20
    """Simulated trials, numbered from --first-seed."""
    train: Annotated[int, COUNT] = 100_000
    """People in the training part."""
    valid: Annotated[int, COUNT] = 25_000
    held_out: Annotated[int, COUNT] = 50_000
    """People that spend curves are estimated on."""
    people: Annotated[int, COUNT] = 1_000_000
    """New people of each trial's population."""
    budgets: tuple[Annotated[float, Within(0, above=True)], ...] = (0.05,)
    """Cost per person."""
    risk: Annotated[float, Within(0, 0.5, above=True, below=True)] = 0.05
    """Of the plans that should seldom spend more than the budget."""


def main(config: Config) -> None:
    """Train every method on every trial, plan for the new people of each, and settle by the truth."""
    methods, key = config.chosen_methods(), jax.random.key(0)
    sizes = {"parts": (config.train, config.valid, config.held_out), "people": config.people}
    with open_run("deployment", config, **sizes, budgets=config.budgets, risk=config.risk) as run:
        trials = [_trial(config, seed) for seed in config.seed_numbers]
        tasks, cells = [trial.split.task for trial in trials], run.cells()
        trained = {name: cells.train(name, method, key, tasks) for name, method in methods.items()}
        for k, trial in enumerate(trials):
            base = methods[TWO_STAGE], trained[TWO_STAGE][k]
            missing = [name for name in methods if trained[name][k].values is None]
            if missing:
                with TemporaryDirectory(dir=run.path) as folder:
                    people = _people(trial, config.people, Path(folder))
                    for name in missing:
                        policy = _policy(methods[name], trained[name][k], trial.split, base)
                        plans = _plans(policy, people, config)
                        trained[name][k] = cells.keep_values(trained[name][k], plans)
            run.say(f"Trial {k + 1} of {config.seeds}: planned by {len(missing)} methods")
        plans = pd.concat(
            [
                cell.values.assign(method=name, seed=cell.seed)
                for name, of in trained.items()
                for cell in of
                if cell.values is not None
            ],
            ignore_index=True,
        )
        run.write_table("plans", plans)
        run.show(summarise(plans), caption(config))
        draw(plans, run.path / "deployment.png")


class Simulated(NamedTuple):
    """A trial of a simulated population."""

    population: Marketing
    key: jax.Array
    split: Split


class NewPeople(NamedTuple):
    """People to plan for, in a file, and their true expected outcomes."""

    source: Path
    revenue: np.ndarray  # [n, m]
    cost: np.ndarray  # [n, m]


def _trial(config: Config, seed: int) -> Simulated:
    key = jax.random.key(seed)
    population = _population(key)
    simulation = simulate.draw(population, jax.random.fold_in(key, 1), config.train + config.valid + config.held_out)
    split = split_simulation(simulation, config.train, config.valid, budgets=config.budgets, seed=seed)
    return Simulated(population, key, split)


_population = jax.jit(simulate.marketing_population)


def _people(trial: Simulated, n: int, folder: Path) -> NewPeople:
    """Features of new people in two parts of unequal size, and the truth about them."""
    parts, truth = folder / "people", []
    parts.mkdir()
    for number, (trial_, outcomes) in enumerate(
        simulate.stream(trial.population, jax.random.fold_in(trial.key, 2), n, chunk=2**18)
    ):
        x = np.asarray(trial_.x, np.float32)
        names = [column.name for column in _encoder(x.shape[1]).columns]
        pq.write_table(pa.table(list(x.T), names=names), parts / f"{number:05d}.parquet")
        truth.append(jax.tree.map(np.asarray, outcomes))
    return NewPeople(parts, *(np.concatenate(surface) for surface in zip(*truth, strict=True)))


def _policy(method: Method, cell: Cell, split: Split, base: tuple[Method, Cell]) -> Policy:
    """What is deployed: its spend curve rests on the held-out people of the trial and on no truth."""
    test = split.exam.test
    settling = scores.aipw(test, base[0].predict(base[1].params, test.x))
    curve = spend_curve(method.predict(cell.params, test.x), settling)
    return Policy(method, cell.params, _encoder(test.x.shape[1]), ARMS, curve)


def _encoder(d: int) -> Encoder:
    """Features as they are."""
    return Encoder(tuple(NumericColumn(f"x{k}", 0.0, 0.0, 1.0, False) for k in range(d)))


def _plans(policy: Policy, people: NewPeople, config: Config) -> pd.DataFrame:
    """A row for each budget with and without risk: what the plan's report says, and what is true."""
    rows, codes = [], {name: j for j, name in enumerate(policy.arms)}
    for budget in config.budgets:
        for risk in (None, config.risk):
            out = people.source.with_name("plan.parquet")
            plan = plan_people(people.source, policy, out, budget=budget, risk=risk, console=Console(quiet=True))
            treatment = pq.read_table(out, columns=["treatment"])["treatment"].to_pandas()
            out.unlink()
            arm = treatment.map(codes).to_numpy()
            everybody = np.arange(len(arm))
            cost, revenue = (
                surface[everybody, arm].mean(dtype=np.float64) for surface in (people.cost, people.revenue)
            )
            truth = {"true_spend": float(cost), "true_revenue": float(revenue)}
            rows.append({"budget": budget, "risk": risk or 0.0} | plan.foretold | truth)
    return pd.DataFrame(rows)


def summarise(plans: pd.DataFrame) -> pd.DataFrame:
    """A row for each method, over trials and budgets; shares in per cent."""
    plain, careful = plans[plans.risk == 0], plans[plans.risk > 0]

    def percent(of: pd.Series, by: pd.DataFrame) -> pd.Series:
        return 100 * of.groupby(by.method, sort=False).mean()

    spend_inside = plain.true_spend.between(plain.spend_low, plain.spend_high)
    revenue_inside = plain.true_revenue.between(plain.revenue_low, plain.revenue_high)
    table = {
        "stated spend, % of the budget": percent(plain.spend / plain.budget, plain),
        "true spend, % of the stated": percent(plain.true_spend / plain.spend.where(plain.spend > 0), plain),
        "true spend inside its interval, %": percent(spend_inside, plain),
        "true revenue inside its interval, %": percent(revenue_inside, plain),
        "above the budget, %": percent(plain.true_spend > plain.budget, plain),
        "above the budget with risk, %": percent(careful.true_spend > careful.budget, careful),
    }
    return pd.DataFrame(table).rename_axis("method").reset_index()


def caption(config: Config) -> str:
    """What the table shows."""
    return (
        f"{config.seeds} trials, {len(config.budgets)} budgets each, {config.people:,} new people. "
        f"Wanted: 99% to 101% of the stated spend, inside its interval 93% to 97% of the time, "
        f"above the budget {100 * config.risk:g}% of the time with risk {config.risk:g}. "
        f"A policy whose largest useful spend is below the budget states that; so does {CHEAPEST}."
    )


def draw(plans: pd.DataFrame, path: Path) -> None:
    """True spend over the budget of each plan, by method, with its stated interval."""
    plain = plans[(plans.risk == 0) & (plans.method != CHEAPEST)]
    names = list(dict.fromkeys(plain.method))
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    axes.axhline(1, color="black", linewidth=0.8)
    for place, name in enumerate(names):
        of = plain[plain.method == name].sort_values("true_spend")
        x = place + np.linspace(-0.4, 0.4, len(of))
        low, high = (of[f"spend_{end}"] / of.budget for end in ("low", "high"))
        axes.vlines(x, low, high, color="lightgray", linewidth=1)
        axes.plot(x, of.true_spend / of.budget, ".", markersize=3)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel("true spend / budget; grey: stated interval")
    figure.savefig(path, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    command(main, Config)
