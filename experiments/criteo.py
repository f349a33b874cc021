"""CRITEO-UPLIFT by the paper's recipe: conversions bought with visits, judged by AUCC."""

from dataclasses import dataclass, field
from pathlib import Path

from dfcl_jax import METHODS
from dfcl_jax.data import simulate, sources
from dfcl_jax.data.encode import Scaling
from dfcl_jax.errors import refuse
from dfcl_jax.models import PUBLISHED_CRITEO
from dfcl_jax.report import TableConfig, command, run_simulated, run_table
from dfcl_jax.study import StudyConfig
from dfcl_jax.train import FitConfig

# DFCL section 4. Gradients are not clipped and learning rates are constant there.
RECIPE = StudyConfig(
    network=PUBLISHED_CRITEO,
    prediction="cross_entropy",
    warm=FitConfig(20, 100_000, 1e-2, schedule="constant", weight_decay=0.0, clip_norm=None),
    decision=FitConfig(20, 300_000, 1e-5, schedule="constant", weight_decay=1e-5, clip_norm=None),
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
    # One learning rate for all, and no gradient of IFD on cost, as published.
    methods = {name: method._replace(pace=1.0) for name, method in METHODS.items()}
    methods["DFCL-IFD"] = methods["DFCL-IFD"]._replace(through="revenue")
    if config.data is not None:
        run_table("criteo", config, sources.criteo(config.data), methods, plan=False)
        return
    train, valid, test = (round(config.simulate * fraction) for fraction in config.fractions)
    draw, arms = simulate.criteo_like, sources.CRITEO.arms
    run_simulated("criteo", config, draw, (train, valid, test), methods, arms=arms, budgets=config.budgets)


if __name__ == "__main__":
    command(main, Config)
