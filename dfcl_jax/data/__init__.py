"""Data: trial tables, published trials, simulated trials, splits, trials larger than memory."""

from dfcl_jax.data import simulate, sources
from dfcl_jax.data.columns import Columns
from dfcl_jax.data.coverage import Coverage, covered
from dfcl_jax.data.delimited import Reading
from dfcl_jax.data.described import described_trials
from dfcl_jax.data.encode import Encoder, encode, fit_encoder
from dfcl_jax.data.folds import split_folds
from dfcl_jax.data.frames import read_frame
from dfcl_jax.data.leaks import check_leaks
from dfcl_jax.data.opened import open_observed, open_trial
from dfcl_jax.data.parts import open_parts
from dfcl_jax.data.predictions import PredictedColumns, PredictedTrial, predicted_trial
from dfcl_jax.data.rows import fold_of, part_of
from dfcl_jax.data.streamed import StreamedTrial
from dfcl_jax.data.tables import Table, trial_table
from dfcl_jax.data.task import (
    Exam,
    Split,
    Task,
    split_rows,
    split_simulation,
    split_table,
    table_trial,
    with_budgets,
)
from dfcl_jax.data.unlike import Unlike, unlike

__all__ = [
    "Columns",
    "Coverage",
    "Encoder",
    "Exam",
    "PredictedColumns",
    "PredictedTrial",
    "Reading",
    "Split",
    "StreamedTrial",
    "Table",
    "Task",
    "Unlike",
    "check_leaks",
    "covered",
    "described_trials",
    "encode",
    "fit_encoder",
    "fold_of",
    "open_observed",
    "open_parts",
    "open_trial",
    "part_of",
    "predicted_trial",
    "read_frame",
    "simulate",
    "sources",
    "split_folds",
    "split_rows",
    "split_simulation",
    "split_table",
    "table_trial",
    "trial_table",
    "unlike",
    "with_budgets",
]
