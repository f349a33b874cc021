"""The exact plan for people in files of any size, by predicted money, in memory that does not grow with them."""

from collections.abc import Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from dfcl_jax.data import Reading, Unlike
from dfcl_jax.data.parts import Parts, finite, numbered, open_parts
from dfcl_jax.errors import refuse
from dfcl_jax.files import scratch_beside, scratch_file, whole_file
from dfcl_jax.methods import Mixture, Policy
from dfcl_jax.report.terminal import say
from dfcl_jax.runs.newcomers import Newcomers, open_people
from dfcl_jax.runs.passes import Pass, passes
from dfcl_jax.runs.plan_file import (
    BATCH,
    check_output,
    decided_fields,
    picked,
    whole_blocks,
)
from dfcl_jax.solvers import check_budgets
from dfcl_jax.solvers.streamed import decide, find_cut
from dfcl_jax.types import Outcomes


class PredictedPlan(NamedTuple):
    """What a plan that was written is predicted to bring, per person."""

    people: int
    budget: float
    lam: float  # multiplier; 0 where the budget does not bind
    spend: float  # predicted, at most the budget
    value: float  # predicted revenue
    bound: float  # no plan within the budget is predicted to bring more
    shares: dict[str, float]  # of each treatment
    unlike: Unlike | None = None  # how the people differ from those of the policy's trial

    @property
    def gap(self) -> float:
        """Bound - value: how much better a plan could be at most."""
        return self.bound - self.value

    @property
    def rests_on(self) -> str:
        """Where the numbers come from."""
        return "Spend and revenue are predicted, not measured: what is truly spent depends on how good predictions are"


def plan_predictions(
    source: Path,
    out: Path,
    *,
    budget: float,
    revenue: Sequence[str],
    cost: Sequence[str],
    arms: Sequence[str] = (),
    keep: Sequence[str] = (),
    reading: Reading | None = None,
    batch: int = BATCH,
    console: Console | None = None,
) -> PredictedPlan:
    """Plan for people whose predicted revenue and cost at each treatment are in files, and write the plan.

    max_z sum_ij z_ij r_ij  s.t.  sum_ij z_ij c_ij <= n B  (DFCL, D1): the plan of `solvers.allocate(..., top_ups=0)`,
    in three passes over the rows, two of which find the multiplier exactly (`solvers.streamed.find_cut`). `out` has a
    row for each row of the data, in their order: the kept columns, `treatment` (a name), and `revenue` and `cost` as
    predicted at it. It appears only when it is complete.

    Args:
        source: a CSV or Parquet file, or a folder of parts (`data.parts.open_parts`).
        out: the Parquet file to be, in a folder that exists.
        budget: predicted cost per person.
        revenue: column of each treatment's revenue, [m].
        cost: column of each treatment's cost, [m].
        arms: names of the treatments, [m]; "0" to "m-1" if not given.
        keep: columns to carry over.
        reading: how CSV files are written; found out if not given.
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
    check_budgets(budget)
    check_output(out, keep)
    columns = (*revenue, *cost)
    parts = open_parts(source, columns, numeric=columns, reading=reading)
    kept = open_parts(source, keep, reading=reading) if keep else None
    predictions = _Predictions(parts, tuple(revenue), tuple(cost), arms, min(batch, parts.rows))
    console = console or Console()
    with whole_file(out, _say(console)) as partial, passes(parts.rows, console) as over:
        return _plan(predictions, kept, budget, partial, over)


def plan_people_by_predictions(
    source: Path,
    policy: Policy | Mixture,
    out: Path,
    *,
    budget: float,
    keep: Sequence[str] = (),
    newcomers: Newcomers | None = None,
    reading: Reading | None = None,
    batch: int = BATCH,
    console: Console | None = None,
) -> PredictedPlan:
    """`plan_predictions` of what a policy's method predicts for people whose features are in files.

    Predictions are made once and kept beside `out` until the end, 8 m bytes a person: people are then decided for by
    the very numbers that the multiplier was found with.

    Args:
        source: a CSV or Parquet file, or a folder of parts, with the features of the policy.
        policy: of a table of features; its spend curve is not used.
        newcomers: how far people may differ from those of the trial; half of them in any one feature if not given.
        out: the plan; the others as of `plan_predictions`.

    Raises:
        InputError: as `plan_predictions` and `plan_people`; a method that does not predict money.
    """
    if isinstance(policy, Mixture):
        found = f"a mixture of {len(policy.policies)} models, which predict different money"
        refuse("policy", found=found, expected="one model, or a plan by measured money")
    if not policy.method.money:
        found = f"{type(policy.method).__name__}, which does not predict money"
        refuse("method", found=found, expected="one that does, or a plan by measured money")
    check_budgets(budget)
    check_output(out, keep)
    people = open_people(source, policy, newcomers or Newcomers(), reading=reading)
    rows, different = people.parts.rows, None
    kept = open_parts(source, keep, reading=reading) if keep else None
    revenue, cost = (tuple(f"{role} {j}" for j in range(len(policy.arms))) for role in ("revenue", "cost"))
    schema = pa.schema([(name, pa.float32()) for name in revenue + cost])
    console, batch = console or Console(), whole_blocks(min(batch, rows))
    with (
        whole_file(out, _say(console)) as partial,
        scratch_file(scratch_beside(out, "predictions.parquet"), _say(console)) as file,
        passes(rows, console) as over,
    ):
        # Predictions neither repeat nor compress.
        with pq.ParquetWriter(file, schema, compression="none", use_dictionary=False) as writer:
            for _, surfaces, so_far in people.predicted(over("predict", people.parts.batches(batch))):
                columns = np.concatenate([np.asarray(surface, np.float32).T for surface in surfaces])
                writer.write_table(pa.table(list(columns), schema=schema))
                different = so_far
        predictions = _Predictions(open_parts(file, schema.names), revenue, cost, policy.arms, batch)
        return _plan(predictions, kept, budget, partial, over)._replace(unlike=different)


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


def _plan(predictions: _Predictions, kept: Parts | None, budget: float, partial: Path, over: Pass) -> PredictedPlan:
    stages = iter(("multiplier, upper half", "multiplier, lower half"))
    n, arms = predictions.parts.rows, predictions.arms
    cut = find_cut(lambda: (outcomes for outcomes, _ in predictions.batches(next(stages), over)), n, budget)
    schema = pa.schema([*(kept.schema if kept else ()), *decided_fields(money=True)])
    keeps = kept.batches(predictions.batch) if kept else repeat(None)
    names, totals, counts = pa.array(arms), np.zeros(3), np.zeros(len(arms), np.int64)
    with pq.ParquetWriter(partial, schema) as writer:
        for (outcomes, rows), carried in zip(predictions.batches("decide", over), keeps, strict=False):
            arm, cut = decide(outcomes, cut)
            arm, decided = arm[:rows], [column[:rows] for column in picked(outcomes, arm)]
            r, c = (np.asarray(surface)[:rows] for surface in outcomes)
            columns = [*(carried.columns if carried else ()), names.take(pa.array(arm)), *decided]
            writer.write_table(pa.table(columns, schema=schema))
            score = r - cut.lam * c.astype(np.float64)
            regret = score.max(axis=1) - score[np.arange(rows), arm]
            totals += [part.sum(dtype=np.float64) for part in (*decided, regret)]
            counts += np.bincount(arm, minlength=len(arms))
    value, spend, regret = (totals / n).tolist()
    # lam B + mean max_j (r_ij - lam c_ij), without the difference of large numbers.
    bound = value + cut.lam * (cut.budget - spend) + regret
    shares = dict(zip(arms, (counts / n).tolist(), strict=True))
    return PredictedPlan(n, budget, cut.lam, spend, value, bound, shares)


def _say(console: Console):
    return lambda sentence: say(console, sentence)
