import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dfcl_jax import InputError
from dfcl_jax.data import Columns, read_frame, trial_table

COLUMNS = Columns(treatment="arm", revenue="sales", cost="spend")
GOOD = pd.DataFrame(
    {
        "arm": [0, 1, 1, 0, 1, 0],
        "sales": [1.0, 2.5, 0.0, 4.0, 3.0, 0.5],
        "spend": [0.0, 0.5, 0.25, 0.0, 1.0, 0.0],
        "age": [20, 31, 42, 53, 64, 75],
        "region": ["north", "south", "south", "east", "north", "east"],
        "p_control": [0.5, 0.4, 0.3, 0.2, 0.6, 0.7],
        "p_treated": [0.5, 0.6, 0.7, 0.8, 0.4, 0.3],
    }
)


@pytest.mark.parametrize("name", ["trial.csv", "trial.csv.gz", "trial.parquet", "trial.pq", "TRIAL.CSV"])
def test_a_file_gives_the_same_table_as_the_frame_it_holds(tmp_path: Path, name: str):
    if name.lower().endswith((".parquet", ".pq")):
        GOOD.to_parquet(tmp_path / name)
    else:
        GOOD.to_csv(tmp_path / name, index=False)
    expected = trial_table(GOOD, COLUMNS)
    for source in (tmp_path / name, str(tmp_path / name)):
        table = trial_table(source, COLUMNS)
        pd.testing.assert_frame_equal(table.features, expected.features)
        for part, same in zip(table[1:5], expected[1:5], strict=True):
            np.testing.assert_array_equal(part, same)
        assert table.arms == expected.arms


def test_columns_say_which_column_is_what():
    table = trial_table(GOOD, COLUMNS)
    np.testing.assert_array_equal(table.t, GOOD.arm)
    # Halves and quarters are exact in float32.
    np.testing.assert_array_equal(table.r, GOOD.sales)
    np.testing.assert_array_equal(table.c, GOOD.spend)
    assert list(table.features) == ["age", "region", "p_control", "p_treated"]
    assert (table.t.dtype, table.r.dtype, table.c.dtype, table.p.dtype) == (np.int32, *[np.float32] * 3)


def test_named_features_alone_are_features_in_the_order_named():
    features = ("region", "age")
    table = trial_table(GOOD, Columns("arm", "sales", "spend", features=features))
    pd.testing.assert_frame_equal(table.features, GOOD[list(features)])


def test_the_index_of_a_frame_does_not_matter():
    table = trial_table(GOOD.set_index(pd.Index(range(100, 106))), COLUMNS)
    pd.testing.assert_frame_equal(table.features, trial_table(GOOD, COLUMNS).features)


def test_arms_given_as_codes_are_named_by_their_codes():
    assert trial_table(GOOD, COLUMNS).arms == ("0", "1")


def test_arms_given_as_names_are_numbered_by_their_mean_cost():
    # Mean cost of mail 0, of none (0.5 + 0.25 + 0) / 3, of call 1.
    table = trial_table(GOOD.assign(arm=["mail", "none", "none", "mail", "call", "none"]), COLUMNS)
    assert table.arms == ("mail", "none", "call")
    np.testing.assert_array_equal(table.t, [0, 1, 1, 0, 2, 1])


def test_arms_named_in_an_order_are_numbered_in_it():
    names = ("none", "mail", "call")
    frame = GOOD.assign(arm=["mail", "none", "none", "mail", "call", "none"])
    table = trial_table(frame, Columns("arm", "sales", "spend", arms=names))
    assert table.arms == names
    np.testing.assert_array_equal(table.t, [1, 0, 0, 1, 2, 0])


def test_codes_may_be_given_an_order_too():
    table = trial_table(GOOD, Columns("arm", "sales", "spend", arms=("1", "0")))
    np.testing.assert_array_equal(table.t, 1 - GOOD.arm)


def test_propensities_are_the_shares_of_the_table_where_none_are_given():
    table = trial_table(GOOD.assign(arm=[0, 1, 2, 2, 2, 1]), COLUMNS)
    np.testing.assert_array_equal(table.p, np.array([1 / 6, 2 / 6, 3 / 6], np.float32))


def test_propensities_given_as_numbers_are_the_same_for_everybody():
    table = trial_table(GOOD, Columns("arm", "sales", "spend", propensities=(0.25, 0.75)))
    np.testing.assert_array_equal(table.p, [0.25, 0.75])


def test_propensity_columns_are_propensities_of_each_person_and_no_features():
    table = trial_table(GOOD, Columns("arm", "sales", "spend", propensity_columns=("p_control", "p_treated")))
    np.testing.assert_array_equal(table.p, GOOD[["p_control", "p_treated"]].to_numpy(np.float32))
    assert list(table.features) == ["age", "region"]


def test_read_frame_leaves_other_columns_out_on_request():
    assert list(read_frame(GOOD, ["sales", "age", "sales"], only_required=True)) == ["sales", "age"]
    assert list(read_frame(GOOD, ["sales"])) == list(GOOD)


def _with(column: str, row: int, value: object) -> pd.DataFrame:
    values = GOOD[column].astype(object).tolist()
    values[row - 1] = value
    return GOOD.assign(**{column: values})


@pytest.mark.parametrize(
    ("frame", "columns", "words"),
    [
        (GOOD, Columns("arm", "income", "spend"), ["column 'income'", "found only arm, sales", "expected it"]),
        (GOOD, Columns("arm", "sales", "spend", features=("size",)), ["column 'size'", "found only", "expected"]),
        (_with("sales", 2, np.nan), COLUMNS, ["column 'sales', row 2", "nan", "expected a finite number"]),
        (_with("sales", 6, np.inf), COLUMNS, ["column 'sales', row 6", "inf", "expected a finite number"]),
        (_with("sales", 1, "4,5"), COLUMNS, ["column 'sales', row 1", "'4,5'", "expected a finite number"]),
        (_with("spend", 3, np.nan), COLUMNS, ["column 'spend', row 3", "nan", "expected a finite number"]),
        (_with("spend", 4, -np.inf), COLUMNS, ["column 'spend', row 4", "-inf", "expected a finite number"]),
        (_with("spend", 5, "free"), COLUMNS, ["column 'spend', row 5", "'free'", "expected a finite number"]),
        (_with("arm", 3, -1), COLUMNS, ["column 'arm', row 3", "-1", "whole number from 0"]),
        (_with("arm", 4, np.inf), COLUMNS, ["column 'arm', row 4", "inf", "a treatment"]),
        (_with("arm", 5, np.nan), COLUMNS, ["column 'arm', row 5", "nan", "a treatment"]),
        (GOOD.assign(arm=GOOD.sales), COLUMNS, ["column 'arm'", "6 different values in 6 rows", "codes from 0 to m-1"]),
        (
            _with("arm", 6, 2),
            Columns("arm", "sales", "spend", arms=("0", "1")),
            ["column 'arm', row 6", "found", "2", "expected one of 0, 1"],
        ),
        (
            GOOD.assign(arm=pd.Series(["a", "b", None, "a", "b", "a"])),
            COLUMNS,
            ["column 'arm', row 3", "found", "expected a treatment"],
        ),
        (
            GOOD.assign(arm=[0, 2, 2, 0, 2, 0]),
            Columns("arm", "sales", "spend", arms=("0", "1", "2")),
            ["column 'arm'", "no row of treatment 1", "all 3"],
        ),
        (
            GOOD,
            Columns("arm", "sales", "spend", arms=("0", "1", "2")),
            ["column 'arm'", "no row of treatment 2", "all 3"],
        ),
        (GOOD.assign(arm=0), COLUMNS, ["column 'arm'", "single treatment 0", "at least 2"]),
        (GOOD.assign(arm="mail"), COLUMNS, ["column 'arm'", "single treatment mail", "at least 2"]),
        (GOOD.iloc[:0], COLUMNS, ["table", "no rows", "at least one row"]),
        (_with("sales", 2, 1e39), COLUMNS, ["column 'sales', row 2", "1e+39", "1e+15"]),
        (GOOD, Columns("arm", "sales", "spend", arms=("0", "0")), ["arms: found 0, 0", "each treatment once"]),
        (GOOD, Columns("arm", "sales", "spend", features=("age", "sales")), ["feature 'sales'", "outcome"]),
        (
            GOOD.rename(columns={"region": "age"}),
            COLUMNS,
            ["column 'age': found it more than once", "different names"],
        ),
        (GOOD[["arm", "sales", "spend"]], COLUMNS, ["features", "none", "at least one column"]),
        (GOOD, Columns("arm", "sales", "spend", propensities=(1.5, -0.5)), ["propensities", "-0.5", "positive"]),
        (GOOD, Columns("arm", "sales", "spend", propensities=(1.0, 0.0)), ["propensities", "1  0", "positive"]),
        (GOOD, Columns("arm", "sales", "spend", propensities=(0.5, 0.4)), ["propensities", "0.5  0.4", "sum to 1"]),
        (GOOD, Columns("arm", "sales", "spend", propensities=(np.nan, 0.5)), ["propensities", "nan", "sum to 1"]),
        (
            GOOD,
            Columns("arm", "sales", "spend", propensities=(0.5, 0.25, 0.25)),
            ["propensities", "found 3", "2, one for each of 0, 1"],
        ),
        (
            GOOD,
            Columns("arm", "sales", "spend", propensity_columns=("p_control",)),
            ["propensities", "found 1", "2, one for each of 0, 1"],
        ),
        (
            _with("p_treated", 4, 0.7),
            Columns("arm", "sales", "spend", propensity_columns=("p_control", "p_treated")),
            ["propensities, row 4", "0.2  0.7", "sum to 1"],
        ),
        (
            _with("p_treated", 2, -0.6),
            Columns("arm", "sales", "spend", propensity_columns=("p_control", "p_treated")),
            ["propensities, row 2", "0.4  -0.6", "positive"],
        ),
        (
            _with("p_control", 3, np.nan),
            Columns("arm", "sales", "spend", propensity_columns=("p_control", "p_treated")),
            ["column 'p_control', row 3", "nan", "finite"],
        ),
        (
            GOOD,
            Columns("arm", "sales", "spend", propensity_columns=("p_control", "p_other")),
            ["column 'p_other'", "found only", "expected it"],
        ),
        (
            GOOD,
            Columns("arm", "sales", "spend", propensities=(0.5, 0.5), propensity_columns=("p_control", "p_treated")),
            ["propensities", "numbers and columns", "one of the two"],
        ),
    ],
)
def test_bad_input_is_refused_by_name_place_and_value(frame: pd.DataFrame, columns: Columns, words: list[str]):
    with pytest.raises(InputError) as refused:
        trial_table(frame, columns)
    message = str(refused.value)
    assert [word for word in words if word not in message] == [], message


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.csv", None, ["data file", "missing.csv", "expected a CSV or Parquet file"]),
        ("trial.xlsx", b"", ["trial.xlsx", "'.xlsx'", ".csv, .csv.gz, .parquet or .pq"]),
        ("trial.csv", b"", ["trial.csv", "unreadable", "expected a well-formed table"]),
        ("trial.csv", b"arm,sales\n", ["table", "no rows", "at least one row"]),
        ("trial.csv", b"arm,sales\n0,1\n0,1,2\n", ["trial.csv", "unreadable", "expected a well-formed table"]),
        ("trial.csv.gz", b"arm,sales\n0,1\n", ["trial.csv.gz", "unreadable", "expected a well-formed table"]),
        ("trial.parquet", b"arm,sales\n0,1\n", ["trial.parquet", "unreadable", "expected a well-formed table"]),
    ],
)
def test_a_bad_file_is_refused_by_name(tmp_path: Path, name: str, content: bytes | None, words: list[str]):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as refused:
        read_frame(tmp_path / name)
    message = str(refused.value)
    assert [word for word in words if word not in message] == [], message


def test_codes_may_be_written_as_decimals():
    columns = Columns("arm", "sales", "spend", arms=("0", "1"))
    np.testing.assert_array_equal(trial_table(GOOD.assign(arm=GOOD.arm.astype(float)), columns).t, GOOD.arm)


def test_a_treatment_may_be_called_none(tmp_path):
    frame = GOOD.assign(arm=["None", "mail", "mail", "None", "mail", "None"])
    frame.to_csv(tmp_path / "trial.csv", index=False)
    assert trial_table(tmp_path / "trial.csv", COLUMNS).arms == ("None", "mail")


def test_a_damaged_gzip_file_is_named(tmp_path):
    whole = gzip.compress(GOOD.to_csv(index=False).encode() * 50)
    file = tmp_path / "trial.csv.gz"
    file.write_bytes(whole[:40] + bytes(40) + whole[80:])
    with pytest.raises(InputError, match=r"data file .*trial\.csv\.gz: found unreadable"):
        read_frame(file)
