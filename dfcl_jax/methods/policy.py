"""A policy: a trained method with its encoder and its spend curve. What is judged, saved and deployed is one."""

from collections.abc import Iterator
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

# People who are predicted for at a time, by one program whatever their number: it rounds everybody alike.
BLOCK = 8192

People = pd.DataFrame | np.ndarray | Array  # features, a table or a matrix [n, d]


class Policy(NamedTuple):
    """How people are decided for under a budget."""

    method: Method
    params: Params
    encoder: Encoder | None  # of a table's features; None: features are a matrix already
    arms: tuple[str, ...]  # [m] names of the treatments
    curve: SpendCurve  # estimated on people that no model was trained on

    def __call__(
        self, people: People, budget: float, *, key: Array | None = None, risk: float | None = None
    ) -> np.ndarray:
        """Names of the treatments of n people, [n]: `decide`, with key 0 if none is given."""
        return np.asarray(self.arms)[self.decide(people, budget, jax.random.key(0) if key is None else key, risk=risk)]

    def decide(
        self,
        people: People,
        budget: float,
        key: Array,
        *,
        rows: np.ndarray | None = None,
        risk: float | None = None,
    ) -> np.ndarray:
        """Treatments of n people, [n] int, for a budget that is met in money that was measured.

        Args:
            people: their features.
            budget: cost per person.
            key: of the dice that mix decisions.
            rows: identity of each person for the dice, [n] int; 0 to n - 1 if not given.
            risk: probability that the true spend is above the budget; see `SpendCurve.at`.

        Raises:
            InputError: a bad budget or risk, or what `predict` refuses.
        """
        rule = self.curve.at(budget, risk=risk).rule
        return self.decide_by(rule, self.predict(people), key, rows=rows)

    def decide_by(self, rule: Rule, outcomes: Outcomes, key: Array, *, rows: np.ndarray | None = None) -> np.ndarray:
        """`decide` for a rule of the curve and predictions that are there already."""
        rows = np.arange(outcomes.r.shape[0]) if rows is None else rows
        return np.asarray(_decide(outcomes, rule, key, np.asarray(rows).astype(np.uint32)))

    def predict(self, people: People, *, clip: bool = False) -> Outcomes:
        """The surfaces that decide, [n, m] each, in the money of the data.

        Args:
            people: their features.
            clip: whether numbers outside the range of training are moved to its ends; of a table.

        Raises:
            InputError: a column is missing or not what it was in training.
        """
        blocks = [_predict(self.method, self.params, block) for block in _blocks(self.features(people, clip=clip))]
        n = len(people)
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[:n], *blocks)

    def own(self, outcomes: Outcomes, rows: np.ndarray) -> Outcomes:
        """What decides for each of the people `rows`: all that was predicted, for there is one model."""
        del rows
        return outcomes

    def features(self, people: People, *, clip: bool = False) -> np.ndarray:
        """The matrix of features, [n, d]; with `clip`, see `predict`."""
        if not isinstance(people, pd.DataFrame):
            return np.asarray(people)
        if self.encoder is None:
            refuse("people", found="a table", expected="a matrix of features, as the policy was trained on")
        return encode(self.encoder, people, clip=clip)


def _blocks(x: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of x, `BLOCK` at a time, the last block filled up with zeros; one block of zeros where there are no rows."""
    for first in range(0, max(len(x), 1), BLOCK):
        block = x[first : first + BLOCK]
        yield np.pad(block, ((0, BLOCK - len(block)), (0, 0)))


@partial(jax.jit, static_argnums=0)
def _predict(method: Method, params: Params, block: Array) -> Outcomes:
    return method.predict(params, block)


@jax.jit
def _decide(outcomes: Outcomes, rule: Rule, key: Array, rows: Array) -> Array:
    return decide(outcomes, rule, dice(key, rows))
