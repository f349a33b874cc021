"""From a simulator to a comparison on trials whose truth is known."""

from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax import Array

from dfcl_jax import scores
from dfcl_jax.data import Split, simulate, split_simulation, with_budgets
from dfcl_jax.data.simulate import Simulation
from dfcl_jax.errors import refuse
from dfcl_jax.runs.config import RunConfig
from dfcl_jax.runs.run_folder import Run
from dfcl_jax.solvers import default_budgets

# (key, people) -> a trial and its truth
Draw = Callable[[Array, int], Simulation]

DRAWS: dict[str, Draw] = {
    "marketing": jax.jit(simulate.marketing, static_argnums=1),
    "criteo": jax.jit(simulate.criteo_like, static_argnums=1),
}
DISCOUNT_ARMS = tuple(f"{discount:.0%}" for discount in simulate.DISCOUNTS)


def draw_splits(
    run: Run,
    config: RunConfig,
    draw: Draw,
    parts: tuple[int, int, int],
    budgets: Sequence[float] = (),
    *,
    name: str = "budgets",
) -> list[Split]:
    """A fresh trial for each seed, with one set of budgets.

    Args:
        run: keeps the budgets: seeds that are added later are given those of the first run.
        config: which seeds.
        draw: (key, people) -> a trial and its truth.
        parts: people for training, validation and test.
        budgets: cost per person; six between the cheapest and the dearest treatment's mean cost if not given.
        name: that the run keeps the budgets by, where it has several populations.

    Raises:
        InputError: a part without people.
    """
    if min(parts) < 1:
        refuse("people for training, validation and test", found=parts, expected="at least 1 each")
    # Training starts from key(0) itself, so the data have keys of their own.
    keys = {seed: jax.random.fold_in(jax.random.key(seed), 1) for seed in config.seed_numbers}
    splits = [split_simulation(draw(key, sum(parts)), *parts[:2], seed=seed) for seed, key in keys.items()]

    def usual() -> list[float]:
        mean_costs = [np.asarray(scores.ipw(split.task.train.sample(parts[0])).c.mean(axis=0)) for split in splits]
        return list(budgets or default_budgets(np.mean(mean_costs, axis=0)))

    kept = run.fixed(name, usual)
    if budgets and list(budgets) != kept:
        refuse("budgets", found=budgets, expected=f"{kept}, as this run folder has them, or another --out")
    return with_budgets(splits, kept)
