"""Tune every contender of the quality study with the same effort, on trials that the study does not use."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import jax
import numpy as np
import pandas as pd

from dfcl_jax.data import Split
from dfcl_jax.methods import TWO_STAGE, Method, TwoStage
from dfcl_jax.methods.contenders import every_contender
from dfcl_jax.methods.extras import installed
from dfcl_jax.methods.tuning import Choice, choices_text, member_of, read_choices, trials, tuned, tuned_start
from dfcl_jax.report.summary import mean_values
from dfcl_jax.runs import RunConfig, chosen, command, draw_splits, open_run
from dfcl_jax.runs.options import COUNT
from dfcl_jax.runs.regimes import REGIMES, RegimeName
from dfcl_jax.study import Cells, Judge, compare
from dfcl_jax.study.tuning import validation_values


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Tune how every contender is built and trained (`methods.tuning.AXES`) by the same random trials.

    Two-stage learning comes first: the others start from it as it was tuned. Ensembles take what their members are
    tuned to. Choices are written to tuned.json, for `quality --tuned`.
    """

    regime: RegimeName = "default"
    trials: Annotated[int, COUNT] = 8
    """For each contender, the contender as it is among them."""
    by: Literal["validation", "truth"] = "validation"
    """What chooses: the estimated value on the validation part, or the true value on the test part."""
    first_seed: int = 100
    seeds: Annotated[int, COUNT] = 3
    parts: Annotated[tuple[int, int, int] | None, COUNT] = None
    """People for training, validation and test instead of the regime's."""
    tuned: tuple[Path, ...] = ()
    """Choices that are made already: these contenders are not tuned again."""


def main(config: Config) -> None:
    """Simulate, train every trial of every contender, choose."""
    regime = REGIMES[config.regime]
    start, parts = regime.two_stage(config.two_stage), config.parts or regime.parts
    best = read_choices(*config.tuned)
    with open_run("tune", config, regime=config.regime, parts=parts) as run:
        splits, cells = draw_splits(run, config, regime.draw, parts), run.cells()
        tables = [pd.DataFrame()]

        def tune(methods: Mapping[str, Method]) -> None:
            if not methods:
                return
            table = values_of_trials(start, methods, config.trials, splits, cells)
            tables.append(table)
            for name in methods.keys() - set(table.contender):
                run.say(f"{name} is not tuned, and stays as it is: every trial of it diverged")
            rows = best_of(table, config.by).to_dict("records")
            best.update({row["contender"]: trials(config.trials)[row["trial"]] for row in rows})

        if TWO_STAGE not in best:
            tune({TWO_STAGE: start})
        every = {TWO_STAGE: start} | every_contender(tuned_start(start, best), config.decision)
        every = {name: method for name, method in every.items() if name not in regime.left_out}
        asked, missing = installed(chosen(every, config.methods))
        run.say(*missing)
        tune({name: method for name, method in asked.items() if name not in best and member_of(name) == name})
        table = pd.concat(tables, ignore_index=True)
        run.write_table("trials", table)
        run.write_text("tuned.json", choices_text(best))
        run.show(best_of(table, config.by), f"The best of {config.trials} trials; lifts in % over {TWO_STAGE} untuned.")


def values_of_trials(
    start: TwoStage, methods: Mapping[str, Method], number: int, splits: list[Split], cells: Cells
) -> pd.DataFrame:
    """Every trial that did not diverge, a row each: lifts in % over two-stage learning as it is, means over seeds."""
    choices = trials(number)
    named = {(name, k): tuned(method, choice) for name, method in methods.items() for k, choice in enumerate(choices)}
    labels = {f"{name} #{k}": method for (name, k), method in named.items()}
    judge = Judge(loss=start.loss)
    study = compare(
        jax.random.key(0), splits, {TWO_STAGE: start, **labels}, judge=judge, cells=cells, skip_diverged=True
    )
    validation, truth = (
        100 * (values.div(values[TWO_STAGE], axis=0) - 1)
        for values in (validation_values(study, splits), mean_values(study))
    )
    rows = [
        {"contender": name, "trial": k, **asdict(choices[k])}
        | {"validation": validation[label].mean(), "truth": truth[label].mean(), "error": truth[label].sem()}
        for (name, k), label in zip(named, labels, strict=True)
        if label in study.cells
    ]
    return pd.DataFrame(rows, columns=["contender", "trial", *asdict(Choice()), "validation", "truth", "error"])


def best_of(table: pd.DataFrame, by: str) -> pd.DataFrame:
    """The row of the best trial of each contender; the first where none has a value."""
    value = table[by].fillna(-np.inf)
    return table.loc[value.groupby(table.contender, sort=False).idxmax()]


if __name__ == "__main__":
    command(main, Config)
