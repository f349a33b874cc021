"""Gradient-boosted trees (scikit-learn's, the extra `boost`): what most practitioners would use."""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from dfcl_jax import scores
from dfcl_jax.data import Task
from dfcl_jax.errors import check_option, refuse
from dfcl_jax.methods.extras import Extra
from dfcl_jax.methods.gradient import count, in_memory, within_seen
from dfcl_jax.methods.method import Log
from dfcl_jax.methods.trees import boosted_arrays, boosted_sum, booster, in_one_thread
from dfcl_jax.models import Params
from dfcl_jax.types import Outcomes, Trial, mean_of_people, num_arms, pick

Learner = Literal["single", "per_arm"]


@dataclass(frozen=True)
class Boosted:
    """Two-stage learning by histogram gradient boosting, of revenue and of cost apart.

    "single" (S-learner): one model with the treatment as a feature, its place in the order of mean cost; with
    `monotone` its predictions rise with that feature. "per_arm" (T-learner): a model of the people of each treatment.
    People weigh 1 / p of their treatment, as in the prediction loss (DFCL, D4). The trees become plain arrays that JAX
    evaluates, so that a saved policy needs no scikit-learn.

    Raises:
        InputError: a learner that is not known, a model per treatment that is to be monotone, a number out of its
            range; in `fit`, that scikit-learn is not installed.
    """

    learner: Learner = "single"
    monotone: bool = False
    trees: int = 300
    learning_rate: float = 0.05
    leaves: int = 31  # at most, of a tree
    leaf_size: int = 20  # people in a leaf, at least

    money = True
    weighs = True
    needs = Extra("sklearn", "scikit-learn", "boost")

    def __post_init__(self) -> None:
        """Check the options."""
        check_option("learner", self.learner, Learner)
        if self.monotone and self.learner == "per_arm":
            refuse("monotone", found="a model for each treatment", expected="learner 'single'")
        for name, least in {"trees": 1, "leaves": 2, "leaf_size": 1}.items():
            if getattr(self, name) < least:
                refuse(name, found=getattr(self, name), expected=f"at least {least}")
        if not 0 < self.learning_rate <= 1:
            refuse("learning_rate", found=self.learning_rate, expected="above 0 and at most 1")

    def fit(self, key: Array, task: Task, log: Log) -> Params:
        """Trees of revenue and of cost, the rank of each treatment by mean cost, and the costs that were seen."""
        self.needs.require("boosted trees")
        sample = in_memory(task.train)
        m = num_arms(sample)
        rank = np.argsort(np.argsort(np.asarray(mean_of_people(scores.ipw(sample).c, sample.weight)), kind="stable"))
        seed = int(jax.random.bits(jax.random.fold_in(key, task.seed), dtype=jnp.uint32))
        x, t, weight = np.asarray(sample.x), np.asarray(sample.t), _weights(sample)
        if self.learner == "single":
            with_rank, everybody = np.column_stack([x, rank[t].astype(x.dtype)]), np.ones(len(t), bool)
            parts = [(with_rank, everybody)]
        else:
            parts = [(x, t == arm) for arm in range(m)]
        nets = {
            name: {
                str(k): self._trees(rows[here], np.asarray(y)[here], weight[here], seed)
                for k, (rows, here) in enumerate(parts)
            }
            for name, y in (("r", sample.r), ("c", sample.c))
        }
        costs = count(task, "identity").costs
        return {"trees": nets, "rank": jnp.asarray(rank, jnp.int32), "costs": costs}

    def predict(self, params: Params, x: Array) -> Outcomes:
        """Revenue and cost of every treatment, [n, m] each; cost within the range that the trial has seen of it."""
        ranks = params["rank"]

        def surface(net: Params) -> Array:
            if self.learner == "per_arm":
                return jnp.stack([boosted_sum(net[str(arm)], x) for arm in range(ranks.shape[0])], axis=1)
            return jax.lax.map(lambda rank: boosted_sum(net["0"], _with(x, rank)), ranks).T

        return within_seen(Outcomes(surface(params["trees"]["r"]), surface(params["trees"]["c"])), params["costs"])

    def _trees(self, x: np.ndarray, y: np.ndarray, weight: np.ndarray, seed: int) -> dict[str, Any]:
        """The trees of one boosted model, with the constant that they start from, as arrays."""
        model = booster(
            max_iter=self.trees,
            learning_rate=self.learning_rate,
            max_leaf_nodes=self.leaves,
            min_samples_leaf=self.leaf_size,
            random_state=seed,
            monotonic_cst=[0] * (x.shape[1] - 1) + [1] if self.monotone else None,
        )
        with in_one_thread():
            model.fit(x, y, sample_weight=weight)
        return boosted_arrays(model, x.dtype)


def _weights(sample: Trial) -> np.ndarray:
    weight = np.asarray(pick(scores.weighed(scores.ipw(sample), sample.weight).w, sample.t), np.float64)
    return weight / weight.mean()


def _with(x: Array, rank: Array) -> Array:
    """Features with the rank of a treatment as the last."""
    return jnp.concatenate([x, jnp.broadcast_to(rank.astype(x.dtype), (x.shape[0], 1))], axis=1)
