"""CRITEO-UPLIFT by the paper's recipe: conversions bought with visits, judged by AUCC."""

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import jax

from dfcl_jax.data import sources
from dfcl_jax.data.encode import Scaling
from dfcl_jax.errors import refuse
from dfcl_jax.losses import constants
from dfcl_jax.methods import Decision, Method, TwoStage, standard
from dfcl_jax.models import PUBLISHED_CRITEO
from dfcl_jax.runs import DRAWS, TableConfig, command, draw_splits, open_run, run_table
from dfcl_jax.runs.options import Within
from dfcl_jax.study import Judge, compare
from dfcl_jax.train import FitConfig

# DFCL section 4. Gradients are not clipped and learning rates are constant there.
published = partial(FitConfig, schedule="constant", clip_norm=None)
TWO_STAGE = TwoStage(PUBLISHED_CRITEO, "cross_entropy", published(20, 100_000, 1e-2, weight_decay=0.0), "aucc")
DECISION = published(20, 300_000, 1e-5, weight_decay=1e-5)


@dataclass(frozen=True, kw_only=True)
class Config(TableConfig):
    """Compare methods on CRITEO-UPLIFT v2.1 (13,979,592 people), or on a simulated trial of that shape."""

    data: Path | None = None  # type: ignore[assignment]
    """The published file as CSV (also .csv.gz) or Parquet, or a folder of parts; this or --simulate."""
    simulate: int = 0
    """Rows of a simulated trial instead."""
    splits: Annotated[int, Within(0)] = 1
    """Random splits of a file's rows, by --fractions; 0: folds."""
    scaling: Scaling = "minmax"
    two_stage: TwoStage = field(default_factory=lambda: TWO_STAGE)
    decision: FitConfig = field(default_factory=lambda: DECISION)


def main(config: Config) -> None:
    """Load or simulate, train, compare, report."""
    if (config.data is None) == (config.simulate <= 0):
        refuse("--data, --simulate", found=f"{config.data} and {config.simulate}", expected="one of the two")
    methods = {name: by_the_recipe(method, config.decision) for name, method in standard(config.two_stage).items()}
    judge = Judge(loss="cross_entropy")
    if config.data is not None:
        run_table("criteo", config, sources.CRITEO, methods, judge=judge, plan=False)
        return
    # Of a simulation every seed is a trial of its own.
    config = replace(config, splits=0)
    train, valid, test = (round(config.simulate * fraction) for fraction in config.fractions)
    with open_run("criteo", config, simulated=config.simulate, fractions=config.fractions) as run:
        splits = draw_splits(run, config, DRAWS["criteo"], (train, valid, test), config.budgets)
        chosen = config.chosen_methods(methods)
        run.report(compare(jax.random.key(0), splits, chosen, judge=judge, cells=run.cells(), skip_diverged=True))


def by_the_recipe(method: Method, training: FitConfig) -> Method:
    """One learning rate and the published constants for all, and no gradient of IFD on cost."""
    if not isinstance(method, Decision):
        return method
    through = "revenue" if method.loss.__name__ == "finite_difference" else training.through
    training = replace(training, through=through)
    return replace(
        method, training=training, constants=constants.published_criteo, tracked=False, select="aucc", settle="aipw"
    )


if __name__ == "__main__":
    command(main, Config)
