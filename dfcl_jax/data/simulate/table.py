"""Simulated people as rows of a table."""

from collections.abc import Sequence

import jax
import numpy as np
import pyarrow as pa

from dfcl_jax.data.simulate.population import Simulation
from dfcl_jax.data.tables import Columns
from dfcl_jax.types import num_arms

COLUMNS = Columns(treatment="treatment", revenue="revenue", cost="cost")


def simulation_table(simulation: Simulation, columns: Columns = COLUMNS, *, truth: bool = False) -> pa.Table:
    """Return one row per person: features, treatment code, revenue and cost, all float32 except the code.

    Propensities that differ between people are in columns `propensity_0`, ...; the true expected outcomes, if
    requested, in `true_revenue_0`, ..., `true_cost_0`, ...

    Args:
        simulation: n people.
        columns: names of treatment, revenue, cost and, optionally, features; features default to x0, x1, ...
        truth: whether to write the true expected outcomes.
    """
    trial, outcomes = jax.tree.map(np.asarray, simulation)
    features: Sequence[str] = columns.features or [f"x{k}" for k in range(trial.x.shape[1])]
    arrays = dict(zip(features, trial.x.T, strict=True))
    arrays |= {columns.treatment: trial.t, columns.revenue: trial.r, columns.cost: trial.c}
    surfaces = {"propensity": trial.p} if trial.p.ndim == 2 else {}
    if truth:
        surfaces |= {"true_revenue": outcomes.r, "true_cost": outcomes.c}
    arrays |= {f"{name}_{j}": surface[:, j] for name, surface in surfaces.items() for j in range(num_arms(trial))}
    kinds = {columns.treatment: np.int32}
    return pa.table({name: np.ascontiguousarray(array, kinds.get(name, np.float32)) for name, array in arrays.items()})
