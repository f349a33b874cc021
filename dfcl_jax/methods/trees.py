"""Sums of regression trees as plain arrays: what boosting and forests learn, predicted by JAX and kept as an .npz."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from dfcl_jax.solvers.checks import rounded_down


class Trees(NamedTuple):
    """k trees of up to v nodes; node 0 is the root, and a leaf leads to itself."""

    feature: Any  # [k, v] int, the feature that a node asks for
    threshold: Any  # [k, v] at most this: to the left
    left: Any  # [k, v] int
    right: Any  # [k, v] int
    value: Any  # [k, v, ...] of a leaf
    depth: Any  # [] int, steps from a root to the deepest leaf


def leaf_sum(trees: Trees, x: Array) -> Array:
    """Sum over trees of the value of the leaf that each row of x [n, d] falls into, [n, ...]."""
    rows = jnp.arange(x.shape[0])

    def add(total: Array, tree: Trees) -> tuple[Array, None]:
        def descend(_: int, node: Array) -> Array:
            goes_left = x[rows, tree.feature[node]] <= tree.threshold[node]
            return jnp.where(goes_left, tree.left[node], tree.right[node])

        node = jax.lax.fori_loop(0, trees.depth, descend, jnp.zeros(x.shape[0], jnp.int32))
        return total + tree.value[node], None

    each = trees._replace(depth=jnp.zeros(trees.feature.shape[0]))
    start = jnp.zeros((x.shape[0], *trees.value.shape[2:]), trees.value.dtype)
    return jax.lax.scan(add, start, each)[0]


def stacked_trees(trees: list[Trees], dtype: Any) -> Trees:
    """Trees of one estimator, [v] each and of any sizes, as arrays of one shape, [k, v].

    Thresholds are rounded down to `dtype`: a feature of that precision is at most the one exactly where it is at most
    the other.
    """
    most = max(len(tree.feature) for tree in trees)

    def padded(leaf: np.ndarray) -> np.ndarray:
        return np.pad(leaf, [(0, most - len(leaf)), *[(0, 0)] * (leaf.ndim - 1)])

    columns = (
        np.stack([padded(np.asarray(leaf)) for leaf in column]) for column in zip(*(t[:5] for t in trees), strict=True)
    )
    feature, threshold, left, right, value = columns
    return Trees(
        feature.astype(np.int32),
        rounded_down(threshold, dtype),
        left.astype(np.int32),
        right.astype(np.int32),
        value.astype(dtype),
        np.asarray(max(int(tree.depth) for tree in trees), np.int32),
    )
