"""What each method gains in true value over two-stage learning, in several regimes of simulated trials."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import jax

from dfcl_jax.methods import CHEAPEST, TWO_STAGE, CheapestArm, Decision, Ensemble, Method, TwoStage
from dfcl_jax.methods.contenders import at_pace, contenders
from dfcl_jax.methods.extras import installed
from dfcl_jax.methods.tuning import read_choices, tuned_all, tuned_start
from dfcl_jax.runs import RunConfig, chosen, command, draw_splits, open_run
from dfcl_jax.runs.options import COUNT, Within
from dfcl_jax.runs.regimes import REGIMES, RegimeName
from dfcl_jax.study import Judge, compare

GroupName = Literal["published", "scores", "rivals", "ensembles", "gains", "trees", "field", "all"]


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Compare the published losses, their successors and their rivals on simulated trials whose truth is known.

    Learning rates were chosen by --first-seed 100 --seeds 3 --parts 100000 25000 50000 --paces 0.1 0.3 1; with --tuned
    everything is as `tune` chose it.
    """

    regime: RegimeName = "default"
    contenders: tuple[GroupName, ...] = ("published", "scores", "rivals")
    """Groups of methods; --methods names some of any group instead."""
    tuned: tuple[Path, ...] = ()
    """What `tune` chose for the contenders, in files tuned.json; a contender in none of them is as it is."""
    seeds: Annotated[int, COUNT] = 10
    parts: Annotated[tuple[int, int, int] | None, COUNT] = None
    """People for training, validation and test instead of the regime's."""
    paces: Annotated[tuple[float, ...], Within(0)] = ()
    """Train every method at each of these learning rates, in multiples of --decision's: to choose them by."""


def main(config: Config) -> None:
    """Simulate, train, compare, report."""
    regime = REGIMES[config.regime]
    start, parts = regime.two_stage(config.two_stage), config.parts or regime.parts
    methods, missing = installed(chosen(known(config, start), config.methods))
    methods = at_paces(methods, config) if config.paces else methods
    with open_run("quality", config, regime=config.regime, parts=parts) as run:
        run.say(*missing)
        splits = draw_splits(run, config, regime.draw, parts)
        judge = Judge(loss=start.loss)
        run.report(compare(jax.random.key(0), splits, methods, judge=judge, cells=run.cells(), skip_diverged=True))


def known(config: Config, start: TwoStage) -> dict[str, Method]:
    """The methods to choose from: those of the groups, or all where --methods names some."""
    best = read_choices(*config.tuned)
    groups = contenders(tuned_start(start, best), config.decision)
    asked = list(groups) if config.methods or "all" in config.contenders else config.contenders
    unfit = REGIMES[config.regime].left_out
    rest = {name: method for group in asked for name, method in groups[group].items() if name not in unfit}
    # An ensemble trains in one program with its first member, which the study finds when it comes to that alone.
    rest = dict(sorted(rest.items(), key=lambda named: not isinstance(named[1], Ensemble)))
    return {**tuned_all({TWO_STAGE: start, **rest}, best), CHEAPEST: CheapestArm()}


def at_paces(methods: dict[str, Method], config: Config) -> dict[str, Method]:
    """Every decision method at every pace."""
    paced = {
        f"{name} at {pace:g}": at_pace(method, config.decision, pace)
        for name, method in methods.items() if isinstance(method, Decision)
        for pace in config.paces
    }  # fmt: skip
    return {name: method for name, method in methods.items() if not isinstance(method, Decision)} | paced


if __name__ == "__main__":
    command(main, Config)
