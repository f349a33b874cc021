"""Data sets in folders, as platforms write them."""

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dfcl_jax import InputError
from dfcl_jax.data import Columns, open_trial, read_frame, trial_table
from dfcl_jax.data.layout import united
from dfcl_jax.data.parts import open_parts

ROWS = pd.DataFrame(
    {"arm": [0, 1] * 6, "sales": np.arange(12) / 4, "spend": [0.0, 0.5] * 6, "age": np.arange(12)[::-1] * 1.5}
)


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "tsv", "parquet", "pq"])
def test_a_folder_of_parts_is_the_table_that_was_cut(tmp_path: Path, ending: str):
    (tmp_path / "within").mkdir()
    for k, name in enumerate(("a", "b", "within/c")):
        part, file = ROWS.iloc[4 * k : 4 * k + 4], tmp_path / f"{name}.{ending}"
        if "sv" in ending:
            part.to_csv(file, index=False, sep="\t" if ending == "tsv" else ",")
        else:
            part.to_parquet(file)
    for passed_by in ("_SUCCESS", ".a.csv.crc", "_temporary/b.csv", ".hidden.parquet", "readme.txt"):
        (tmp_path / passed_by).parent.mkdir(exist_ok=True)
        (tmp_path / passed_by).write_text("no part")
    pd.testing.assert_frame_equal(read_frame(tmp_path), ROWS)
    columns = Columns("arm", "sales", "spend")
    table, trial = trial_table(tmp_path, columns), open_trial(tmp_path, columns).read()
    for part, same in zip(trial[1:5], table[1:5], strict=True):
        np.testing.assert_array_equal(part, same)


@pytest.mark.parametrize("csv", [True, False])
def test_folders_that_name_values_are_columns(tmp_path: Path, csv: bool):
    for k, (region, day) in enumerate(
        [("north", "2024-01-01"), ("s%C3%BCd", "2024-01-02"), ("__HIVE_DEFAULT_PARTITION__", "2024-01-03")]
    ):
        folder = tmp_path / f"day={day}" / f"region={region}" / f"week={k}"
        folder.mkdir(parents=True)
        part = ROWS.iloc[4 * k : 4 * k + 4]
        part.to_csv(folder / "part.csv", index=False) if csv else part.to_parquet(folder / "part.parquet")
    frame = read_frame(tmp_path)
    assert list(frame) == [*ROWS, "day", "region", "week"]
    assert frame.region.fillna("-").tolist() == ["north"] * 4 + ["süd"] * 4 + ["-"] * 4
    assert frame.week.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert frame.day.tolist() == [date(2024, 1, 1)] * 4 + [date(2024, 1, 2)] * 4 + [date(2024, 1, 3)] * 4
    only = open_parts(tmp_path, ["week"])
    assert pa.concat_tables(piece.table for piece in only.pieces(3))["week"].to_pylist() == frame.week.tolist()


INT, LONG, REAL, TEXT = pa.int32(), pa.int64(), pa.float64(), pa.string()
DAY, TIME, ZONED = pa.date32(), pa.timestamp("ns"), pa.timestamp("us", "Europe/Berlin")


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (LONG, LONG, LONG),
        (pa.null(), TEXT, TEXT),
        (INT, LONG, LONG),
        (LONG, REAL, REAL),
        (pa.float32(), LONG, REAL),
        (pa.decimal128(9, 2), LONG, REAL),
        (pa.bool_(), LONG, REAL),
        (TEXT, pa.large_string(), TEXT),
        (TEXT, pa.dictionary(pa.int8(), TEXT), TEXT),
        (DAY, TIME, pa.timestamp("us")),
        (TIME, ZONED, None),
        (TEXT, LONG, None),
        (DAY, LONG, None),
        (pa.list_(LONG), LONG, None),
    ],
)
def test_types_are_united_where_values_stay_what_they_are(a: pa.DataType, b: pa.DataType, expected: pa.DataType | None):
    assert united(a, b) == expected
    assert united(b, a) == expected


def test_parts_that_differ_harmlessly_are_read_as_one(tmp_path: Path):
    kinds = [{"age": pa.null(), "n": pa.int32()}, {"age": pa.int64(), "n": pa.int64()}, {"age": REAL, "n": pa.int16()}]
    for k, kind in enumerate(kinds):
        age = [None, None] if kind["age"] == pa.null() else [k, k + 1]
        pq.write_table(
            pa.table({"age": pa.array(age, kind["age"]), "n": pa.array([k, k], kind["n"])}), tmp_path / f"{k}.parquet"
        )
    frame = read_frame(tmp_path)
    np.testing.assert_array_equal(frame.age, [np.nan, np.nan, 1, 2, 2, 3])
    np.testing.assert_array_equal(frame.n, [0, 0, 1, 1, 2, 2])
    assert frame.n.dtype == np.int64


def test_csv_parts_of_any_types_are_texts_together(tmp_path: Path):
    for k, values in enumerate((["36", "38"], ["M", "L"], ["true", "false"])):
        (tmp_path / f"{k}.csv").write_text("size,n\n" + "".join(f"{value},{k}\n" for value in values))
    assert read_frame(tmp_path)["size"].tolist() == ["36", "38", "M", "L", "true", "false"]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a.parquet": {"x": [1]}, "b.csv": {"x": [1]}}, ["a.parquet and b.csv", "alone"]),
        ({"a.parquet": {"x": [1]}, "b.parquet": {"x": ["word"]}}, ["column 'x' of", "b.parquet", "int64, as in"]),
        ({"a.parquet": {"x": [1]}, "b.parquet": {"y": [1]}}, ["column 'x'", "found only y", "b.parquet"]),
        ({"a.csv": {"x": [1]}, "b.csv": {"y": [1]}}, ["column 'x'", "found only y", "b.csv"]),
        ({"k=1/a.csv": {"x": [1]}, "b.csv": {"x": [1]}}, ["k=1", "folders that name"]),
        ({"a.txt": {"x": [1]}}, ["no file that ends in"]),
        ({"a.parquet": {"x": []}}, ["no rows"]),
    ],
)
def test_parts_that_do_not_fit_together_are_refused_by_name(tmp_path: Path, files: dict, words: list[str]):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        frame = pd.DataFrame(content)
        frame.to_parquet(tmp_path / name) if name.endswith("parquet") else frame.to_csv(tmp_path / name, index=False)
    with pytest.raises(InputError) as refused:
        read_frame(tmp_path)
    message = str(refused.value)
    assert [word for word in words if word not in message] == [], message
