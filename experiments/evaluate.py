"""Ready-made predictions judged on a trial: values with intervals, areas, calibration, and the trial itself."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import tyro

from dfcl_jax import Outcomes
from dfcl_jax.data import Columns, PredictedColumns, PredictedTrial, Reading, predicted_trial, simulate
from dfcl_jax.runs import EvaluationConfig, command, run_evaluation


@dataclass(frozen=True, kw_only=True)
class Config(EvaluationConfig):
    """Judge the predictions in a trial's table, of one model or of two side by side; without --data, of an example."""

    data: Path | None = None
    """CSV (also .csv.gz) or Parquet file of people whom the predictions were not fitted on."""
    columns: Annotated[Columns, tyro.conf.arg(name="")] = field(
        default_factory=lambda: Columns("treatment", "revenue", "cost")
    )
    reading: Annotated[Reading, tyro.conf.arg(name="")] = field(default_factory=Reading)
    model: PredictedColumns = field(default_factory=PredictedColumns)
    rival: PredictedColumns = field(default_factory=PredictedColumns)


def main(config: Config) -> None:
    """Load, evaluate, report."""
    if config.data is None:
        judged = example(jax.random.key(config.seed))
    else:
        models = {"model": config.model} | ({"rival": config.rival} if config.rival != PredictedColumns() else {})
        judged = predicted_trial(config.data, config.columns, models, reading=config.reading)
    given = config.data is None or bool(config.columns.propensities or config.columns.propensity_columns)
    run_evaluation("evaluate", config, judged, given_propensities=given)


def example(key: jax.Array) -> PredictedTrial:
    """A simulated trial of five discounts, and two models whose predictions are off by 10% and by 40%."""
    trial_key, *noise_keys = jax.random.split(key, 3)
    trial, truth = simulate.marketing(trial_key, 20_000)

    def off_by(spread: float, noise_key: jax.Array) -> Outcomes:
        return Outcomes(truth.r * jnp.exp(spread * jax.random.normal(noise_key, truth.r.shape)), truth.c)

    outcomes = {name: off_by(spread, k) for (name, spread), k in zip(SPREADS.items(), noise_keys, strict=True)}
    return PredictedTrial(trial, tuple(f"x{k}" for k in range(trial.x.shape[1])), outcomes)


SPREADS = {"sharp": 0.1, "blunt": 0.4}


if __name__ == "__main__":
    command(main, Config)
