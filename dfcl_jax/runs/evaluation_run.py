"""From a trial with predictions to a run folder that says what they are worth."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax
from rich.console import Console

from dfcl_jax import scores
from dfcl_jax.data.predictions import PredictedTrial
from dfcl_jax.report.command import provenance, run_path
from dfcl_jax.report.evaluation import doubts, markdown, terminal_tables, write_evaluation
from dfcl_jax.report.progress import counted
from dfcl_jax.report.run_folder import open_run
from dfcl_jax.study import Evaluation, evaluate
from dfcl_jax.study.config import chosen_budgets


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """The options of every evaluation."""

    budgets: tuple[float, ...] = ()
    """Cost per person; six between the cheapest and the dearest treatment's mean cost if not given."""
    settle: Literal["aipw", "ipw"] = "aipw"
    """Doubly robust scores, by the first model's predictions, or inverse-propensity scores."""
    replicates: int = 1000
    """Of the bootstrap that intervals come from."""
    seed: int = 0
    out: Path | None = None
    """Run folder, a new one; runs/EXPERIMENT-TIME if not given."""


def run_evaluation(name: str, config: EvaluationConfig, judged: PredictedTrial) -> Evaluation:
    """Judge predictions on a trial, write the run folder, and say what came of it.

    Args:
        name: of the experiment.
        config: its options.
        judged: people whom the predictions were not fitted on.

    Raises:
        InputError: what `study.evaluate` and `open_run` refuse; a budget below the cheapest treatment's mean cost.
    """
    trial, first = judged.trial, next(iter(judged.outcomes.values()))
    settling = scores.aipw(trial, first) if config.settle == "aipw" else scores.ipw(trial)
    budgets = chosen_budgets(config.budgets, settling.c.mean(axis=0))
    out, console = run_path(name, config.out), Console()
    with open_run(out, provenance(name, config, {"rows": len(trial.t)})) as run:
        with counted("bootstrap", config.replicates, "replicates", console=console) as on_batch:
            evaluation = evaluate(
                jax.random.key(config.seed),
                trial,
                judged.outcomes,
                settling,
                budgets,
                replicates=config.replicates,
                names=judged.features,
                on_batch=on_batch,
            )
        write_evaluation(evaluation, run.path)
        run.write_text("table.md", markdown(evaluation))
    console.print(*terminal_tables(evaluation), *doubts(evaluation), sep="\n", highlight=False, soft_wrap=True)
    print(f"Written to {out}")
    return evaluation
