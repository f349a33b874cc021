"""The paper's tables and figures: what stands for each here, and what was published."""

from dfcl_jax.runs.paper.config import FigureName, PaperConfig
from dfcl_jax.runs.paper.days import run_days
from dfcl_jax.runs.paper.figures import FIGURES, run_figure
from dfcl_jax.runs.paper.tables import TABLES, run_table_of_paper

__all__ = ["FIGURES", "TABLES", "FigureName", "PaperConfig", "run_days", "run_figure", "run_table_of_paper"]
