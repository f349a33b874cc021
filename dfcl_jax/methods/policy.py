"""A policy: a trained method with its encoder and its spend curve. What is judged, saved and deployed is one."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array

from dfcl_jax.data import Encoder, encode
from dfcl_jax.errors import refuse
from dfcl_jax.methods.method import Method
from dfcl_jax.metrics import SpendCurve
from dfcl_jax.models import Params
from dfcl_jax.solvers import Rule, decide, dice
from dfcl_jax.types import Outcomes

# People whose decisions are computed at a time: one shape compiles once, and rounds everybody alike.
BLOCK = 8192


class Policy(NamedTuple):
    """How people are decided for under a budget."""

    method: Method
    params: Params
    encoder: Encoder | None  # of a table's features; None: features are a matrix already
    arms: tuple[str, ...]  # [m] names of the treatments
    curve: SpendCurve  # estimated on people that no model was trained on

    def predict(self, people: pd.DataFrame | np.ndarray | Array) -> Outcomes:
        """The surfaces that decide, [n, m] each, in the money of the data.

        Raises:
            InputError: a column is missing or not what it was in training.
        """
        x = self.features(people)
        n = x.shape[0]
        blocks = jnp.pad(x, ((0, -n % BLOCK), (0, 0))).reshape(-1, BLOCK, x.shape[1])
        return jax.tree.map(
            lambda leaf: leaf.reshape(-1, leaf.shape[-1])[:n], _predict(self.method, self.params, blocks)
        )

    def features(self, people: pd.DataFrame | np.ndarray | Array) -> Array:
        """The matrix of features, [n, d]."""
        if isinstance(people, pd.DataFrame):
            if self.encoder is None:
                refuse("people", found="a table", expected="a matrix of features, as the policy was trained on")
            return jnp.asarray(encode(self.encoder, people))
        return jnp.asarray(people)

    def decide(
        self,
        people: pd.DataFrame | np.ndarray | Array,
        budget: float,
        key: Array,
        *,
        rows: np.ndarray | None = None,
        risk: float | None = None,
    ) -> np.ndarray:
        """Treatments of n people, [n] int, for a budget that is met in money that was measured.

        Args:
            people: their features, a table or a matrix [n, d].
            budget: cost per person.
            key: of the dice that mix decisions.
            rows: identity of each person for the dice, [n] int; 0 to n - 1 if not given.
            risk: probability that the true spend is above the budget; see `SpendCurve.at`.

        Raises:
            InputError: a bad budget or risk, or what `predict` refuses.
        """
        outcomes = self.predict(people)
        return self.decide_by(self.curve.at(budget, risk=risk).rule, outcomes, key, rows=rows)

    def decide_by(self, rule: Rule, outcomes: Outcomes, key: Array, *, rows: np.ndarray | None = None) -> np.ndarray:
        """`decide` for a rule of the curve and predictions that are there already."""
        rows = np.arange(outcomes.r.shape[0]) if rows is None else rows
        return np.asarray(_decide(outcomes, rule, key, jnp.asarray(rows, jnp.uint32)))

    def __call__(self, people: pd.DataFrame, budget: float, *, key: Array | None = None) -> np.ndarray:
        """Names of the treatments of n people, [n]: `decide` with key 0 if none is given."""
        return np.asarray(self.arms)[self.decide(people, budget, jax.random.key(0) if key is None else key)]


@partial(jax.jit, static_argnums=0)
def _predict(method: Method, params: Params, blocks: Array) -> Outcomes:
    return jax.lax.map(partial(method.predict, params), blocks)


@jax.jit
def _decide(outcomes: Outcomes, rule: Rule, key: Array, rows: Array) -> Array:
    return decide(outcomes, rule, dice(key, rows))
