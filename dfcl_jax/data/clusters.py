"""Rows of one cluster stay together wherever a sample is cut."""

import jax
import numpy as np
from jax import Array

from dfcl_jax.errors import refuse
from dfcl_jax.types import Trial


def random_order(key: Array, trial: Trial) -> np.ndarray:
    """The rows in random order, [n], those of a cluster one after another."""
    order = np.asarray(jax.random.permutation(key, trial.rows))
    if trial.cluster is None:
        return order
    clusters = np.asarray(trial.cluster)
    place = np.asarray(jax.random.permutation(jax.random.fold_in(key, 1), int(clusters.max()) + 1))
    return order[np.argsort(place[clusters[order]], kind="stable")]


def apart_from(rows: np.ndarray, held: np.ndarray, trial: Trial) -> np.ndarray:
    """`rows` without those whose cluster has a row among `held`; the first repeat, so that there are as many as before.

    A cut through clusters in order splits one of them, so few rows repeat.

    Raises:
        InputError: no rows are left.
    """
    if trial.cluster is None:
        return rows
    clusters = np.asarray(trial.cluster)
    left = rows[~np.isin(clusters[rows], clusters[held])]
    if not len(left):
        refuse("clusters", found="one that is on both sides of a cut", expected="several in each part")
    return np.resize(left, len(rows))
