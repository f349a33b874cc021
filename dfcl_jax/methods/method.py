"""A method is a way from a task to predictions that decide; a log is what it tells on the way."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeGuard, runtime_checkable

import jax
from jax import Array

from dfcl_jax.data import StreamedTrial, Task
from dfcl_jax.errors import refuse
from dfcl_jax.models import Params
from dfcl_jax.train import StageLog
from dfcl_jax.types import Outcomes, Source, Trial


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


@runtime_checkable
class Weighs(Protocol):
    """A method that says whether it counts a row as many people as its weight says; others take rows alike."""

    @property
    def weighs(self) -> bool:
        """Whether it does."""
        ...


class Log(NamedTuple):
    """What a method tells while it learns, and what it need not learn again."""

    # (name of a stage of training, epochs, rows of an epoch) -> what the fit of that stage tells
    stage: Callable[[str, int, int], StageLog]
    # (method, key, tasks) -> parameters of each task: those of another method that this one starts from
    fitted: Callable[[Method, Array, Sequence[Task]], list[Params]]


def learns_together(method: Method, tasks: Sequence[Task]) -> TypeGuard[ManySeeds]:
    """Whether a method can learn from all tasks in one program: their rows are in memory, and equally many."""
    in_memory = all(isinstance(source, Trial | None) for task in tasks for source in (task.train, task.observed))
    return isinstance(method, ManySeeds) and in_memory and len(set(map(_shape, tasks))) <= 1


def one_program_each(method: Method, tasks: Sequence[Task]) -> list[list[Task]]:
    """The tasks in groups that one program learns from: those of equally many rows, if the method can, in order."""
    groups: dict[tuple[int, ...], list[Task]] = {}
    for k, task in enumerate(tasks):
        alone = not learns_together(method, [task])
        groups.setdefault((k,) if alone else _shape(task), []).append(task)
    return list(groups.values())


def _shape(task: Task) -> tuple[int, ...]:
    """Rows of training, validation and observed parts."""
    return tuple(0 if source is None else source.rows for source in (task.train, task.valid, task.observed))


def check_weighs(method: Method, tasks: Sequence[Task], name: str = "") -> None:
    """Refuse a method that takes rows alike where they stand for different numbers of people.

    Raises:
        InputError: a task whose rows have weights, for a method that does not weigh rows.
    """
    weighed = any(source is not None and has_weights(source) for task in tasks for source in (task.train, task.valid))
    if weighed and not weighs(method):
        what = f"weights of rows for {name or type(method).__name__}"
        refuse(what, found="a method that takes all rows alike", expected="methods that weigh rows, or no weights")


def weighs(method: Method) -> bool:
    """Whether a method counts rows by their weights."""
    return isinstance(method, Weighs) and method.weighs


def has_weights(source: Source) -> bool:
    """Whether rows stand for different numbers of people."""
    if isinstance(source, StreamedTrial):
        return bool(source.columns.weight)
    return isinstance(source, Trial) and source.weight is not None


def fit_each(method: Method, key: Array, tasks: Sequence[Task], log: Log) -> list[Params]:
    """Parameters of each task, learned in one program where the method can and the tasks are in memory."""
    check_weighs(method, tasks)
    if len(tasks) > 1 and learns_together(method, tasks):
        many = method.fit_many(key, tasks, log)
        return [jax.tree.map(lambda leaf, k=k: leaf[k], many) for k in range(len(tasks))]
    groups = one_program_each(method, tasks)
    if len(groups) == len(tasks):
        return [method.fit(key, task, log) for task in tasks]
    learned = {
        id(task): params
        for group in groups
        for task, params in zip(group, fit_each(method, key, group, log), strict=True)
    }
    return [learned[id(task)] for task in tasks]


def _fitted(method: Method, key: Array, tasks: Sequence[Task]) -> list[Params]:
    return fit_each(method, key, tasks, SILENT)


# Tells nothing and keeps nothing.
SILENT = Log(lambda name, epochs, rows: StageLog(), _fitted)
