"""One way to learn from the task of one seed and, in one program, from those of several."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from jax import Array

from dfcl_jax.data import Task
from dfcl_jax.methods.method import Log
from dfcl_jax.models import Params
from dfcl_jax.train import ALL_SEEDS, ONE_SEED, Seeds


class OverSeeds(ABC):
    """A method whose `_fit` learns from one task as from several; a class without it cannot be made."""

    def fit(self, key: Array, task: Task, log: Log) -> Params:
        """Nested dictionaries of networks' parameters with their units of money."""
        return self._fit(key, [task], log, ONE_SEED)

    def fit_many(self, key: Array, tasks: Sequence[Task], log: Log) -> Params:
        """`fit` of several seeds in one program, leaves [s, ...]."""
        return self._fit(key, tasks, log, ALL_SEEDS)

    @abstractmethod
    def _fit(self, key: Array, tasks: Sequence[Task], log: Log, seeds: Seeds) -> Params: ...
