"""CRITEO-UPLIFT by the paper's recipe: conversions bought with visits, judged by AUCC."""

from dataclasses import dataclass, field
from pathlib import Path

import jax
import numpy as np
import pandas as pd

from dfcl_jax import METHODS
from dfcl_jax.data import Table, simulate, sources
from dfcl_jax.data.encode import Scaling
from dfcl_jax.errors import refuse
from dfcl_jax.models import NetworkConfig
from dfcl_jax.report import TableConfig, command, run_table
from dfcl_jax.study import StudyConfig
from dfcl_jax.train import FitConfig

# DFCL section 4. Gradients are not clipped and learning rates are constant there.
RECIPE = StudyConfig(
    network=NetworkConfig("shared_trunk", hidden=(127,), head=(64,), link="sigmoid"),
    prediction="cross_entropy",
    warm=FitConfig(20, 100_000, 1e-2, schedule="constant", weight_decay=0.0, clip_norm=float("inf")),
    decision=FitConfig(20, 300_000, 1e-5, schedule="constant", weight_decay=1e-5, clip_norm=float("inf")),
    alpha=0.0,
    constants="criteo",
    select="aucc",
)


@dataclass(frozen=True, kw_only=True)
class Config(TableConfig):
    """Compare methods on CRITEO-UPLIFT v2.1 (13,979,592 people), or on a simulated trial of that shape."""

    data: Path | None = None  # type: ignore[assignment]
    """The published file, as CSV (also .csv.gz) or Parquet; this or --simulate."""
    simulate: int = 0
    """Rows of a simulated trial instead."""
    seeds: int = 1
    scaling: Scaling = "minmax"
    study: StudyConfig = field(default_factory=lambda: RECIPE)


def main(config: Config) -> None:
    """Load or simulate, train, compare, report."""
    if (config.data is None) == (config.simulate <= 0):
        refuse("--data, --simulate", found=f"{config.data} and {config.simulate}", expected="one of the two")
    table = sources.criteo(config.data) if config.data else _simulated(config)
    # One learning rate for all, as published.
    methods = {name: method._replace(pace=1.0) for name, method in METHODS.items()}
    run_table("criteo", config, table, methods, plan=False)


def _simulated(config: Config) -> Table:
    trial, _ = simulate.criteo_like(jax.random.key(config.first_seed), config.simulate)
    features = pd.DataFrame(np.asarray(trial.x), columns=list(sources.CRITEO.features))
    t, r, c, p = (np.asarray(part) for part in trial[1:])
    return Table(features, t, r, c, p, arms=("0", "1"))


if __name__ == "__main__":
    command(main, Config)
