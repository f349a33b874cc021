"""How much variance each kind of score takes off the gradient, a policy's value and the learned decision."""

from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from dfcl_jax import methods, scores
from dfcl_jax.data import Split
from dfcl_jax.data.simulate import Simulation
from dfcl_jax.errors import refuse
from dfcl_jax.methods import Method
from dfcl_jax.report import DRAWS, RunConfig, command, experiment
from dfcl_jax.study import StudyConfig, default_budgets, variances
from dfcl_jax.train import FitConfig
from dfcl_jax.types import Outcomes, take

PL = methods.entropy_regularised
KINDS = {
    "raw": Method(methods.raw, PL),
    "winsorised": Method(methods.winsorised, PL),
    "centred": Method(scores.centred, PL),
    "centred, least variance": Method(partial(scores.centred, base=scores.least_variance_base), PL),
    "centred, winsorised": Method(methods.centred_winsorised, PL),
    "doubly robust": Method(scores.aipw, PL),
    "centred, own units": Method(methods.centred_in_own_units, PL),
}


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Learn one policy from many trials of one population by each kind of score. --seeds counts the trials."""

    population: Literal["marketing", "criteo"] = "marketing"
    seeds: int = 20
    people: int = 20_000
    """In each trial, and in the one of the two-stage model."""
    test: int = 50_000
    study: StudyConfig = field(
        default_factory=lambda: StudyConfig(decision=FitConfig(epochs=6, batch_size=1024, learning_rate=1e-3))
    )


def main(config: Config) -> None:
    """Simulate, learn again and again, report."""
    if config.seeds < 2:
        refuse("seeds", found=config.seeds, expected="at least 2")
    n, trials = config.people, config.seeds + 1
    with experiment("variance", config) as run:
        key = jax.random.fold_in(jax.random.key(config.first_seed), 1)
        simulation = DRAWS[config.population](key, (trials + 1) * n + config.test)
        splits = _replicates(simulation, trials, n)
        budgets = default_budgets(scores.ipw(simulation.trial).c.mean(axis=0))
        key = jax.random.key(config.first_seed)
        table = variances(key, splits[0], splits[1:], budgets, KINDS, config.study)
        run.write_text("variance.csv", table.to_csv(index=False))
        text = table.to_string(index=False, float_format="{:.3g}".format)
        run.write_text("table.md", text + "\n")
        print(text)


def _replicates(simulation: Simulation, trials: int, n: int) -> list[Split]:
    """Trials of n other people each, with one validation part of n people and the rest for a test part."""
    trial, truth = simulation
    cut = (trials + 1) * n
    valid, test = (take(trial, jnp.arange(*rows)) for rows in ((trials * n, cut), (cut, len(trial.t))))
    known = Outcomes(truth.r[cut:], truth.c[cut:])
    parts = [take(trial, jnp.arange(k * n, (k + 1) * n)) for k in range(trials)]
    return [Split(part, valid, test, known, encoder=None, test_rows=np.arange(cut, len(trial.t))) for part in parts]


if __name__ == "__main__":
    command(main, Config)
