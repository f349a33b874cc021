"""Opening a trial larger than memory: one pass that checks every row and learns the form of the trial."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from dfcl_jax.data.checked import finite, refuse_infinite, series
from dfcl_jax.data.columns import Columns
from dfcl_jax.data.delimited import Reading
from dfcl_jax.data.design import doubted_shares, in_order, known_costs, shared_propensities
from dfcl_jax.data.encode import Scaling, fit_encoder
from dfcl_jax.data.features import as_categories, chosen_features, feature_notes
from dfcl_jax.data.kinds import kind_of
from dfcl_jax.data.leaks import check_leaks
from dfcl_jax.data.parts import Parts, open_parts
from dfcl_jax.data.streamed import PIECE, Choice, StreamedTrial, clusters_of, own_propensities, row_weights
from dfcl_jax.data.tables import Table
from dfcl_jax.data.treatments import Level, arm_codes, levels_of, merged, treatments
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
    kinds = {name: set() for name in names if _is_text(parts.schema.field(name).type)}
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


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _expected(parts: Parts, names: tuple[str, ...], arms: tuple[str, ...]) -> np.ndarray:
    """The sum over all rows of each person's propensities, [m], once they are checked."""
    parts = parts._replace(schema=pa.schema([parts.schema.field(name) for name in dict.fromkeys(names)]))
    total = np.zeros(len(arms))
    for piece in parts.pieces(PIECE):
        total += own_propensities(piece, piece.before, names, arms).sum(axis=0, dtype=np.float64)
    return total
