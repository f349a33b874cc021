"""Causal forest (EconML's, the extra `forest`): TSM-CF."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from dfcl_jax.data import Task
from dfcl_jax.errors import refuse
from dfcl_jax.methods.extras import Extra
from dfcl_jax.methods.gradient import count, in_memory, within_seen
from dfcl_jax.methods.method import Log
from dfcl_jax.methods.trees import (
    Trees,
    as_trees,
    boosted_arrays,
    boosted_sum,
    booster,
    in_one_thread,
    leaf_sum,
    stacked_trees,
)
from dfcl_jax.models import Params
from dfcl_jax.types import Outcomes, Trial

SAMPLE_SHARE = 0.45  # of the people, that each tree sees
FOLDS = 2  # that outcomes are predicted by


@dataclass(frozen=True)
class CausalForest:
    """Effects of every treatment over treatment 0 by generalised random forests, for revenue and for cost.

    EconML's CausalForestDML (Athey, Tibshirani and Wager 2019): outcomes and treatments less their cross-fitted means,
    then trees that split where effects differ, an indicator for each treatment. With tau_i0 = 0 and m(x) the mean over
    folds of the boosted trees that predict outcomes,

        y_hat_ij = m(x_i) + tau_ij - sum_k p_k tau_ik.

    The trees become plain arrays that JAX evaluates, so that a saved policy needs no EconML.

    Raises:
        InputError: a number out of its range; in `fit`, that EconML is not installed.
    """

    trees: int = 100  # a multiple of 4
    leaf_size: int = 300  # people in a leaf, at least
    depth: int = 24  # at most

    money = True
    needs = Extra("econml", "econml", "forest")

    def __post_init__(self) -> None:
        """Check the options."""
        if self.trees < 4 or self.trees % 4:
            refuse("trees", found=self.trees, expected="a multiple of 4")
        for name in ("leaf_size", "depth"):
            if getattr(self, name) < 1:
                refuse(name, found=getattr(self, name), expected="at least 1")

    def fit(self, key: Array, task: Task, log: Log) -> Params:
        """Trees of effects and of mean outcomes, the mean propensities, and the costs that were seen."""
        self.needs.require("causal forest")
        sample = in_memory(task.train)
        seed = int(jax.random.bits(jax.random.fold_in(key, task.seed), dtype=jnp.uint32))
        x, y = np.asarray(sample.x), np.column_stack([sample.r, sample.c])
        forest = self._forest(sample, seed)
        with in_one_thread():
            forest.fit(y, np.asarray(sample.t), X=x)
        return {
            "effect": {
                name: _forest_arrays(one, x.dtype)
                for name, one in zip("rc", forest.model_cate.estimators_, strict=True)
            },
            "mean": {name: _mean_arrays(forest, k, x.dtype) for k, name in enumerate("rc")},
            "share": np.asarray(jnp.atleast_2d(sample.p).mean(axis=0), x.dtype),
            "costs": count(task, "identity").costs,
        }

    def predict(self, params: Params, x: Array) -> Outcomes:
        """Revenue and cost of every treatment, [n, m] each; cost within the range that the trial has seen of it."""
        share = jnp.asarray(params["share"])[None, :]

        def surface(name: str) -> Array:
            mean = jnp.stack([boosted_sum(net, x) for net in params["mean"][name].values()]).mean(axis=0)
            effect = _effects(as_trees(params["effect"][name]), x)
            tau = jnp.concatenate([jnp.zeros_like(effect[:, :1]), effect], axis=1)
            return mean[:, None] + tau - (share * tau).sum(axis=1, keepdims=True)

        return within_seen(Outcomes(surface("r"), surface("c")), params["costs"])

    def _forest(self, sample: Trial, seed: int) -> Any:
        # Propensities that differ between people have to be predicted; of a plain trial they are its shares.
        ensemble, dummy = import_module("sklearn.ensemble"), import_module("sklearn.dummy")
        varies = ensemble.HistGradientBoostingClassifier(early_stopping=False, random_state=seed)
        outcome = booster(random_state=seed)
        return import_module("econml.dml").CausalForestDML(
            model_y=import_module("sklearn.multioutput").MultiOutputRegressor(outcome),
            model_t=varies if sample.p.ndim == 2 else dummy.DummyClassifier(),
            discrete_treatment=True,
            categories=list(range(sample.p.shape[-1])),
            cv=FOLDS,
            n_estimators=self.trees,
            min_samples_leaf=self.leaf_size,
            max_depth=self.depth,
            max_samples=SAMPLE_SHARE,
            inference=False,
            n_jobs=1,
            random_state=seed,
        )


def _mean_arrays(forest: Any, outcome: int, dtype: Any) -> dict[str, Any]:
    """The boosted trees that predict an outcome whatever the treatment, of each fold."""
    folds = enumerate(forest.models_y[0])
    return {str(fold): boosted_arrays(model.estimators_[outcome], dtype) for fold, model in folds}


def _forest_arrays(forest: Any, dtype: Any) -> dict[str, Any]:
    """Trees with what each leaf adds to alpha [k] and to the Jacobian [k, k] of theta = J^-1 alpha, side by side."""
    return stacked_trees([_of_forest(one.tree_) for one in forest.estimators_], dtype)._asdict()


def _of_forest(tree: Any) -> Trees:
    own, leaf = np.arange(tree.node_count), tree.children_left < 0
    left, right = (np.where(leaf, own, child) for child in (tree.children_left, tree.children_right))
    value = np.concatenate([tree.precond, tree.jac], axis=1)
    return Trees(np.maximum(tree.feature, 0), tree.threshold, left, right, value, tree.max_depth)


def _effects(trees: Trees, x: Array) -> Array:
    """theta(x) of all treatments but the first, [n, m - 1]; its last entry, the intercept, is dropped."""
    total = leaf_sum(trees, x) / trees.feature.shape[0]
    k = int((-1 + (1 + 4 * total.shape[1]) ** 0.5) / 2)
    alpha, jacobian = total[:, :k], total[:, k:].reshape(-1, k, k)
    return jnp.linalg.solve(jacobian, alpha[..., None])[:, : k - 1, 0]
