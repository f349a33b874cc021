"""A method is a way from a task to predictions that decide; a log is what it tells on the way."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeGuard, runtime_checkable

import jax
from jax import Array

from dfcl_jax.data import Task
from dfcl_jax.models import Params
from dfcl_jax.train import StageLog
from dfcl_jax.types import Outcomes, Trial


class Method(Protocol):
    """A frozen dataclass whose fields are its options, and its identity.

    Parameters are nested dictionaries of arrays: they are kept in files and read back without the method.
    """

    @property
    def money(self) -> bool:
        """Whether predictions are money; otherwise only the ranking of decisions counts."""
        ...

    def fit(self, key: Array, task: Task, log: "Log") -> Params:
        """Learn from a task; the same key and task give the same parameters."""
        ...

    def predict(self, params: Params, x: Array) -> Outcomes:
        """Surfaces that decide for people of features x [n, d], [n, m] each, in the money of the data."""
        ...


@runtime_checkable
class ManySeeds(Protocol):
    """A method that also learns from the tasks of several seeds in one program."""

    def fit_many(self, key: Array, tasks: Sequence[Task], log: "Log") -> Params:
        """Parameters with leaves [s, ...], each seed's those of `fit`."""
        ...


class Log(NamedTuple):
    """What a method tells while it learns, and what it need not learn again."""

    # (name of a stage of training, epochs, rows of an epoch) -> what the fit of that stage tells
    stage: Callable[[str, int, int], StageLog]
    # (method, key, tasks) -> parameters of each task: those of another method that this one starts from
    fitted: Callable[[Method, Array, Sequence[Task]], list[Params]]


def learns_together(method: Method, tasks: Sequence[Task]) -> TypeGuard[ManySeeds]:
    """Whether a method can learn from all tasks in one program: their rows are in memory, and equally many."""
    sources = [(task.train, task.observed) for task in tasks]
    in_memory = all(isinstance(source, Trial | None) for pair in sources for source in pair)
    observed = {0 if logs is None else logs.rows for _, logs in sources}
    return isinstance(method, ManySeeds) and in_memory and len(observed) <= 1


def fit_each(method: Method, key: Array, tasks: Sequence[Task], log: Log) -> list[Params]:
    """Parameters of each task, learned in one program where the method can and the tasks are in memory."""
    if len(tasks) > 1 and learns_together(method, tasks):
        many = method.fit_many(key, tasks, log)
        return [jax.tree.map(lambda leaf, k=k: leaf[k], many) for k in range(len(tasks))]
    return [method.fit(key, task, log) for task in tasks]


def _fitted(method: Method, key: Array, tasks: Sequence[Task]) -> list[Params]:
    return fit_each(method, key, tasks, SILENT)


# Tells nothing and keeps nothing.
SILENT = Log(lambda name, epochs, rows: StageLog(), _fitted)
