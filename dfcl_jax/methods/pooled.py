"""Any method on observed people, alone or pooled with those of the trial, as if a design had treated them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import jax
from jax import Array

from dfcl_jax.data import Task
from dfcl_jax.errors import check_option
from dfcl_jax.methods.method import Log, Method, fit_each
from dfcl_jax.methods.observed import by_shares, in_memory, observed_of, pooled
from dfcl_jax.methods.propensities import with_learned_propensities
from dfcl_jax.models import Params
from dfcl_jax.types import Outcomes, stack

Of = Literal["observed", "both"]
Propensities = Literal["shares", "given", "learned"]


@dataclass(frozen=True)
class Pooled:
    """A method that takes observed people for people of the trial (TSM-SL on OBS, and on RCT + OBS, of Bi-DFCL).

    With "shares" every treatment has its share among these people for propensity: the logging policy is ignored, as
    published. "given" uses the propensities that the logs state, as an importance-weighted method does, and "learned"
    those that a network learns of all people together, `with_learned_propensities`: no log need state them. Either is
    right if what the logs' policy looked at is among the features. The checkpoint is chosen on the validation part of
    the trial in any case.

    Raises:
        InputError: an option that is none; when it learns, what `observed_of` refuses, or people who are streamed.
    """

    method: Method
    of: Of = "both"
    propensities: Propensities = "shares"

    def __post_init__(self) -> None:
        """Check the options."""
        check_option("of", self.of, Of)
        check_option("propensities", self.propensities, Propensities)

    @property
    def money(self) -> bool:
        """Whether the method's predictions are money."""
        return self.method.money

    def fit(self, key: Array, task: Task, log: Log) -> Params:
        """The method's parameters."""
        key = self._own(key)
        return self.method.fit(key, self._pooled(key, task), log)

    def fit_many(self, key: Array, tasks: Sequence[Task], log: Log) -> Params:
        """`fit` of several seeds in one program, leaves [s, ...]."""
        key = self._own(key)
        return stack(fit_each(self.method, key, [self._pooled(key, task) for task in tasks], log))

    def predict(self, params: Params, x: Array) -> Outcomes:
        """The method's predictions, [n, m] each."""
        return self.method.predict(params, x)

    def _own(self, key: Array) -> Array:
        """Another key for other people, so that what a method starts from is not taken for that of others."""
        number = len(get_args(Propensities)) * get_args(Of).index(self.of)
        return jax.random.fold_in(key, 1 + number + get_args(Propensities).index(self.propensities))

    def _pooled(self, key: Array, task: Task) -> Task:
        people = in_memory(observed_of(task, "Pooled"), "Pooled")
        if self.of == "both":
            people = pooled(in_memory(task.train, "Pooled"), people)
        if self.propensities == "shares":
            people = by_shares(people)
        if self.propensities == "learned":
            people = with_learned_propensities(jax.random.fold_in(key, task.seed), people)
        return task._replace(train=people, observed=None)
