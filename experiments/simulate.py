"""A simulated trial of any size as a folder of Parquet parts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import jax

from dfcl_jax.data import simulate, sources
from dfcl_jax.data.simulate.table import COLUMNS
from dfcl_jax.runs import command, write_simulation
from dfcl_jax.runs.options import COUNT, Within


@dataclass(frozen=True, kw_only=True)
class Config:
    """Write a simulated trial, in memory that does not grow with it."""

    out: Path
    """Folder of Parquet parts to be."""
    rows: Annotated[int, COUNT] = 1_000_000
    population: Literal["marketing", "wide", "criteo"] = "marketing"
    """Five discounts with 30 features, with 107, or the shape and column names of CRITEO-UPLIFT."""
    week: Annotated[int, Within(0)] = 0
    """Of a marketing population."""
    strength: Annotated[float, Within(0, 10)] = 0.0
    """Of a policy that targets people who bring more; 0 is a randomised trial."""
    truth: bool = False
    """Write the true expected outcomes as well."""
    seed: Annotated[int, Within(0)] = 0
    """Of the population."""
    people_seed: Annotated[int, Within(0)] = 0
    """Of the people drawn from it."""


def main(config: Config) -> None:
    """Draw and write."""
    key = jax.random.key(config.seed)
    people_key = jax.random.fold_in(jax.random.key(config.people_seed), 1)
    if config.population == "criteo":
        population, columns = simulate.criteo_population(key), sources.CRITEO
    else:
        dials = simulate.WIDE if config.population == "wide" else simulate.MarketingDials()
        population, columns = simulate.marketing_population(key, dials).in_week(config.week), COLUMNS
    if config.strength:
        population = simulate.targeted(population, jax.random.fold_in(key, 2), strength=config.strength)
    write_simulation(population, people_key, config.rows, config.out, columns=columns, truth=config.truth)
    print(f"Written to {config.out}")


if __name__ == "__main__":
    command(main, Config)
