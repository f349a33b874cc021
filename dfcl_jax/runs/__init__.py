"""Runs: the command line, run folders, progress, saved policies and plans."""

from dfcl_jax.methods.saved import load_policy, save_policy
from dfcl_jax.runs.command import command
from dfcl_jax.runs.config import FolderConfig, RunConfig, TableConfig, chosen
from dfcl_jax.runs.evaluation import EvaluationConfig, run_evaluation
from dfcl_jax.runs.exported import export_policy
from dfcl_jax.runs.newcomers import Newcomers
from dfcl_jax.runs.options import Within
from dfcl_jax.runs.plan import Plan, plan_for
from dfcl_jax.runs.plan_file import FilePlan, plan_people
from dfcl_jax.runs.predicted_plan import PredictedPlan, plan_people_by_predictions, plan_predictions
from dfcl_jax.runs.run_folder import Run, open_run, run_path
from dfcl_jax.runs.simulated import DISCOUNT_ARMS, DRAWS, Draw, draw_splits
from dfcl_jax.runs.simulated_file import write_simulation
from dfcl_jax.runs.table import run_table, save_policies

__all__ = [
    "DISCOUNT_ARMS",
    "DRAWS",
    "Draw",
    "EvaluationConfig",
    "FilePlan",
    "FolderConfig",
    "Newcomers",
    "Plan",
    "PredictedPlan",
    "Run",
    "RunConfig",
    "TableConfig",
    "Within",
    "chosen",
    "command",
    "draw_splits",
    "export_policy",
    "load_policy",
    "open_run",
    "plan_for",
    "plan_people",
    "plan_people_by_predictions",
    "plan_predictions",
    "run_evaluation",
    "run_path",
    "run_table",
    "save_policies",
    "save_policy",
    "write_simulation",
]
