"""One rule of types, whatever a table came from."""

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dfcl_jax.data import encode, fit_encoder, read_frame
from dfcl_jax.data.kinds import days, kind_of, numbers, texts

DAY = 19_723.0  # 2024-01-01


@pytest.mark.parametrize(
    ("values", "kind", "read"),
    [
        ([1, 2, None], "number", [1, 2, np.nan]),
        ([Decimal("1.25"), None, Decimal("-3")], "number", [1.25, np.nan, -3]),
        (pd.array([1, None, 3], "Int64"), "number", [1, np.nan, 3]),
        (pd.array([0.5, None, 3], "Float64"), "number", [0.5, np.nan, 3]),
        ([True, False, None], "number", [1, 0, np.nan]),
        (pd.array([True, None, False], "boolean"), "number", [1, np.nan, 0]),
        (["true", "FALSE", None], "number", [1, 0, np.nan]),
        (["1", "2.5", None], "number", [1, 2.5, np.nan]),
        (["1e3", " 7 "], "number", [1000, 7]),
        ([None, None], "number", [np.nan, np.nan]),
        (pd.to_timedelta([36, 12], unit="h"), "number", [1.5, 0.5]),
        ([date(2024, 1, 1), None], "date", [DAY, np.nan]),
        ([datetime(2024, 1, 2, 12), None], "date", [DAY + 1.5, np.nan]),
        (pd.to_datetime(["2024-01-01 06:00", "NaT"]), "date", [DAY + 0.25, np.nan]),
        (pd.to_datetime(["2024-01-01 02:00+02:00", "NaT"]), "date", [DAY, np.nan]),
        (["2024-01-01", "2024-01-02 12:00", None], "date", [DAY, DAY + 1.5, np.nan]),
        (["2024-01-01T00:00:00Z", "2023-12-31"], "date", [DAY, DAY - 1]),
        (["36", "38", "M", None], "category", ["36", "38", "M", None]),
        ([36, 38.0, "M", None], "category", ["36", "38", "M", None]),
        (pd.Categorical([1, 2, None]), "category", ["1", "2", None]),
        (["May", "2024-01-01"], "category", ["May", "2024-01-01"]),
        (["2024-02-30", "2024-02-01"], "category", ["2024-02-30", "2024-02-01"]),
    ],
)
def test_the_kind_of_a_column_and_its_values(values, kind: str, read: list):
    column = pd.Series(values)
    assert kind_of(column) == kind
    found = {"number": numbers, "date": days, "category": texts}[kind](column)
    np.testing.assert_array_equal(found, np.array(read, object if kind == "category" else float))


def test_a_level_is_written_alike_in_every_type():
    for values in ([36, 38], [36.0, 38.0], np.array([36, 38], np.float32), ["36", "38"], [Decimal(36), Decimal("38")]):
        assert texts(pd.Series(values)).tolist() == ["36", "38"]
    assert texts(pd.Series(np.array([0.05], np.float32))).tolist() == ["0.05"]


def tables(seed: int) -> pd.DataFrame:
    """Sixty rows of columns of all kinds, each with a gap with probability a half."""
    rng, n = np.random.default_rng(seed), 60
    columns = {
        "whole": rng.integers(0, 9, n),
        "real": rng.normal(size=n).round(3),
        "price": [Decimal(int(cents)) / 100 for cents in rng.integers(1, 9999, n)],
        "member": rng.random(n) < 0.5,
        "region": rng.choice(["north", "süd", "a,b", 'c"d'], n),
        "size": rng.choice(["36", "38", "M", "L"], n),
        "since": [date.fromordinal(738_886 + int(day)) for day in rng.integers(0, 900, n)],
        "seen": pd.to_datetime("2024-01-01") + pd.to_timedelta(rng.integers(0, 10**6, n), unit="s"),
        "count": pd.array(rng.integers(0, 99, n), "Int64"),
    }
    frame = pd.DataFrame(
        {name: pd.Series(values, dtype=getattr(values, "dtype", object)) for name, values in columns.items()}
    )
    for name in frame.columns:
        if rng.random() < 0.5:
            frame[name] = frame[name].astype(object).where(np.arange(n) != rng.integers(n), None)
            if name in ("whole", "real", "count"):
                frame[name] = frame[name].astype("Float64")
    return frame


@pytest.mark.parametrize("seed", range(20))
def test_a_table_is_encoded_alike_from_memory_csv_and_parquet(tmp_path: Path, seed: int):
    frame, rows = tables(seed), np.arange(60)
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_csv(tmp_path / "cp1252.csv.gz", index=False, encoding="cp1252")
    expected = fit_encoder(frame, rows)
    for name in ("a.csv", "cp1252.csv.gz", "a.parquet"):
        read = read_frame(tmp_path / name)
        encoder = fit_encoder(read, rows)
        assert encoder == expected
        np.testing.assert_array_equal(encode(encoder, read), encode(expected, frame))


@pytest.mark.parametrize("seed", range(5))
def test_a_table_with_decimal_commas_is_encoded_alike(tmp_path: Path, seed: int):
    frame, rows = tables(seed), np.arange(60)
    frame = frame.assign(real=frame.real.astype(float)).drop(columns=["price", "count", "whole"])
    frame.to_csv(tmp_path / "a.csv", index=False, sep=";", decimal=",", encoding="cp1252")
    assert fit_encoder(read_frame(tmp_path / "a.csv"), rows) == fit_encoder(frame, rows)


def test_a_number_is_a_category_where_that_is_said():
    frame = pd.DataFrame({"shop": [1, 2, 1, 3], "age": [1, 2, 3, 4]})
    assert fit_encoder(frame, np.arange(4), categorical=["shop"]).names == ["shop=1", "shop=2", "shop=3", "age"]


def test_what_says_that_a_value_is_missing_is_a_gap_in_every_form_of_a_table(tmp_path: Path):
    signs = ["NA", "", " ", r"\N", "#DIV/0!", " null "]
    frame = pd.DataFrame({"x": ["1.5", "2", *signs], "word": ["None", "-", *signs], "n": range(8)})
    frame["level"] = pd.Categorical(frame.word)
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    for source in (frame, tmp_path / "a.csv", tmp_path / "a.parquet"):
        read = read_frame(source)
        assert kind_of(read.x) == "number"
        np.testing.assert_array_equal(numbers(read.x), [1.5, 2, *[np.nan] * 6])
        for name in ("word", "level"):
            assert texts(read[name]).tolist() == ["None", "-", *[None] * 6]


def test_sizes_among_numbers_are_levels():
    sizes = pd.DataFrame({"size": [36, 38, "M", "L"]})
    encoder = fit_encoder(sizes, np.arange(4))
    assert encoder.names == ["size=36", "size=38", "size=L", "size=M"]
    np.testing.assert_array_equal(encode(encoder, pd.DataFrame({"size": ["36", "M"]})), np.eye(4)[[0, 3]])
    np.testing.assert_array_equal(encode(encoder, pd.DataFrame({"size": [36.0, 38.0]})), np.eye(4)[:2])
