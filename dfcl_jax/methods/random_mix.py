"""Treatments at random: the lower end of the scale, what a budget buys without looking at anybody."""

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from dfcl_jax import scores
from dfcl_jax.data import Task
from dfcl_jax.methods.gradient import in_memory
from dfcl_jax.methods.method import Log
from dfcl_jax.models import Params
from dfcl_jax.types import Outcomes


@dataclass(frozen=True)
class RandomMix:
    """Predict every treatment's mean outcomes for everybody: people tie, so dice decide who gets the dearer one.

    At a budget it is the best mixture of treatments given to people at random, by propensity scores of the training
    people (`scores.ipw`); what targeting is worth is measured from it.
    """

    money = True

    def fit(self, key: Array, task: Task, log: Log) -> Params:
        """Mean revenue and mean cost of each treatment, {"r": [m], "c": [m]}."""
        surfaces = scores.ipw(in_memory(task.train))
        return {"r": surfaces.r.mean(axis=0), "c": surfaces.c.mean(axis=0)}

    def predict(self, params: Params, x: Array) -> Outcomes:
        """The means, for each of n people, [n, m] each."""
        return Outcomes(*(jnp.broadcast_to(params[y], (x.shape[0], params[y].shape[0])) for y in ("r", "c")))
