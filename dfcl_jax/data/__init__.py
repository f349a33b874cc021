"""Data: trial tables, published trials, simulated trials, splits, trials larger than memory."""

from dfcl_jax.data import simulate, sources
from dfcl_jax.data.encode import Encoder, encode, fit_encoder
from dfcl_jax.data.predictions import PredictedColumns, PredictedTrial, predicted_trial
from dfcl_jax.data.split import Split, split_rows, split_simulation, split_table
from dfcl_jax.data.streamed import StreamedTrial, open_trial
from dfcl_jax.data.tables import Columns, Table, read_frame, trial_table

__all__ = [
    "Columns",
    "Encoder",
    "PredictedColumns",
    "PredictedTrial",
    "Split",
    "StreamedTrial",
    "Table",
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
]
