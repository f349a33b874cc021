"""Opening a trial larger than memory: one pass that checks every row and learns the form of the trial."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from dfcl_jax.data.checked import finite, refuse_infinite, series
from dfcl_jax.data.columns import Columns
from dfcl_jax.data.coverage import covered
from dfcl_jax.data.delimited import Reading
from dfcl_jax.data.design import doubted_shares, in_order, known_costs, refuse_number, shared_propensities
from dfcl_jax.data.encode import Encoder, Scaling, fit_encoder
from dfcl_jax.data.features import as_categories, chosen_features, feature_notes
from dfcl_jax.data.kinds import is_text, kind_of
from dfcl_jax.data.leaks import check_leaks
from dfcl_jax.data.parts import Parts, open_parts
from dfcl_jax.data.streamed import PIECE, Choice, StreamedTrial, clusters_of, own_propensities, row_weights
from dfcl_jax.data.tables import Table
from dfcl_jax.data.treatments import Level, arm_codes, hinted, levels_of, merged, treatments
from dfcl_jax.data.unlike import unlike
from dfcl_jax.errors import refuse

# With more rows than batches are usually drawn from, the order of a CSV file matters.
_MIXED = 2**19


def open_trial(
    path: Path | str,
    columns: Columns,
    *,
    like: StreamedTrial | None = None,
    scaling: Scaling = "standard",
    sample: int = 2**18,
    reading: Reading | None = None,
    training: Choice | None = None,
) -> StreamedTrial:
    """Find a trial in a data set; unless it is `like` another, read it once, to check it and to learn from it.

    The pass checks every row, counts treatments and their costs, and keeps every k-th row, about `sample` of them from
    all over the data, which the encoder is fitted on (`fit_encoder`) and leaks are looked for in (`check_leaks`). With
    at most `sample` rows that is the encoder of all rows. With more, its medians, means and scales are estimates to
    about 1 / sqrt(sample) of a standard deviation, a gap in a column whose sample had none is filled but not flagged,
    and a level that was not in the sample is all zeros.

    Args:
        path: a CSV or Parquet file, or a folder of parts (`data.parts.open_parts`).
        columns: which column is what.
        like: a trial whose encoder, treatments and propensities are taken over, as for a validation part. Rows are then
            checked when they are read.
        scaling: of the encoder.
        sample: rows to fit the encoder on.
        reading: how CSV files are written; found out if not given.
        training: rows that the values of the encoder are learned from, as `data.rows.part_of(seed, fractions, 0)`; all
            if not given. The trial that is returned has all rows.

    Raises:
        InputError: what `open_parts`, `fit_encoder` and `trial_table` refuse; rows are named with their file.
    """
    path = Path(path)
    if like is not None:
        return _like(path, columns, like, reading)
    names = open_parts(path, reading=reading).schema.names if not columns.features else ()
    needed = [*columns.roles, *columns.of_rows, *columns.features_among([*columns.roles, *names])]
    parts = open_parts(path, needed, numeric=columns.numbers, reading=reading)
    seen = _seen(parts, columns, -(-parts.rows // sample))
    features, left_out = chosen_features(seen.sample, columns, seen.rows)
    given = treatments(seen.levels, columns)
    p, expected, own = None, np.zeros(0), ()
    if columns.propensity_columns:
        refuse_number("propensities", columns.propensity_columns, hinted(given.arms, given.counts))
        own = in_order("propensities", columns.propensity_columns, given.arms, stated=given.stated)
        expected = _expected(parts, own, given.arms)
    else:
        p = shared_propensities(columns, given)
        expected = p.astype(np.float64)
    designed = bool(columns.propensities or columns.propensity_columns)
    costs, costs_noted = known_costs(columns, given)
    mixed = [name for name in features if name in seen.mixed]
    frame = as_categories(seen.sample[features], (*columns.categorical, *mixed))
    fitted_on = np.arange(len(frame)) if training is None else np.flatnonzero(training(seen.rows))
    table = Table(
        features=frame,
        t=arm_codes(seen.sample[columns.treatment], given.arms),
        r=seen.sample[columns.revenue].to_numpy(np.float32),
        c=seen.sample[columns.cost].to_numpy(np.float32),
        p=np.zeros((len(frame), len(given.arms)), np.float32) if p is None else p,
        arms=given.arms,
    )
    order = (
        "rows of a CSV file meet in a batch only as far as the buffer reaches: Parquet files are mixed by row groups"
    )
    csv = [order] if parts.rows > _MIXED and any(one.delimited for one in parts.sources.values()) else []
    return StreamedTrial(
        parts=parts,
        columns=columns,
        encoder=fit_encoder(frame, fitted_on, scaling=scaling),
        arms=given.arms,
        p=p,
        propensity_columns=own,
        known_costs=costs,
        notes=(
            *given.notes,
            *costs_noted,
            *(doubted_shares(given, expected) if designed else ()),
            *parts.notes,
            *csv,
            *left_out,
            *feature_notes(frame),
        ),
        leaks=tuple(check_leaks(table)),
        mean_weight=seen.weight / parts.rows,
        clusters=clusters_of(parts, columns.cluster) if columns.cluster else None,
    )


def open_observed(
    path: Path | str, columns: Columns, *, encoder: Encoder, arms: tuple[str, ...], reading: Reading | None = None
) -> StreamedTrial:
    """Find the logs of a policy in a data set, and read them once: every row is checked, and what they cover counted.

    They have the treatment, outcomes and features of a trial. Why somebody had a treatment need not be known: for
    propensities stand the shares of treatments. `notes` say how the logged people differ from the trial's (`unlike`),
    and of whom the logs say nothing (`data.coverage`).

    Args:
        path: a CSV or Parquet file, or a folder of parts.
        columns: which column of the trial is what.
        encoder: of the trial.
        arms: names of the trial's treatments.
        reading: how CSV files are written; found out if not given.

    Raises:
        InputError: what `open_parts` refuses; a treatment that is none of the trial's; an outcome or a feature that
            cannot be read as the trial's was; a category none of whose levels the trial has.
    """
    columns = replace(columns, propensities=(), propensity_columns=(), costs=(), cluster="", weight="")
    names = [column.name for column in encoder.columns]
    parts = open_parts(Path(path), [*columns.roles, *names], numeric=columns.roles[1:], reading=reading)
    uniform = np.full(len(arms), 1 / len(arms), np.float32)
    logs = StreamedTrial(parts, columns, encoder, arms, uniform)
    counts, differs, coverage = np.zeros(len(arms), int), None, None
    for piece in parts.pieces(PIECE):
        trial = logs.of_piece(piece)
        features = piece.table.select(names).to_pandas()
        coverage = coverage or covered(encoder, arms, features)
        coverage = coverage.adding(features, np.asarray(trial.t))
        counts += np.bincount(trial.t, minlength=len(arms))
        found = unlike(encoder, features)
        differs = found if differs is None else differs + found
    assert differs is not None
    assert coverage is not None
    for name, share in differs.shares(clip=True).items():
        if name in differs.levels and share == 1:
            levels = ", ".join(level for level, _ in differs.levels[name].most_common(3))
            refuse(
                f"feature {name!r} of the logs", found=f"only levels that the trial has not: {levels}", expected="its"
            )
    given = ", ".join(f"{arm} {count:,}" for arm, count in zip(arms, counts, strict=True))
    # A treatment that nobody had weighs nothing, whatever its propensity.
    shares = np.where(counts > 0, counts / counts.sum(), uniform).astype(np.float32)
    notes = (f"{parts.rows:,} people by treatment: {given}", *parts.notes, *differs.sentences(), *coverage.sentences())
    return logs._replace(p=shares, notes=notes)


def _like(path: Path, columns: Columns, like: StreamedTrial, reading: Reading | None) -> StreamedTrial:
    needed = [*columns.roles, *columns.of_rows, *(column.name for column in like.encoder.columns)]
    parts = open_parts(path, needed, numeric=columns.numbers, reading=reading)
    same = columns.propensity_columns == like.columns.propensity_columns
    own = like.propensity_columns if same else columns.propensity_columns
    return like._replace(
        parts=parts,
        columns=columns,
        propensity_columns=own,
        notes=parts.notes,
        leaks=(),
        keep=None,
        kept=None,
        clusters=clusters_of(parts, columns.cluster) if columns.cluster else None,
    )


class _Seen(NamedTuple):
    """What the pass over all rows has seen."""

    levels: dict[str, Level]  # of the treatment
    sample: pd.DataFrame  # treatment, revenue, cost and features of every k-th row
    rows: np.ndarray  # their numbers
    mixed: set[str]  # columns of texts that are of several kinds in different places
    weight: float  # of all rows together


def _seen(parts: Parts, columns: Columns, every: int) -> _Seen:
    levels, kept, numbers, total = {}, [], [], 0.0
    names = [name for name in parts.schema.names if name not in columns.propensity_columns]
    kinds = {name: set() for name in names if is_text(parts.schema.field(name).type)}
    for piece in parts.pieces(PIECE):
        file, before, table, start = piece
        r, c = (finite(table, column, before=before, file=file) for column in columns.roles[1:3])
        weight = row_weights(piece, before, columns.weight)
        total += table.num_rows if weight is None else float(weight.sum(dtype=np.float64))
        treatment = series(table, columns.treatment)
        levels = merged(levels, levels_of(treatment, c, before=before, file=file))
        for name in names:
            # Texts are looked at once they are known to be numbers.
            if pa.types.is_floating(table.schema.field(name).type):
                refuse_infinite(table, name, before=before, file=file)
        for name, found in kinds.items():
            if "category" not in found and table[name].null_count < table.num_rows:
                found.add(kind_of(series(table, name)))
        own = slice(-start % every, None, every)
        rows = np.arange(table.num_rows)[own]
        frame = table.select(names).take(rows).to_pandas()
        kept.append(frame.assign(**{columns.revenue: r[own], columns.cost: c[own]}))
        numbers.append(start + rows)
    sample = pd.concat([frame for frame in kept if len(frame)], ignore_index=True)
    mixed = {name for name, found in kinds.items() if len(found | {kind_of(sample[name])}) > 1}
    if not total > 0:
        refuse(f"column {columns.weight!r}", found="only zeros", expected="a weight above 0")
    return _Seen(levels, sample, np.concatenate(numbers), mixed, total)


def _expected(parts: Parts, names: tuple[str, ...], arms: tuple[str, ...]) -> np.ndarray:
    """The sum over all rows of each person's propensities, [m], once they are checked."""
    parts = parts._replace(schema=pa.schema([parts.schema.field(name) for name in dict.fromkeys(names)]))
    total = np.zeros(len(arms))
    for piece in parts.pieces(PIECE):
        total += own_propensities(piece, piece.before, names, arms).sum(axis=0, dtype=np.float64)
    return total
