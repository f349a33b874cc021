"""A mixture of policies: the models of all folds are deployed as they were judged, each for its share of the people."""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from dfcl_jax.data import Encoder
from dfcl_jax.data.encode import NumericColumn
from dfcl_jax.methods.method import Method
from dfcl_jax.methods.policy import People, Policy
from dfcl_jax.metrics.spend_curve import MixedCurve
from dfcl_jax.solvers import Rule, dice
from dfcl_jax.types import Outcomes

# Seed of the dice that give each person a model; those that mix decisions must not depend on them.
_MODELS = 0x6D6F6465


class Mixture(NamedTuple):
    """K policies of one method, each of which decides for a K-th of the people at a multiplier of its own.

    The value and the spend of this mixture are the means of what the K policies bring and spend on the people whom
    their models have not seen: `study.prove` estimates exactly the policy that is deployed.
    """

    policies: tuple[Policy, ...]

    @property
    def method(self) -> Method:
        """The method of all policies."""
        return self.policies[0].method

    @property
    def arms(self) -> tuple[str, ...]:
        """[m] names of the treatments."""
        return self.policies[0].arms

    @property
    def curve(self) -> MixedCurve:
        """What the mixture spends and brings."""
        return MixedCurve(tuple(policy.curve for policy in self.policies))

    @property
    def encoder(self) -> Encoder | None:
        """The first policy's, with the ranges of all: it says whom training knew; each policy encodes by its own."""
        first = self.policies[0].encoder
        return None if first is None else _with_ranges(first, [policy.encoder for policy in self.policies])

    def __call__(
        self, people: People, budget: float, *, key: Array | None = None, risk: float | None = None
    ) -> np.ndarray:
        """Names of the treatments of n people, [n]: `decide`, with key 0 if none is given."""
        return np.asarray(self.arms)[self.decide(people, budget, jax.random.key(0) if key is None else key, risk=risk)]

    def decide(
        self, people: People, budget: float, key: Array, *, rows: np.ndarray | None = None, risk: float | None = None
    ) -> np.ndarray:
        """As `Policy.decide`, each person by the model that their dice draw."""
        return self.decide_by(self.curve.at(budget, risk=risk).rule, self.predict(people), key, rows=rows)

    def decide_by(
        self,
        rule: Rule,
        outcomes: Outcomes,
        key: Array,
        *,
        rows: np.ndarray | None = None,
        models: np.ndarray | None = None,
    ) -> np.ndarray:
        """`decide` for rules of the curve, leaves [K], and predictions of every model, [K, n, m] each.

        Args:
            rule: of `curve.at`.
            outcomes: of `predict`.
            key: of the dice that mix decisions.
            rows: identity of each person for the dice, [n] int.
            models: which model decides for each person, [n] int; the dice of `rows` draw it if not given.
        """
        rows = np.arange(outcomes.r.shape[1]) if rows is None else rows
        models = self._models(rows) if models is None else models
        own = jax.tree.map(lambda leaf: jnp.asarray(leaf)[models], rule)
        return self.policies[0].decide_by(own, _of(outcomes, models), key, rows=rows)

    def predict(self, people: People, *, clip: bool = False) -> Outcomes:
        """The surfaces of every model, [K, n, m] each; see `Policy.predict`."""
        each = [policy.predict(people, clip=clip) for policy in self.policies]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)

    def own(self, outcomes: Outcomes, rows: np.ndarray) -> Outcomes:
        """What each person's own model predicts, [n, m] each, of predictions of every model."""
        return _of(outcomes, self._models(rows))

    def _models(self, rows: np.ndarray) -> np.ndarray:
        drawn = _dice(jax.random.key(_MODELS), np.asarray(rows).astype(np.uint32))
        return np.minimum(np.floor(np.asarray(drawn) * len(self.policies)).astype(int), len(self.policies) - 1)


_dice = jax.jit(dice)


def _of(outcomes: Outcomes, models: np.ndarray) -> Outcomes:
    people = jnp.arange(outcomes.r.shape[1])
    return jax.tree.map(lambda surface: surface[jnp.asarray(models), people], outcomes)


def _with_ranges(first: Encoder, encoders: list[Encoder | None]) -> Encoder:
    columns = []
    for k, column in enumerate(first.columns):
        same = [encoder.columns[k] for encoder in encoders if encoder is not None]
        lows = [each.low for each in same if isinstance(each, NumericColumn) and each.low is not None]
        highs = [each.high for each in same if isinstance(each, NumericColumn) and each.high is not None]
        ranged = isinstance(column, NumericColumn) and lows and highs
        columns.append(replace(column, low=min(lows), high=max(highs)) if ranged else column)
    return Encoder(tuple(columns))
