"""Ready-made predictions that stand in the columns of a trial's table."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pandas as pd

from dfcl_jax.data.columns import Columns
from dfcl_jax.data.delimited import Reading
from dfcl_jax.data.design import in_order, refuse_number
from dfcl_jax.data.encode import encode, fit_encoder
from dfcl_jax.data.frames import read_noted
from dfcl_jax.data.tables import Table, finite, trial_table
from dfcl_jax.data.task import table_trial
from dfcl_jax.data.treatments import hinted
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
    table: Table | None = None  # the trial as it was read, with its treatments, known costs and notes; None if drawn


def predicted_trial(
    source: str | Path | pd.DataFrame,
    columns: Columns,
    models: dict[str, PredictedColumns],
    *,
    reading: Reading | None = None,
) -> PredictedTrial:
    """Read and check a trial with predictions.

    Args:
        source: a table, as `read_frame` takes it.
        columns: of the trial. Without named features every other column is one, predictions as well: they too were
            known before treatment.
        models: columns of each model's predictions.
        reading: how CSV files are written; found out if not given.

    Raises:
        InputError: what `trial_table` and `fit_encoder` refuse; a model without a column for each treatment, or whose
            columns cannot be told apart because no order of the treatments is stated; a prediction that is not a finite
            number.
    """
    predicted = [name for model in models.values() for name in (*model.revenue, *model.cost)]
    frame, notes = read_noted(source, [*columns.roles, *columns.of_rows, *predicted], reading=reading)
    table = trial_table(frame, columns)
    table = table._replace(notes=(*table.notes, *notes))

    arms = hinted(table.arms, np.bincount(table.t, minlength=len(table.arms)))
    what = "columns of predicted {} of {}".format
    for name, model in models.items():
        refuse_number(what("revenue", name), model.revenue, arms)
        refuse_number(what("cost", name), model.cost, arms)
    values = {name: finite(frame[name]) for name in predicted}

    def surface(outcome: str, model: str, names: tuple[str, ...]) -> jnp.ndarray:
        names = in_order(what(outcome, model), names, table.arms, stated=table.order_stated)
        return jnp.asarray(np.stack([values[name] for name in names], axis=1))

    outcomes = {
        name: Outcomes(surface("revenue", name, model.revenue), surface("cost", name, model.cost))
        for name, model in models.items()
    }
    encoder = fit_encoder(table.features, np.arange(len(table.t)))
    x = encode(encoder, table.features)
    return PredictedTrial(
        trial=table_trial(table, x),
        features=tuple(encoder.names),
        outcomes=outcomes,
        table=table,
    )
