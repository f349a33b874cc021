"""Reports: run folders, tables, figures, plans, and the command line of the experiments."""

from dfcl_jax.report.command import RunConfig, command, experiment, run_study, training
from dfcl_jax.report.evaluation_run import EvaluationConfig, run_evaluation
from dfcl_jax.report.plan import Plan, plan_for, proven_best
from dfcl_jax.report.plan_file import FilePlan, plan_people, plan_predictions
from dfcl_jax.report.predictor import Predictor, load_predictor
from dfcl_jax.report.run_folder import RunFolder, load_fit, open_run
from dfcl_jax.report.simulated_file import write_simulation
from dfcl_jax.report.simulated_run import DRAWS, draw_splits, run_simulated
from dfcl_jax.report.sweep import write_sweeps
from dfcl_jax.report.table_run import TableConfig, run_table

__all__ = [
    "DRAWS",
    "EvaluationConfig",
    "FilePlan",
    "Plan",
    "Predictor",
    "RunConfig",
    "RunFolder",
    "TableConfig",
    "command",
    "draw_splits",
    "experiment",
    "load_fit",
    "load_predictor",
    "open_run",
    "plan_for",
    "plan_people",
    "plan_predictions",
    "proven_best",
    "run_evaluation",
    "run_simulated",
    "run_study",
    "run_table",
    "training",
    "write_simulation",
    "write_sweeps",
]
