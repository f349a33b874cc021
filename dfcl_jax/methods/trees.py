"""Sums of regression trees as plain arrays: what boosting and forests learn, predicted by JAX and kept as an .npz."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from dfcl_jax.models import Params
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


def booster(**options: Any) -> Any:
    """A boosted regressor of scikit-learn's that learns all of its trees."""
    return import_module("sklearn.ensemble").HistGradientBoostingRegressor(early_stopping=False, **options)


def in_one_thread() -> Any:
    """A context for fits: sums come in one order, and threads do not wait in vain for a core that others use, too."""
    return import_module("threadpoolctl").threadpool_limits(1)


def boosted_arrays(model: Any, dtype: Any) -> dict[str, Any]:
    """A fitted `HistGradientBoostingRegressor` as arrays for `boosted_sum`."""
    # What a tree is made of has no public name in scikit-learn; a test holds the arrays to its predictions.
    trees = [_of_boosting(predictor.nodes) for (predictor,) in model._predictors]
    start = np.asarray(model._baseline_prediction[0, 0], dtype)
    return stacked_trees(trees, dtype)._asdict() | {"start": start}


def boosted_sum(net: Params, x: Array) -> Array:
    """Predictions for x [n, d], [n]."""
    return net["start"] + leaf_sum(as_trees(net), x)


def as_trees(net: Mapping[str, Any]) -> Trees:
    """Trees that were kept as a dictionary."""
    return Trees(**{name: jnp.asarray(net[name]) for name in Trees._fields})


def _of_boosting(nodes: np.ndarray) -> Trees:
    own, leaf = np.arange(len(nodes)), nodes["is_leaf"].astype(bool)
    left, right = (np.where(leaf, own, nodes[side]) for side in ("left", "right"))
    value = np.where(leaf, nodes["value"], 0.0)
    return Trees(nodes["feature_idx"], nodes["num_threshold"], left, right, value, nodes["depth"].max())
