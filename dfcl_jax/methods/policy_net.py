"""Policy learning without a budget, as people know it: a network that decides at a given price."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax import scores
from dfcl_jax.data import Task
from dfcl_jax.errors import refuse
from dfcl_jax.methods.gradient import predict_money
from dfcl_jax.methods.method import Log
from dfcl_jax.methods.regression import CrossFitted
from dfcl_jax.models import Params
from dfcl_jax.solvers import priced
from dfcl_jax.train import Seeds
from dfcl_jax.types import Outcomes, Trial


def policy_loss(outcomes: Outcomes, gains: Array) -> Array:
    """L = - mean_i sum_j softmax(f_i)_j g_ij, [], f the revenue surface and g the net gains [n, m]."""
    return -(jax.nn.softmax(outcomes.r, axis=1) * gains).sum(axis=1).mean()


@dataclass(frozen=True)
class PolicyNet(CrossFitted):
    """A network trained on the doubly robust net gain of its softened decision (Athey and Wager 2021).

    g = G^r - lam G^c, G cross-fitted `scores.aipw` and lam `price` times the trial's own return on cost: what two-stage
    learning predicts that the last treatment brings over the first, over what it costs more. The decision is for that
    price, whatever the budget; where it overspends it is mixed with the cheapest treatment as any other plan.

    Raises:
        InputError: fewer than two folds; a price that is negative or not finite.
    """

    price: float = 1.0

    @property
    def money(self) -> bool:
        """False: surfaces say which treatment is chosen, and nothing of money."""
        return False

    def __post_init__(self) -> None:
        """Check the folds and the price."""
        super().__post_init__()
        if not 0 <= self.price < float("inf"):
            refuse("price", found=self.price, expected="a finite number of at least 0")

    def predict(self, params: Params, x: Array) -> Outcomes:
        """The network's preferences as revenue at no cost, [n, m] each: no budget changes the best of them."""
        f = predict_money(self.network, params, x).r
        return Outcomes(f, jnp.zeros_like(f))

    def _given(self, trial: Trial, hat: Outcomes) -> Array:
        rise, run = ((y[:, -1] - y[:, 0]).mean() for y in hat)
        lam = self.price * jnp.where(run > 0, rise / jnp.where(run > 0, run, 1), 0)
        surfaces = scores.aipw(trial, hat)
        return priced(Outcomes(surfaces.r, surfaces.c), lam)

    def _fit(self, key: Array, tasks: Sequence[Task], log: Log, seeds: Seeds) -> Params:
        return self.regressed(policy_loss, self._given, key, tasks, log, seeds)[0]
