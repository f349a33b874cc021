"""Folds of a table: every row is in the exam of exactly one task."""

from collections.abc import Sequence

import numpy as np

from dfcl_jax.data.encode import Scaling
from dfcl_jax.data.tables import Table
from dfcl_jax.data.task import Split, split_at
from dfcl_jax.errors import refuse


def split_folds(
    table: Table,
    partition: int,
    *,
    folds: int = 5,
    valid: float = 0.1,
    budgets: Sequence[float] = (),
    scaling: Scaling = "standard",
) -> list[Split]:
    """Split a table into K tasks whose exams are its folds, numbered partition K to partition K + K - 1.

    No row of an exam, and none of its cluster, is in the training or validation part of its task. Training parts are
    cut to the length of the shortest, and so are validation parts, so that one program trains all: where there are
    clusters, a few rows more or fewer.

    Args:
        table: the trial.
        partition: number of the partition: of all that is random in it.
        folds: K.
        valid: validation part, as a share of the rows outside the exam.
        budgets: of the tasks.
        scaling: of features.

    Raises:
        InputError: fewer than two folds, or more than there are clusters; a bad share; what `split_at` refuses.
    """
    if partition < 0:
        refuse("partition", found=partition, expected="at least 0")
    if not 0 < valid < 1:
        refuse("valid", found=valid, expected="a share above 0 and below 1")
    n = len(table.t)
    clusters = np.arange(n) if table.cluster is None else table.cluster
    number = int(clusters.max()) + 1
    if not 2 <= folds <= number - 1:
        things = "rows" if table.cluster is None else "clusters"
        expected = f"at most {number - 1}" if number > 2 else f"at least 3 {things}"
        refuse("folds", found=f"{folds} of {number} {things}", expected=expected)
    rng = np.random.default_rng([partition, folds])
    order = rng.permutation(number)
    fold = _balanced(np.bincount(clusters)[order], folds)[np.argsort(order)][clusters]
    parts = []
    for k in range(folds):
        rest = np.flatnonzero(fold != k)
        # Whole clusters go to the validation part, in random order, until it has its share.
        place = rng.permutation(number)[clusters[rest]]
        rest = rest[np.argsort(place, kind="stable")]
        cut = max(round(valid * len(rest)), 1)
        ends = np.flatnonzero(np.diff(np.sort(place))) + 1
        cut = int(ends[np.argmin(np.abs(ends - cut))]) if len(ends) else cut
        parts.append((rng.permutation(rest[cut:]), rng.permutation(rest[:cut]), np.flatnonzero(fold == k)))
    train, held = (min(len(part[k]) for part in parts) for k in (0, 1))
    return [
        split_at(
            table, partition * folds + k, (part[0][:train], part[1][:held], part[2]), budgets=budgets, scaling=scaling
        )
        for k, part in enumerate(parts)
    ]


def _balanced(sizes: np.ndarray, folds: int) -> np.ndarray:
    """The fold of each cluster, of clusters in random order: folds of about equally many rows."""
    if (sizes == 1).all():
        return np.arange(len(sizes)) % folds
    fold, filled = np.zeros(len(sizes), int), np.zeros(folds)
    # The largest first: those that come last, the smallest, even the folds out.
    for cluster in np.argsort(-sizes, kind="stable"):
        fold[cluster] = int(np.argmin(filled))
        filled[fold[cluster]] += sizes[cluster]
    return fold
