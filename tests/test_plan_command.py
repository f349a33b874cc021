from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from dfcl_jax.runs import command

ROLES = ("--revenue", "r0", "r1", "--cost", "c0", "c1")
# Slopes 1/1, 2/1, ..., 8/1: a budget of 0.5 buys the four steepest.
PEOPLE = pd.DataFrame(
    {"id": np.arange(8), "r0": 0.0, "r1": np.arange(1.0, 9), "c0": 0.0, "c1": 1.0, "city": list("abcdefgh")}
)


@pytest.fixture(scope="module")
def plan(experiment) -> ModuleType:
    return experiment("plan")


def _with(column: str, row: int, value: object) -> pd.DataFrame:
    values = PEOPLE[column].tolist()
    values[row - 1] = value
    return PEOPLE.assign(**{column: values})


def test_a_plan_is_written_and_summarised(plan, tmp_path, monkeypatch, capsys):
    PEOPLE.to_parquet(tmp_path / "people.parquet")
    out = tmp_path / "plan.parquet"
    options = ["--predictions", str(tmp_path / "people.parquet"), *ROLES, "--arms", "none", "coupon", "--keep", "id"]
    monkeypatch.setattr("sys.argv", ["plan.py", *options, "--budget", "0.55", "--out", str(out)])
    command(plan.main, plan.Config)
    written = pq.read_table(out).to_pandas()
    assert written.id.tolist() == list(range(8))
    assert written.treatment.tolist() == ["none"] * 4 + ["coupon"] * 4
    assert written.revenue.tolist() == [0, 0, 0, 0, 5, 6, 7, 8]
    assert written.cost.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    said = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    # lam B + mean max(0, r - lam) at lam 4 is 2.2 + 10/8.
    for line in (
        "people 8",
        "budget 0.55",
        "predicted spend 0.5",
        "% of the budget 90.9091",
        "predicted revenue 3.25",
        "no plan above 3.45",
        "gap 0.2",
        "lam 4",
        "share none 0.5000",
        "share coupon 0.5000",
        "Spend and revenue are predicted, not measured: what is truly spent depends on how good predictions are.",
        f"Written to {out}",
    ):
        assert line in said, said
    assert [line for line in said if line.startswith("decide: 8 rows in ")]


def _refused(plan, monkeypatch, capsys, options: list[str], words: list[str]) -> None:
    monkeypatch.setattr("sys.argv", ["plan.py", *options])
    with pytest.raises(SystemExit) as ended:
        command(plan.main, plan.Config)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.index("\n") == len(error) - 1, error
    assert [word for word in words if word not in error] == [], error


SOURCE = ["--predictions", "people.parquet"]
BUDGET = ["--budget", "0.5"]


@pytest.mark.parametrize(
    ("frame", "options", "words"),
    [
        (PEOPLE.drop(columns="c1"), [], ["column 'c1'", "found only id, r0, r1, c0, city", "people.parquet"]),
        (PEOPLE, ["--keep", "name"], ["column 'name'", "found only id, r0"]),
        (PEOPLE, ["--keep", "cost"], ["kept column 'cost'", "a name that the plan uses itself"]),
        (PEOPLE, ["--cost", "c0", "city"], ["column 'city', row 1", "found 'a'", "a finite number"]),
        (PEOPLE, ["--cost", "c0"], ["2 revenue and 1 cost columns", "one of each for every treatment"]),
        (PEOPLE, ["--revenue", "r0", "--cost", "c0"], ["1 revenue and 1 cost columns", "at least 2"]),
        (PEOPLE, ["--arms", "a"], ["arms", "found a", "2 different names"]),
        (PEOPLE, ["--arms", "a", "a"], ["arms", "found a, a", "2 different names"]),
        (_with("r1", 7, np.nan), [], ["column 'r1', row 7", "a finite number"]),
        (_with("c1", 8, np.inf), [], ["column 'c1', row 8", "found inf", "a finite number"]),
        (_with("c1", 3, 1e300), [], ["column 'c1', row 3", "found 1e+300", "a finite number of at most 1e+15"]),
        (PEOPLE[:0], [], ["people.parquet", "no rows", "at least one"]),
        (PEOPLE, ["--budget", "-1"], ["budget", "found -1.0", "at least 0"]),
        (PEOPLE, ["--budget", "nan"], ["budget", "found nan", "a finite number"]),
        (PEOPLE.assign(c0=2.0, c1=2.0), [], ["budget", "found 0.5", "at least 2, the spend of the cheapest plan"]),
        (PEOPLE, ["--out", "nowhere/plan.parquet"], ["plan", "no folder nowhere", "one that exists"]),
        (PEOPLE, ["--out", "people.parquet"], ["plan", "people.parquet, which exists", "a new file"]),
        (PEOPLE, ["--people", "people.parquet"], ["--predictions, --people", "one of the two"]),
        (PEOPLE, ["--policy", "folder"], ["--policy", "beside --predictions"]),
        (PEOPLE, ["--risk", "0.1"], ["--risk", "beside --predictions"]),
        (PEOPLE, ["--predictions", "nobody.parquet"], ["data", "nothing at nobody.parquet", "Parquet"]),
        (PEOPLE, ["--predictions", "."], ["data folder", "no file that ends in .parquet or .pq"]),
        (PEOPLE, ["--predictions", "text.parquet"], ["data file text.parquet", "unreadable", "well-formed"]),
    ],
)
def test_bad_input_ends_in_one_line_and_writes_nothing(
    plan, tmp_path, monkeypatch, capsys, frame: pd.DataFrame, options: list[str], words: list[str]
):
    monkeypatch.chdir(tmp_path)
    frame.to_parquet("people.parquet")
    if "." in options:
        Path("people.parquet").rename("people.table")
    if "text.parquet" in options:
        Path("text.parquet").write_text("no Parquet")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    _refused(plan, monkeypatch, capsys, [*SOURCE, *ROLES, *BUDGET, "--out", "plan.parquet", *options], words)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([*ROLES], ["--predictions, --people", "None and None", "one of the two"]),
        (["--people", "people.parquet"], ["--policy", "found none", "the folder of a policy, beside --people"]),
        (["--people", "people.parquet", "--policy", "run"], ["policy file run/policy.json", "a saved policy's file"]),
        (["--people", "people.parquet", "--arms", "a", "b"], ["--arms", "beside --people"]),
    ],
)
def test_options_that_do_not_go_together_are_named(plan, tmp_path, monkeypatch, capsys, options, words):
    monkeypatch.chdir(tmp_path)
    PEOPLE.to_parquet("people.parquet")
    _refused(plan, monkeypatch, capsys, [*options, *BUDGET, "--out", "plan.parquet"], words)


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (PEOPLE.drop(columns="r1"), ["column 'r1'", "found only id, r0, c0", "parts/1.parquet"]),
        (PEOPLE.assign(id=list("abcdefgh")), ["column 'id' of parts/1.parquet", "string", "int64"]),
        (_with("r1", 2, np.nan), ["column 'r1', row 10", "a finite number"]),
    ],
)
def test_a_part_that_differs_is_named_and_rows_count_over_all_parts(
    plan, tmp_path, monkeypatch, capsys, second: pd.DataFrame, words: list[str]
):
    monkeypatch.chdir(tmp_path)
    Path("parts").mkdir()
    for k, frame in enumerate((PEOPLE, second)):
        frame.to_parquet(f"parts/{k}.parquet")
    options = ["--predictions", "parts", *ROLES, *BUDGET, "--keep", "id", "--out", "plan.parquet"]
    _refused(plan, monkeypatch, capsys, options, words)
    assert [file.name for file in tmp_path.iterdir()] == ["parts"]
