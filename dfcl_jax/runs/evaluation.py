"""From a trial with predictions to a run folder that says what they are worth."""

from dataclasses import dataclass
from typing import Annotated, Literal

import jax

from dfcl_jax import metrics, scores
from dfcl_jax.data import check_leaks
from dfcl_jax.data.predictions import PredictedTrial
from dfcl_jax.files import checksum
from dfcl_jax.report import evaluation as report
from dfcl_jax.report.terminal import show, terminal_tables
from dfcl_jax.runs.config import FolderConfig
from dfcl_jax.runs.options import Within
from dfcl_jax.runs.progress import counted
from dfcl_jax.runs.run_folder import open_run
from dfcl_jax.solvers import chosen_budgets, usual_fractions
from dfcl_jax.study import Evaluation, evaluate
from dfcl_jax.types import mean_of_people, num_arms


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(FolderConfig):
    """The options of every evaluation."""

    budgets: tuple[Annotated[float, Within(0)], ...] = ()
    """Cost per person; six between the cheapest and the dearest treatment's mean cost if not given."""
    settle: Literal["aipw", "ipw"] = "aipw"
    """Doubly robust scores, by the first model's predictions, or inverse-propensity scores."""
    replicates: Annotated[int, Within(2)] = 1000
    """Of the bootstrap that intervals come from."""
    seed: Annotated[int, Within(0)] = 0


def run_evaluation(
    name: str, config: EvaluationConfig, judged: PredictedTrial, *, given_propensities: bool = True
) -> Evaluation:
    """Judge predictions on a trial, write the run folder, and say what came of it.

    Args:
        name: of the experiment.
        config: its options.
        judged: people whom the predictions were not fitted on.
        given_propensities: whether the design names the propensities.

    Raises:
        InputError: what `study.evaluate` and `open_run` refuse; a budget below the cheapest treatment's mean cost.
    """
    trial, first = judged.trial, next(iter(judged.outcomes.values()))
    settling = scores.aipw(trial, first) if config.settle == "aipw" else scores.ipw(trial)
    if judged.table is not None:
        settling = scores.known_costs(settling, judged.table.known_costs)
    what = "mean costs of the treatments"
    if judged.table is not None:
        what = f"mean costs of {', '.join(judged.table.arms)} (column {judged.table.columns.cost!r})"
    fractions = usual_fractions(trial.rows, num_arms(trial))
    budgets = chosen_budgets(config.budgets, mean_of_people(settling.c, trial.weight), fractions, what=what)
    data = checksum(*jax.tree.leaves((trial, list(judged.outcomes.values()))))
    with open_run(name, config, rows=trial.rows, checksum=data) as run:
        doubts = _doubts(judged, given_propensities)
        run.say(*(judged.table.notes if judged.table else ()), *(f"Doubtful: {doubt}" for doubt in doubts))
        with counted("bootstrap", config.replicates, "replicates", console=run.console) as on_batch:
            evaluation = evaluate(
                jax.random.key(config.seed),
                trial,
                judged.outcomes,
                settling,
                budgets,
                replicates=config.replicates,
                names=judged.features,
                arms=judged.table.arms if judged.table else None,
                given_propensities=given_propensities,
                doubts=doubts,
                on_batch=on_batch,
            )
        # Tables before pictures: no picture may cost a result.
        for table, frame in evaluation._asdict().items():
            if table != "doubts":
                run.write_table(table, frame)
        run.write_text("table.md", report.markdown(evaluation))
        for title, headers, rows in report.shown(evaluation):
            run.say("", title)
            show(run.console, terminal_tables(headers, rows, width=run.console.width))
        run.say(*(f"Doubtful: {doubt}" for doubt in evaluation.doubts[len(doubts) :]))
        run.draw(report.draw, evaluation, run.path)
    return evaluation


def _doubts(judged: PredictedTrial, given_propensities: bool) -> list[str]:
    """What makes figures doubtful, as the other commands on a trial say it."""
    table, trial = judged.table, judged.trial
    found = metrics.doubts(
        trial,
        [str(j) for j in range(num_arms(trial))] if table is None else table.arms,
        names=judged.features,
        given_propensities=given_propensities,
        outcomes=None if table is None else (table.columns.revenue, table.columns.cost),
    )
    return found if table is None else [*found, *check_leaks(table)]
