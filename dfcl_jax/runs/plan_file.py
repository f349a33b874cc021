"""A plan by a policy for people in files of any size, in one pass and in memory that does not grow with them."""

import zlib
from collections.abc import Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jax import Array
from rich.console import Console

from dfcl_jax.data import Reading, Unlike
from dfcl_jax.data.parts import open_parts
from dfcl_jax.errors import refuse
from dfcl_jax.files import whole_file
from dfcl_jax.methods import Mixture, Policy
from dfcl_jax.methods.policy import BLOCK
from dfcl_jax.metrics import Expected, MixedCurve, SpendCurve
from dfcl_jax.report.terminal import say
from dfcl_jax.runs.newcomers import Newcomers, open_people
from dfcl_jax.runs.passes import passes
from dfcl_jax.runs.plan import foretold, remark, why_withheld
from dfcl_jax.types import Outcomes

BATCH = 2**17
DECIDED = ("treatment", "revenue", "cost")


class FilePlan(NamedTuple):
    """What a plan that was written is expected to bring, in money that was measured."""

    people: int
    budget: float  # per person
    risk: float | None  # that the true spend is above the budget, as asked for
    expected: Expected
    curve: SpendCurve | MixedCurve  # what the expectations rest on
    shares: dict[str, float]  # of each treatment
    unlike: Unlike  # how the people differ from those of the trial

    @property
    def foretold(self) -> dict[str, float]:
        """Multiplier, spend and revenue per person with intervals of 95%."""
        return foretold(self.expected, self.curve, self.people, tuple(self.shares))

    @property
    def rests_on(self) -> str:
        """Where the expectations come from."""
        return f"Spend and revenue are measured: estimated on {self.curve.people:,} people that no model was trained on"

    @property
    def remark(self) -> str:
        """What is out of the ordinary; empty where nothing is."""
        said = (
            remark(self.expected, self.curve, self.budget),
            why_withheld(self.expected, self.curve, tuple(self.shares)),
        )
        return "; ".join(filter(None, said))


def plan_people(
    source: Path,
    policy: Policy | Mixture,
    out: Path,
    *,
    budget: float,
    risk: float | None = None,
    key: Array | None = None,
    identity: str | None = None,
    keep: Sequence[str] = (),
    newcomers: Newcomers | None = None,
    reading: Reading | None = None,
    batch: int = BATCH,
    console: Console | None = None,
) -> FilePlan:
    """Decide by a policy for people whose features are in files, and write the plan.

    `out` has a row for each row of the data, in their order: the kept columns, `treatment` (a name) and, if the
    method predicts money, its predicted `revenue` and `cost`. It appears only when it is complete. The dice of a person
    depend on the number of the row in the data, or on `identity`, so the plan is the same however the files are cut.

    Args:
        source: a CSV or Parquet file, or a folder of parts (`data.parts.open_parts`), with the features of the policy.
        policy: of a table of features.
        out: the Parquet file to be, in a folder that exists.
        budget: cost per person.
        risk: probability of a true spend above the budget, see `SpendCurve.at`.
        key: of the dice; key 0 if not given.
        identity: column that tells people apart, whose text takes the place of the row's number.
        keep: columns to carry over.
        newcomers: how far people may differ from those of the trial; half of them in any one feature if not given.
        reading: how CSV files are written; found out if not given.
        batch: rows held in memory at a time, rounded up to whole blocks of `Policy.predict`.
        console: where progress is shown.

    Raises:
        InputError: before rows are read: `out` exists or cannot be written to, what `open_parts` refuses, a bad budget
            or risk, a budget below the estimated spend of the cheapest treatment; on the way: a feature that is not
            what it was in training, or a person without identity, by the row from 1 over all parts; too many people
            unlike those of the trial, as soon as that is certain.
    """
    check_output(out, keep)
    expected = policy.curve.at(budget, risk=risk)
    least = policy.curve.least_budget(risk)
    if least > budget:
        asked = f"{budget:.6g}" if risk is None else f"{budget:.6g} at risk {risk:g}"
        refuse("budget", found=asked, expected=f"at least {least:.6g}, the estimated spend of the cheapest treatment")
    people = open_people(source, policy, newcomers or Newcomers(), reading=reading)
    rows = people.parts.rows
    kept = open_parts(source, keep, reading=reading) if keep else None
    told_apart = open_parts(source, [identity], reading=reading) if identity is not None else None
    console, batch = console or Console(), whole_blocks(min(batch, rows))
    key = jax.random.key(0) if key is None else key
    money = policy.method.money
    schema = pa.schema([*(kept.schema if kept else ()), *decided_fields(money)])
    names, counts, different = pa.array(policy.arms), np.zeros(len(policy.arms), np.int64), None
    keeps = kept.batches(batch) if kept else repeat(None)
    identities = told_apart.batches(batch) if told_apart else repeat(None)
    with (
        whole_file(out, lambda sentence: say(console, sentence)) as partial,
        passes(rows, console) as over,
        pq.ParquetWriter(partial, schema) as writer,
    ):
        predicted = people.predicted(over("decide", people.parts.batches(batch)))
        for (before, outcomes, so_far), carried, who in zip(predicted, keeps, identities, strict=False):
            own = np.arange(before, before + outcomes.r.shape[-2]) if who is None else identity_rows(who, before=before)
            arm = policy.decide_by(expected.rule, outcomes, key, rows=own)
            columns = [*(carried.columns if carried else ()), names.take(pa.array(arm))]
            writer.write_table(
                pa.table(columns + (picked(policy.own(outcomes, own), arm) if money else []), schema=schema)
            )
            counts += np.bincount(arm, minlength=len(names))
            different = so_far
    shares = dict(zip(policy.arms, (counts / rows).tolist(), strict=True))
    assert different is not None  # there is at least one row
    return FilePlan(rows, budget, risk, expected, policy.curve, shares, different)


def identity_rows(batch: pa.Table, *, before: int) -> np.ndarray:
    """A number for each person of a batch with one column, [n] uint32: the CRC-32 of its text."""
    name, values = batch.column_names[0], batch.column(0).to_pylist()
    if None in values:
        refuse(f"column {name!r}, row {before + values.index(None) + 1}", found="a gap", expected="an identity")
    return np.fromiter((zlib.crc32(str(value).encode()) for value in values), np.uint32, len(values))


def check_output(out: Path, keep: Sequence[str]) -> None:
    """Refuse a plan that is there already or has nowhere to be, and kept columns named as its own."""
    if out.exists():
        refuse("plan", found=f"{out}, which exists", expected="a new file")
    if not out.parent.is_dir():
        refuse("plan", found=f"no folder {out.parent}", expected="one that exists")
    if taken := [column for column in keep if column in DECIDED]:
        refuse(f"kept column {taken[0]!r}", found="a name that the plan uses itself", expected="another column")


def whole_blocks(rows: int) -> int:
    """Rows rounded up to whole blocks: each person then has the same place in a block, however data are cut."""
    return -(-rows // BLOCK) * BLOCK


def decided_fields(money: bool) -> Iterator[pa.Field]:
    """Columns of what is decided."""
    kinds = (pa.string(), pa.float32(), pa.float32())
    return map(pa.field, DECIDED[: 3 if money else 1], kinds[: 3 if money else 1])


def picked(outcomes: Outcomes, arm: np.ndarray) -> list[np.ndarray]:
    """Revenue and cost at the decided treatments, [n] float32 each."""
    people = np.arange(len(arm))
    return [np.asarray(surface, np.float32)[people, arm] for surface in outcomes]
