"""How much variance each kind of score takes off the gradient, a policy's value and the learned decision."""

from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Literal

import jax
import jax.numpy as jnp

from dfcl_jax import scores
from dfcl_jax.data import Exam, Split, Task
from dfcl_jax.data.simulate import Simulation
from dfcl_jax.errors import refuse
from dfcl_jax.losses.decision import entropy_regularised
from dfcl_jax.methods import Decision
from dfcl_jax.runs import DRAWS, RunConfig, command, open_run
from dfcl_jax.runs.options import COUNT, Within
from dfcl_jax.solvers import default_budgets
from dfcl_jax.study import variances
from dfcl_jax.train import FitConfig
from dfcl_jax.types import Outcomes, take

KINDS = {
    "raw": scores.raw,
    "winsorised": scores.raw_winsorised,
    "centred": scores.centred,
    "centred, least variance": partial(scores.centred, base=scores.least_variance_base),
    "centred, winsorised": scores.centred_winsorised,
    "doubly robust": scores.aipw,
    "centred, own units": scores.centred_in_own_units,
}


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Learn one policy from many trials of one population by each kind of score. --seeds counts the trials."""

    population: Literal["marketing", "criteo"] = "marketing"
    seeds: Annotated[int, Within(2)] = 20
    methods: tuple[str, ...] = ()
    """Kinds of scores; all if not given."""
    people: Annotated[int, COUNT] = 20_000
    """In each trial, and in the one of the two-stage model."""
    test: Annotated[int, COUNT] = 50_000
    decision: FitConfig = field(default_factory=lambda: FitConfig(epochs=6, batch_size=1024, learning_rate=1e-3))


def main(config: Config) -> None:
    """Simulate, learn again and again, report."""
    for name in config.methods:
        if name not in KINDS:
            refuse("method", found=name, expected=", ".join(KINDS))
    of = partial(Decision, loss=entropy_regularised, start=config.two_stage, training=config.decision)
    kinds = {name: of(KINDS[name]) for name in config.methods or KINDS}
    with open_run("variance", config, population=config.population) as run:
        key, trials = jax.random.key(config.first_seed), config.seeds + 1
        people = (trials + 1) * config.people + config.test
        splits = replicates(DRAWS[config.population](jax.random.fold_in(key, 1), people), trials, config.people)
        table = variances(key, splits[0], splits[1:], kinds)
        run.write_table("variance", table)
        run.show(table)


def replicates(simulation: Simulation, trials: int, n: int) -> list[Split]:
    """Trials of n other people each, with one validation part of n people and the rest for an exam."""
    trial, truth = simulation
    cut = (trials + 1) * n
    budgets = default_budgets(scores.ipw(trial).c.mean(axis=0))
    valid, test = (take(trial, jnp.arange(*rows)) for rows in ((trials * n, cut), (cut, trial.rows)))
    exam = Exam(test, Outcomes(truth.r[cut:], truth.c[cut:]))
    parts = [take(trial, jnp.arange(k * n, (k + 1) * n)) for k in range(trials)]
    return [Split(Task(part, valid, budgets, seed), exam) for seed, part in enumerate(parts)]


if __name__ == "__main__":
    command(main, Config)
