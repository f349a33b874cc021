"""A task is all that a method may see; an exam is what it may not."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from dfcl_jax.data.encode import Encoder, Scaling, encode, fit_encoder
from dfcl_jax.data.simulate import Simulation
from dfcl_jax.data.tables import Table
from dfcl_jax.data.treatments import hinted
from dfcl_jax.errors import refuse
from dfcl_jax.types import Outcomes, Source, Trial, take


class Task(NamedTuple):
    """All that a method may see."""

    train: Source  # people to learn from: a `Trial`, or a `StreamedTrial` where there are more than memory holds
    valid: Trial  # people to choose a checkpoint by
    budgets: tuple[float, ...]  # cost per person that matter
    seed: int = 0  # number of the task among those of a study: what is random in a fit differs between seeds
    observed: Source | None = None  # people treated as a policy chose, not at random
    costs: tuple[float, ...] = ()  # what each treatment is known to cost, whoever has it; NaN, or none: estimated


class Exam(NamedTuple):
    """What a method may not see: it judges the policies, and meters their spend."""

    test: Trial
    truth: Outcomes | None  # true expected outcomes of the test people, in a simulation


class Split(NamedTuple):
    """A trial cut into a task and its exam."""

    task: Task
    exam: Exam
    encoder: Encoder | None = None  # of the features; None where they came as a matrix
    test_rows: np.ndarray | None = None  # [n_test] rows of the table in the exam

    @property
    def rows(self) -> np.ndarray:
        """[n_test] `test_rows` of a split of a table in memory, which always has them."""
        assert self.test_rows is not None
        return self.test_rows


def with_budgets(splits: Sequence[Split], budgets: Sequence[float]) -> list[Split]:
    """The same splits with tasks for these budgets."""
    return [split._replace(task=split.task._replace(budgets=tuple(map(float, budgets)))) for split in splits]


def split_rows(n: int, seed: int, fractions: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows 0..n-1 in random order, cut into training, validation and test rows.

    Raises:
        InputError: a negative seed, fractions that are not positive with sum 1, or too few rows for three parts.
    """
    if seed < 0:
        refuse("seed", found=seed, expected="at least 0")
    check_fractions(fractions)
    order = np.random.default_rng(seed).permutation(n)
    first, second = round(n * fractions[0]), round(n * (fractions[0] + fractions[1]))
    parts = order[:first], order[first:second], order[second:]
    if min(map(len, parts)) == 0:
        refuse("table", found=f"{n} rows", expected="enough rows for training, validation and test parts")
    return parts


def check_fractions(fractions: tuple[float, float, float]) -> None:
    """Refuse fractions of three parts that are not positive with sum 1."""
    if not (min(fractions) > 0 and abs(sum(fractions) - 1) < 1e-9):
        refuse("fractions", found=fractions, expected="three positive numbers that sum to 1")


def split_table(
    table: Table,
    seed: int,
    *,
    budgets: Sequence[float] = (),
    fractions: tuple[float, float, float] = (0.6, 0.1, 0.3),
    scaling: Scaling = "standard",
) -> Split:
    """Split a table by seed, with features encoded as its training rows say.

    Raises:
        InputError: what `split_rows` and `fit_encoder` refuse, or a training part without rows of a treatment.
    """
    return split_at(table, seed, split_rows(len(table.t), seed, fractions), budgets=budgets, scaling=scaling)


def split_at(
    table: Table,
    seed: int,
    rows: tuple[np.ndarray, np.ndarray, np.ndarray],
    *,
    budgets: Sequence[float] = (),
    scaling: Scaling = "standard",
) -> Split:
    """Split a table at training, validation and test `rows`, with features encoded as its training rows say.

    Raises:
        InputError: what `fit_encoder` refuses, or a training part without rows of a treatment.
    """
    counts = np.bincount(table.t[rows[0]], minlength=len(table.arms))
    if (counts == 0).any():
        whole = np.bincount(table.t, minlength=len(table.arms))
        empty = hinted(table.arms, whole)[int(np.argmin(counts))]
        expected = f"rows of each: more than the table's {len(table.t)}, or a larger training part"
        refuse(f"training part of seed {seed}", found=f"no row of treatment {empty}", expected=expected)
    encoder = fit_encoder(table.features, rows[0], scaling=scaling)
    x = encode(encoder, table.features)
    whole = table_trial(table, x)
    train, valid, test = (take(whole, jnp.asarray(part)) for part in rows)
    task = Task(train, valid, tuple(budgets), seed, costs=tuple(table.known_costs))
    return Split(task, Exam(test, None), encoder, rows[2])


def table_trial(table: Table, x: np.ndarray) -> Trial:
    """The rows of a table with their encoded features x [n, d]."""
    of_rows = (table.weight, table.cluster)
    weight, cluster = (None if part is None else jnp.asarray(part) for part in of_rows)
    return Trial(*map(jnp.asarray, (x, table.t, table.r, table.c, table.p)), weight=weight, cluster=cluster)


def split_simulation(
    simulation: Simulation, n_train: int, n_valid: int, *, budgets: Sequence[float] = (), seed: int = 0
) -> Split:
    """Cut a simulation, whose people are already in random order, and keep the truth of its test part."""
    trial, truth = simulation
    cut = n_train + n_valid
    train, valid = take(trial, jnp.arange(n_train)), take(trial, jnp.arange(n_train, cut))
    exam = Exam(take(trial, jnp.arange(cut, trial.rows)), Outcomes(truth.r[cut:], truth.c[cut:]))
    return Split(Task(train, valid, tuple(budgets), seed), exam)
