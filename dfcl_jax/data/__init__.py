"""Data: trial tables, published trials, simulated trials, splits, trials larger than memory."""

from dfcl_jax.data import simulate, sources
from dfcl_jax.data.encode import Encoder, encode, fit_encoder
from dfcl_jax.data.predictions import PredictedColumns, PredictedTrial, predicted_trial
from dfcl_jax.data.streamed import StreamedTrial, open_trial
from dfcl_jax.data.tables import Columns, Table, read_frame, trial_table
from dfcl_jax.data.task import Exam, Split, Task, split_rows, split_simulation, split_table, with_budgets

__all__ = [
    "Columns",
    "Encoder",
    "Exam",
    "PredictedColumns",
    "PredictedTrial",
    "Split",
    "StreamedTrial",
    "Table",
    "Task",
    "encode",
    "fit_encoder",
    "open_trial",
    "predicted_trial",
    "read_frame",
    "simulate",
    "sources",
    "split_rows",
    "split_simulation",
    "split_table",
    "trial_table",
    "with_budgets",
]
