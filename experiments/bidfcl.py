"""Bi-DFCL: what logs of a policy add to a small trial, and what each part of bi-level training adds to that."""

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import jax
import numpy as np
import pandas as pd

from dfcl_jax.data import Split, simulate, with_budgets
from dfcl_jax.data.sources import hillstrom
from dfcl_jax.errors import refuse
from dfcl_jax.methods import CHEAPEST, TWO_STAGE, CheapestArm, Method, Pooled, decisions, with_logs
from dfcl_jax.methods.contenders import gains, published
from dfcl_jax.report.summary import mean_values
from dfcl_jax.report.terminal import number
from dfcl_jax.runs import Run, RunConfig, command, open_run
from dfcl_jax.runs.logged import confounded_split, hybrid_split, seed_keys, thinned_split, usual_budgets
from dfcl_jax.runs.options import COUNT, SHARE, Within
from dfcl_jax.study import Study, compare
from dfcl_jax.train import FitConfig, Hypergradient

NONE = float("nan")
# Bi-DFCL's table and its studies: AUCC of the Criteo hybrid, EOM over TSM-SL's of its two markets, minutes of training.
COLUMNS = ("AUCC", "EOM I", "EOM II", "minutes")
PUBLISHED = {
    TWO_STAGE: (0.7143, 1.0000, 1.0000, 2.5), "PPL": (0.7419, 1.0167, 1.0156, 3.2),
    "PIFD": (0.7437, 1.0170, 1.0153, 9.9),
    "TSM-SL on logs": (0.7413, 1.0067, 0.9957, NONE), "DR-JT": (0.7439, 1.0102, 1.0054, NONE),
    "CFR-MMD": (0.7339, 1.0055, 0.9997, NONE), "DragonNet": (0.7490, 1.0069, 0.9988, NONE),
    "TSM-SL on both": (0.7438, 1.0071, 0.9988, 42.3), "KD-Label": (0.7374, 1.0033, 0.9997, NONE),
    "LTD-DR": (0.7533, 1.0168, 1.0067, NONE), "AutoDebias": (0.7489, 1.0175, 1.0066, NONE),
    "weights": (NONE, 1.0240, 1.0175, NONE), "pseudo-labels": (NONE, 1.0248, 1.0213, NONE),
    "Bi-PPL": (0.7797, 1.0277, 1.0252, 265), "Bi-PIFD": (0.7812, 1.0297, 1.0249, 295),
    **{
        f"Bi-PPL k={k} n_cg={n_cg}": (NONE, NONE, eom, NONE)
        for k, n_cg, eom in (
            (1, 10, 1.0199), (1, 50, 1.0217), (5, 10, 1.0230), (5, 50, 1.0252), (5, 200, 1.0249), (10, 50, 1.0255)
        )
    },
}  # fmt: skip
CONTEXT = (
    "Published figures are those of other data, which are not public, and of far larger ones: they are context, not a"
    " target that these could be held against."
)
# Money off 0 to 7 in the paper's first market.
EIGHT = simulate.MarketingDials(discounts=tuple(round(0.03 * step, 2) for step in range(8)))
# Of the ladder: how often the bridge moves, and products of conjugate gradients.
GRID = [(k, n_cg) for k in (1, 5, 10) for n_cg in (10, 50, 200)]


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Compare methods that see a small trial, logs of a targeting policy, or both."""

    population: Literal["marketing", "eight", "hybrid", "hillstrom"] = "marketing"
    """Five or eight discounts with confounded logs; a Criteo-like trial, part of which becomes logs (Bi-DFCL section
    3); Hillstrom's trial, part of which a rule of targeting thins into logs."""
    seeds: Annotated[int, COUNT] = 3
    grid: bool = False
    """Add Bi-PPL at every k of 1, 5, 10 and n_cg of 10, 50, 200."""
    full: bool = False
    """The paper's sizes, epochs and 20 seeds: for a machine with accelerators."""
    data: Path | None = None
    """Hillstrom's trial, CSV; of `hillstrom`."""
    parts: Annotated[tuple[int, int, int], COUNT] = (10_000, 10_000, 50_000)
    """People for training, validation and test, all randomised; of `marketing` and `eight`."""
    observed: Annotated[int, COUNT] = 50_000
    """People in the logs; of `marketing` and `eight`."""
    strength: Annotated[float, Within(0)] = 1.0
    """How strongly the logs' policy targets; 0 is a trial. Of all but `hybrid`."""
    hidden: Annotated[int, Within(0)] = 0
    """Features that the logs' policy knew and nobody recorded, those that say most of demand; of `marketing` and
    `eight`."""
    people: Annotated[int, Within(400)] = 200_000
    """In the trial that becomes the hybrid: 5% train, 10% validate, 30% test, 24% are logs."""
    rates: Annotated[tuple[float, float], SHARE] = (0.2, 0.05)
    """Of visits and conversions in the hybrid, so that its small trial has about as many as the published one."""
    logged: Annotated[float, Within(0.5, 1)] = 0.9
    """Probability that the hybrid's policy gives the treatment that it prefers; 1 as published."""
    bilevel: FitConfig = field(default_factory=lambda: FitConfig(epochs=8, batch_size=1024, learning_rate=1e-3))
    """Training of the target network, epochs over the logs."""
    hypergradient: Hypergradient = field(default_factory=Hypergradient)


def main(config: Config) -> None:
    """Draw, train, compare, report."""
    config = at_full_size(config) if config.full else config
    methods = config.chosen_methods(rows_of_the_table(config))
    sizes = {"parts": config.parts, "observed": config.observed, "strength": config.strength, "hidden": config.hidden}
    if config.population == "hybrid":
        sizes = {"people": config.people, "rates": config.rates, "logged": config.logged}
    if config.population == "hillstrom":
        sizes = {"strength": config.strength}
    with open_run("bidfcl", config, population=config.population, **sizes) as run:
        splits = [split_of(config, seed) for seed in config.seed_numbers]
        splits = with_budgets(splits, run.fixed("budgets", partial(usual_budgets, splits)))
        study = compare(jax.random.key(0), splits, methods, cells=run.cells())
        run.report(study)
        beside_published(run, study)


def split_of(config: Config, seed: int) -> Split:
    """The trial and the logs of a seed."""
    if config.population == "hybrid":
        key = jax.random.fold_in(jax.random.key(seed), 1)
        return hybrid_split(key, config.people, config.rates, certainty=config.logged, seed=seed)
    if config.population == "hillstrom":
        if config.data is None:
            refuse("--data", found="none", expected="Hillstrom's trial, for --population hillstrom")
        return thinned_split(hillstrom(config.data), seed, by="history", strength=config.strength)
    draw_key, population_key = seed_keys(seed)
    dials = EIGHT if config.population == "eight" else simulate.MarketingDials()
    population = simulate.marketing_population(population_key, dials)
    return confounded_split(
        population,
        draw_key,
        config.parts,
        config.observed,
        strength=config.strength,
        hidden=config.hidden,
        seed=seed,
    )


def rows_of_the_table(config: Config) -> dict[str, Method]:
    """The rows of the paper's table, its ladder of ablations, and our scores in the upper level, by name."""
    start, training = config.two_stage, config.decision
    own = decisions(start, training)["PL-own-units"]
    both = gains(start, training)["PL-both"]
    on_trial = {TWO_STAGE: start, **{name: published(start, training)[name] for name in ("PPL", "PIFD")}}
    of_logs = with_logs(start, training, config.bilevel, config.hypergradient)
    grid = {
        f"Bi-PPL k={k} n_cg={n_cg}": with_logs(
            start, training, config.bilevel, replace(config.hypergradient, k=k, n_cg=n_cg)
        )["Bi-PPL"]
        for k, n_cg in GRID
    }
    known = {
        "TSM-SL on both, known": Pooled(start, propensities="given"),
        "PL-own-units on both, known": Pooled(own, propensities="given"),
    }
    asked = any(name in grid for name in config.methods)
    return {
        **on_trial,
        "PL-own-units": own,
        "PL-both": both,
        **of_logs,
        **known,
        **(grid if config.grid or asked else {}),
        CHEAPEST: CheapestArm(),
    }


def at_full_size(config: Config) -> Config:
    """The paper's numbers of people, epochs and seeds, and its networks."""
    hybrid = config.population == "hybrid"
    network = replace(config.two_stage.network, hidden=(64, 32, 32) if hybrid else (128, 64, 32))
    return replace(
        config,
        seeds=20,
        parts=(2_220_781, 555_014, 2_775_976),
        observed=22_201_405,
        people=13_979_592,
        rates=(0.047, 0.0029),
        logged=1.0,
        two_stage=replace(config.two_stage, network=network),
        bilevel=replace(config.bilevel, epochs=100 if hybrid else 500),
    )


def beside_published(run: Run, study: Study) -> None:
    """Write and print the paper's figures beside ours."""
    values = mean_values(study)
    ours = (values.mean() / values[study.judge.base].mean()).to_dict()
    areas = study.quality.groupby("method").aucc.mean() if "aucc" in study.quality else pd.Series(dtype=float)
    minutes = pd.Series(dtype=float)
    if len(study.history):
        # Seeds of one program have its seconds each.
        minutes = study.history.groupby(["method", "seed"]).seconds.sum().groupby("method").mean() / 60
    table = pd.DataFrame(
        [
            {
                "method": method,
                "EOM": ours[method],
                "AUCC": areas.get(method, np.nan),
                "minutes": minutes.get(method, np.nan),
                **dict(zip(map("published {}".format, COLUMNS), PUBLISHED.get(method, (NONE,) * 4), strict=True)),
            }
            for method in study.methods
        ]
    )
    run.write_table("published", table)
    run.show(
        table.apply(lambda column: column.map(number)),
        f"EOM over {study.judge.base}'s; minutes of a training program, all its seeds. {CONTEXT}",
    )


if __name__ == "__main__":
    command(main, Config)
