"""The cheapest treatment for everybody: what a budget buys least of, and every gain is measured from."""

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from dfcl_jax import scores
from dfcl_jax.data import Task
from dfcl_jax.methods.method import Log
from dfcl_jax.models import Params
from dfcl_jax.types import Outcomes, Trial, mean_of_people

# People that mean costs are taken of.
SAMPLE = 2**20


@dataclass(frozen=True)
class CheapestArm:
    """Give everybody the treatment of least mean cost, as propensity scores of the training people estimate it."""

    weighs = True

    @property
    def money(self) -> bool:
        """False: its revenue surface is only there to make the cheapest treatment the best one."""
        return False

    def fit(self, key: Array, task: Task, log: Log) -> Params:
        """Mean cost of each treatment, {"cost": [m]}."""
        sample = task.train if isinstance(task.train, Trial) else task.train.sample(SAMPLE)
        return {"cost": mean_of_people(scores.ipw(sample).c, sample.weight)}

    def predict(self, params: Params, x: Array) -> Outcomes:
        """Everybody's mean costs, and their negative as revenue: no multiplier makes another treatment better."""
        cost = jnp.broadcast_to(params["cost"], (x.shape[0], params["cost"].shape[0]))
        return Outcomes(-cost, cost)
