"""From a simulator to a comparison on trials whose truth is known."""

from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax import Array

from dfcl_jax import scores
from dfcl_jax.data import Split, simulate, split_simulation
from dfcl_jax.data.simulate import Simulation
from dfcl_jax.errors import refuse
from dfcl_jax.methods import METHODS, Method
from dfcl_jax.report.command import RunConfig, experiment, run_study
from dfcl_jax.study import Study, default_budgets

# (key, people) -> a trial and its truth, by the name of the population.
DRAWS: dict[str, Callable[[Array, int], Simulation]] = {
    "marketing": jax.jit(simulate.marketing, static_argnums=1),
    "criteo": jax.jit(simulate.criteo_like, static_argnums=1),
}


def run_simulated(
    name: str,
    config: RunConfig,
    draw: Callable[[Array, int], Simulation],
    parts: tuple[int, int, int],
    methods: dict[str, Method] = METHODS,
    *,
    arms: tuple[str, ...],
    budgets: Sequence[float] = (),
) -> Study:
    """Compare methods on a fresh trial for each seed, settled by its truth, and write the run folder.

    Args:
        name: of the experiment.
        config: its options.
        draw: (key, people) -> a trial and its truth.
        parts: people for training, validation and test.
        methods: what to compare with two-stage learning.
        arms: names of the treatments.
        budgets: cost per person; six between the cheapest and the dearest treatment's mean cost if not given.

    Raises:
        InputError: a part without people, or bad budgets.
    """
    with experiment(name, config) as run:
        splits, usual = draw_splits(config, draw, parts)
        return run_study(run, splits, budgets or usual, methods, config, arms=arms)


def draw_splits(
    config: RunConfig, draw: Callable[[Array, int], Simulation], parts: tuple[int, int, int]
) -> tuple[list[Split], tuple[float, ...]]:
    """A fresh trial for each seed, and six budgets between the cheapest and the dearest treatment's mean cost."""
    if min(parts) < 1:
        refuse("people for training, validation and test", found=parts, expected="at least 1 each")
    # Training starts from key(first_seed) itself, so the data have keys of their own.
    keys = [jax.random.fold_in(jax.random.key(config.first_seed + k), 1) for k in range(config.seeds)]
    splits = [split_simulation(draw(key, sum(parts)), *parts[:2]) for key in keys]
    mean_costs = [np.asarray(scores.ipw(split.train).c.mean(axis=0)) for split in splits]
    return splits, default_budgets(np.mean(mean_costs, axis=0))
