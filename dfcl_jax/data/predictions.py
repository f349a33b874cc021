"""Ready-made predictions that stand in the columns of a trial's table."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pandas as pd

from dfcl_jax.data.encode import encode, fit_encoder
from dfcl_jax.data.tables import Columns, finite, read_frame, trial_table
from dfcl_jax.errors import refuse
from dfcl_jax.types import Outcomes, Trial


@dataclass(frozen=True)
class PredictedColumns:
    """Which columns are a model's predictions."""

    revenue: tuple[str, ...] = ()  # predicted revenue, one column for each treatment in the order of their codes
    cost: tuple[str, ...] = ()  # predicted cost, likewise


class PredictedTrial(NamedTuple):
    """A trial and what models predicted for its people."""

    trial: Trial  # n people
    features: tuple[str, ...]  # [d] names
    outcomes: dict[str, Outcomes]  # by model, [n, m] each


def predicted_trial(
    source: str | Path | pd.DataFrame, columns: Columns, models: dict[str, PredictedColumns]
) -> PredictedTrial:
    """Read and check a trial with predictions.

    Args:
        source: a table, as `read_frame` takes it.
        columns: of the trial. Without named features every other column is one, predictions as well: they too were
            known before treatment.
        models: columns of each model's predictions.

    Raises:
        InputError: what `trial_table` and `fit_encoder` refuse; a model without a column for each treatment; a
            prediction that is not a finite number.
    """
    frame = read_frame(source, [name for model in models.values() for name in (*model.revenue, *model.cost)])
    table = trial_table(frame, columns)
    for name, model in models.items():
        for outcome, given in (("revenue", model.revenue), ("cost", model.cost)):
            if len(given) != len(table.arms):
                expected = f"{len(table.arms)}, one for each of {', '.join(table.arms)}"
                refuse(f"columns of predicted {outcome} of {name}", found=len(given), expected=expected)
    encoder = fit_encoder(table.features, np.arange(len(table.t)))
    x = encode(encoder, table.features)
    return PredictedTrial(
        trial=Trial(*map(jnp.asarray, (x, table.t, table.r, table.c, table.p))),
        features=tuple(encoder.names),
        outcomes={
            name: Outcomes(_surface(frame, model.revenue), _surface(frame, model.cost))
            for name, model in models.items()
        },
    )


def _surface(frame: pd.DataFrame, columns: tuple[str, ...]) -> jnp.ndarray:
    return jnp.asarray(np.stack([finite(frame[column]) for column in columns], axis=1))
