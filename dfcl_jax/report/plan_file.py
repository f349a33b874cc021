"""A budgeted plan for a Parquet data set of any size, in memory that does not grow with it."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from dfcl_jax.data.encode import NumericColumn
from dfcl_jax.data.parts import Parts, finite, numbered, open_parts, refuse_infinite
from dfcl_jax.errors import refuse
from dfcl_jax.report.passes import Pass, passes
from dfcl_jax.report.predictor import Predictor
from dfcl_jax.solvers import check_budgets
from dfcl_jax.solvers.streamed import decide, find_cut
from dfcl_jax.types import Outcomes

BATCH = 2**17
DECIDED = ("treatment", "revenue", "cost")


class FilePlan(NamedTuple):
    """What a plan that was written is predicted to bring, per person."""

    n: int  # people
    budget: float
    lam: float  # multiplier; 0 where the budget does not bind
    spend: float  # at most the budget
    value: float  # revenue
    bound: float  # no plan within the budget is predicted to bring more
    shares: dict[str, float]  # of each treatment

    @property
    def gap(self) -> float:
        """Bound - value: how much better a plan could be at most."""
        return self.bound - self.value


def plan_predictions(
    source: Path,
    out: Path,
    *,
    budget: float,
    revenue: Sequence[str],
    cost: Sequence[str],
    arms: Sequence[str] = (),
    keep: Sequence[str] = (),
    batch: int = BATCH,
    console: Console | None = None,
) -> FilePlan:
    """Plan for people whose predicted revenue and cost at each treatment are in a Parquet data set, and write the plan.

    max_z sum_ij z_ij r_ij  s.t.  sum_ij z_ij c_ij <= n B  (DFCL, D1): the plan of `solvers.allocate(..., top_ups=0)`,
    in three passes over the rows, two of which find the multiplier exactly (`solvers.streamed.find_cut`). `out` has a
    row for each row of the data, in their order: the kept columns, `treatment` (a name), and `revenue` and `cost` as
    predicted at it. It appears only when it is complete.

    Args:
        source: a Parquet file or a folder of parts (`data.parts.open_parts`).
        out: the Parquet file to be, in a folder that exists.
        budget: cost per person.
        revenue: column of each treatment's revenue, [m].
        cost: column of each treatment's cost, [m].
        arms: names of the treatments, [m]; "0" to "m-1" if not given.
        keep: columns to carry over.
        batch: rows held in memory at a time.
        console: where progress is shown.

    Raises:
        InputError: before rows are read: `out` exists or cannot be written to, what `open_parts` refuses, lists of
            unequal length, a negative budget; on the way: a revenue or cost that is not a finite number, by its row
            from 1 over all parts, or a budget below the cheapest plan.
    """
    arms = tuple(arms) or tuple(map(str, range(len(revenue))))
    if len(revenue) != len(cost) or len(revenue) < 2:
        found = f"{len(revenue)} revenue and {len(cost)} cost columns"
        refuse("predictions", found=found, expected="one of each for every treatment, of which there are at least 2")
    if len(set(arms)) < len(arms) or len(arms) != len(revenue):
        refuse("arms", found=", ".join(arms), expected=f"{len(revenue)} different names, one for each revenue column")
    _check(out, budget, keep)
    columns = (*revenue, *cost)
    parts = open_parts(source, columns, numeric=columns)
    kept = open_parts(source, keep) if keep else None
    predictions = _Predictions(parts, tuple(revenue), tuple(cost), arms, min(batch, parts.rows))
    with _partial(out) as partial, passes(parts.rows, console) as over:
        plan = _plan(predictions, kept, budget, partial, over)
        _move(partial, out)
    return plan


def plan_people(
    source: Path,
    predictor: Predictor,
    out: Path,
    *,
    budget: float,
    keep: Sequence[str] = (),
    batch: int = BATCH,
    console: Console | None = None,
) -> FilePlan:
    """Plan for people whose features are in a Parquet data set, by a trained model.

    Predictions are made once and kept beside `out` until the end, 8 m bytes a person: people are then decided for by
    the very numbers that the multiplier was found with, and features are read and encoded once instead of three times.

    Args:
        source: a Parquet file or a folder of parts that has the features which the model was trained on.
        predictor: the model.
        out: the plan, as of `plan_predictions`; the others likewise.

    Raises:
        InputError: as `plan_predictions`; a model without a table of features; a feature that is not what it was.
    """
    if predictor.encoder is None:
        refuse("model", found="one of a simulated trial, whose features have no names", expected="one of a table")
    _check(out, budget, keep)
    columns = predictor.encoder.columns
    numeric = [column.name for column in columns if isinstance(column, NumericColumn)]
    people = open_parts(source, [column.name for column in columns], numeric=numeric)
    kept = open_parts(source, keep) if keep else None
    batch = min(batch, people.rows)
    revenue, cost = (tuple(f"{role} {j}" for j in range(len(predictor.arms))) for role in ("revenue", "cost"))
    schema = pa.schema([(name, pa.float32()) for name in revenue + cost])
    with _partial(out) as partial, _partial(out, "predictions") as file, passes(people.rows, console) as over:
        # Predictions neither repeat nor compress.
        with pq.ParquetWriter(file, schema, compression="none", use_dictionary=False) as writer:
            for before, table in numbered(over("predict", people.batches(batch))):
                for name in numeric:
                    refuse_infinite(table, name, before=before)
                writer.write_table(_predicted(predictor, table, batch, schema))
        predictions = _Predictions(open_parts(file, schema.names), revenue, cost, predictor.arms, batch)
        plan = _plan(predictions, kept, budget, partial, over)
        _move(partial, out)
    return plan


class _Predictions(NamedTuple):
    """Predicted outcomes in a Parquet data set."""

    parts: Parts
    revenue: tuple[str, ...]  # columns, [m]
    cost: tuple[str, ...]
    arms: tuple[str, ...]
    batch: int

    def batches(self, stage: str, over: Pass) -> Iterator[tuple[Outcomes, int]]:
        """All people, `batch` at a time, the last batch filled up with zeros; and how many they are."""
        for before, table in numbered(over(stage, self.parts.batches(self.batch))):
            surfaces = np.zeros((2, self.batch, len(self.arms)), np.float32)
            for surface, columns in zip(surfaces, (self.revenue, self.cost), strict=True):
                for j, column in enumerate(columns):
                    surface[: table.num_rows, j] = finite(table, column, before=before)
            yield Outcomes(*map(jnp.asarray, surfaces)), table.num_rows


def _check(out: Path, budget: float, keep: Sequence[str]) -> None:
    check_budgets(budget)
    if out.exists():
        refuse("plan", found=f"{out}, which exists", expected="a new file")
    if not out.parent.is_dir():
        refuse("plan", found=f"no folder {out.parent}", expected="one that exists")
    if taken := [column for column in keep if column in DECIDED]:
        refuse(f"kept column {taken[0]!r}", found="a name that the plan uses itself", expected="another column")


@contextmanager
def _partial(out: Path, *part: str) -> Iterator[Path]:
    """A file beside `out`, gone in the end unless it was moved."""
    path = out.with_name(".".join(["", out.name, *part, "partial"]))
    try:
        path.touch(exist_ok=False)
    except OSError as error:
        found = f"{path}, which cannot be made ({error.strerror})"
        refuse("plan", found=found, expected="a place to write to, which no other run uses")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _move(partial: Path, out: Path) -> None:
    with open(partial, "rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, out)


def _predicted(predictor: Predictor, table: pa.Table, batch: int, schema: pa.Schema) -> pa.Table:
    # One shape compiles once: the last row stands in for those that the last batch lacks.
    rows = np.minimum(np.arange(batch), table.num_rows - 1)
    outcomes = predictor(table.take(rows).to_pandas())
    surfaces = np.concatenate([np.asarray(surface, np.float32).T for surface in outcomes])[:, : table.num_rows]
    return pa.table(list(surfaces), schema=schema)


def _plan(predictions: _Predictions, kept: Parts | None, budget: float, partial: Path, over: Pass) -> FilePlan:
    stages = iter(("multiplier, upper half", "multiplier, lower half"))
    n, arms = predictions.parts.rows, predictions.arms
    cut = find_cut(lambda: (outcomes for outcomes, _ in predictions.batches(next(stages), over)), n, budget)
    ours = (pa.string(), pa.float32(), pa.float32())
    schema = pa.schema([*(kept.schema if kept else ()), *map(pa.field, DECIDED, ours)])
    keeps = kept.batches(predictions.batch) if kept else repeat(None)
    names, totals, counts = pa.array(arms), np.zeros(3), np.zeros(len(arms), np.int64)
    with pq.ParquetWriter(partial, schema) as writer:
        for (outcomes, rows), keep in zip(predictions.batches("decide", over), keeps, strict=False):
            arm, cut = decide(outcomes, cut)
            arm, people = arm[:rows], np.arange(rows)
            r, c = (np.asarray(surface)[:rows] for surface in outcomes)
            decided = r[people, arm], c[people, arm]
            columns = [*(keep.columns if keep else ()), names.take(pa.array(arm)), *decided]
            writer.write_table(pa.table(columns, schema=schema))
            score = r - cut.lam * c.astype(np.float64)
            regret = score.max(axis=1) - score[people, arm]
            totals += [part.sum(dtype=np.float64) for part in (*decided, regret)]
            counts += np.bincount(arm, minlength=len(arms))
    value, spend, regret = (totals / n).tolist()
    # lam B + mean max_j (r_ij - lam c_ij), without the difference of large numbers.
    bound = value + cut.lam * (cut.budget - spend) + regret
    shares = dict(zip(arms, (counts / n).tolist(), strict=True))
    return FilePlan(n, budget, cut.lam, spend, value, bound, shares)
