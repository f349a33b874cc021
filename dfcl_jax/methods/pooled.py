"""Any method on observed people, alone or pooled with those of the trial, as if a design had treated them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jax import Array

from dfcl_jax.data import Task
from dfcl_jax.errors import check_option
from dfcl_jax.methods.decision import Decision
from dfcl_jax.methods.method import Log
from dfcl_jax.methods.observed import by_shares, in_memory, observed_of, pooled
from dfcl_jax.methods.two_stage import TwoStage
from dfcl_jax.models import Params
from dfcl_jax.types import Outcomes

Of = Literal["observed", "both"]
Propensities = Literal["shares", "given"]


@dataclass(frozen=True)
class Pooled:
    """A method that takes observed people for people of the trial (TSM-SL on OBS, and on RCT + OBS, of Bi-DFCL).

    With "shares" every treatment has its share among these people for propensity: the logging policy is ignored, as
    published. "given" uses the propensities that the logs state, as an importance-weighted method does. The checkpoint
    is chosen on the validation part of the trial in any case.

    Raises:
        InputError: an option that is none; when it learns, what `observed_of` refuses, or people who are streamed.
    """

    method: TwoStage | Decision
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
        return self.method.fit(key, self._pooled(task), log)

    def fit_many(self, key: Array, tasks: Sequence[Task], log: Log) -> Params:
        """`fit` of several seeds in one program, leaves [s, ...]."""
        return self.method.fit_many(key, [self._pooled(task) for task in tasks], log)

    def predict(self, params: Params, x: Array) -> Outcomes:
        """The method's predictions, [n, m] each."""
        return self.method.predict(params, x)

    def _pooled(self, task: Task) -> Task:
        people = in_memory(observed_of(task, "Pooled"), "Pooled")
        if self.of == "both":
            people = pooled(in_memory(task.train, "Pooled"), people)
        if self.propensities == "shares":
            people = by_shares(people)
        return task._replace(train=people, observed=None)
