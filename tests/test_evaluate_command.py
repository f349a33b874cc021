import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dfcl_jax.report.terminal import number
from dfcl_jax.runs import command

pytestmark = pytest.mark.thorough

ROLES = ("--treatment", "arm", "--revenue", "sales", "--cost", "spend")
MODEL = ("--model.revenue", "r0", "r1", "--model.cost", "c0", "c1")
RIVAL = ("--rival.revenue", "q0", "q1", "--rival.cost", "c0", "c1")


def _people(n: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    t, age = rng.integers(0, 2, n), rng.normal(size=n)
    return pd.DataFrame(
        {
            "arm": np.array(["none", "coupon"])[t],
            "sales": rng.gamma(2, 0.5, n) + t * (age > 0),
            "spend": 0.5 * t * rng.random(n),
            "age": age,
            "region": rng.choice(["north", "south"], n),
        }
        | {"r0": 1.0, "r1": 1.0 + (age > 0), "c0": 0.0, "c1": 0.25 + 0.01 * age, "q0": 1.0, "q1": 1.5}
    )


PEOPLE = _people()


def _with(column: str, row: int, value: object) -> pd.DataFrame:
    values = PEOPLE[column].astype(object).tolist()
    values[row - 1] = value
    return PEOPLE.assign(**{column: values})


@pytest.fixture
def run(experiment, tmp_path, monkeypatch):
    """Runs the command on a table."""
    evaluate = experiment("evaluate")

    def of(frame: pd.DataFrame, *options: str) -> Path:
        frame.to_csv(tmp_path / "people.csv", index=False)
        arguments = ["--data", str(tmp_path / "people.csv"), *ROLES, "--out", str(tmp_path / "run"), *options]
        monkeypatch.setattr("sys.argv", ["evaluate.py", *arguments])
        command(evaluate.main, evaluate.Config)
        return tmp_path / "run"

    return of


def test_two_models_side_by_side(run, capsys):
    folder = run(PEOPLE, "--arms", "none", "coupon", *MODEL, *RIVAL, "--budgets", "0.05", "0.1", "--replicates", "20")
    tables = {file.stem for file in folder.glob("*.csv")}
    assert tables == {
        *("values", "differences", "areas", "calibration", "quality"),
        *("shares", "balance", "overlap", "tests", "rests"),
    }
    for name in ("values", "calibration", "balance"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    values = pd.read_csv(folder / "values.csv")
    assert values[["policy", "budget"]].to_numpy().tolist() == [
        *(["model", 0.05], ["model", 0.1]),
        *(["rival", 0.05], ["rival", 0.1]),
    ]
    assert set(pd.read_csv(folder / "differences.csv").policy) == {"rival"}
    # Categories are balanced as well, and predictions, which were known before treatment.
    features = set(pd.read_csv(folder / "balance.csv").feature)
    assert features == {"age", "region=north", "region=south", "r0", "r1", "c0", "c1", "q0", "q1"}
    config = json.loads((folder / "config.json").read_text())
    assert config["experiment"] == "evaluate"
    assert config["options"]["model"]["revenue"] == ["r0", "r1"]
    assert config["data"]["rows"] == 400
    said, table = capsys.readouterr().out, (folder / "table.md").read_text()
    assert "bootstrap: 20 replicates in" in said
    assert f"Written to {folder}" in said
    for text in (said, table):
        assert "Difference to model, paired, 95% intervals" in text
        assert " [".join([number(values.revenue[0]), f"{number(values.low[0])}, {number(values.high[0])}]"]) in text
    # Another trial, or other predictions for it, are not written over these results.
    for other in (PEOPLE.assign(sales=PEOPLE.sales + 1), PEOPLE.assign(r1=PEOPLE.r1 + 1)):
        with pytest.raises(SystemExit):
            run(other, "--arms", "none", "coupon", *MODEL, *RIVAL, "--budgets", "0.05", "0.1", "--replicates", "20")
        assert "found a run of another data" in capsys.readouterr().err
    assert pd.read_csv(folder / "values.csv").equals(values)


@pytest.mark.parametrize(
    ("frame", "options", "words"),
    [
        (PEOPLE, [], ["columns of predicted revenue of model", "found 0", "2, one for each of none, coupon"]),
        (PEOPLE, [*MODEL[:2], *MODEL[3:]], ["columns of predicted revenue of model: found 1"]),
        (PEOPLE, [*MODEL, *RIVAL[:3]], ["columns of predicted cost of rival: found 0"]),
        (PEOPLE.drop(columns="c1"), MODEL, ["column 'c1'", "expected it in the table"]),
        (_with("r1", 7, np.nan), MODEL, ["column 'r1', row 7", "nan", "a finite number"]),
        (_with("sales", 3, "much"), MODEL, ["column 'sales', row 3", "'much'", "a finite number"]),
        (PEOPLE, [*MODEL, "--propensities", "0.5", "0.6"], ["propensities", "0.5  0.6", "sum to 1"]),
        (PEOPLE, [*MODEL, "--budgets", "-0.1"], ["budget", "-0.1", "at least 0"]),
        (PEOPLE, [*MODEL, "--replicates", "1"], ["replicates: found 1", "at least 2"]),
    ],
)
def test_bad_input_ends_in_one_line_and_writes_nothing(run, capsys, tmp_path, frame, options, words):
    with pytest.raises(SystemExit) as ended:
        run(frame, *options)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.index("\n") == len(error) - 1, error
    assert [word for word in words if word not in error] == [], error
    assert list(tmp_path.iterdir()) == [tmp_path / "people.csv"]


def test_a_trial_that_was_not_randomised_is_doubted(run, capsys):
    told = PEOPLE.assign(arm=np.where(PEOPLE.age > 0, "coupon", "none"))
    folder = run(told, "--arms", "none", "coupon", *MODEL, "--budgets", "0.2", "--replicates", "20")
    doubt = "Doubtful: People differ between treatments before treatment"
    assert doubt in capsys.readouterr().out
    assert doubt in (folder / "table.md").read_text()


def test_a_weighted_row_is_a_cluster_of_equal_rows(run):
    """Draws of weights are by cluster, so that they are the same, and intervals with them; sums are rounded apart."""
    options = ("--arms", "none", "coupon", "--propensities", "0.5", "0.5", *MODEL, "--budgets", "0.05", "0.1")
    options = (*options, "--replicates", "20")
    people = np.tile([1, 2, 3, 2], 100)
    weighted = PEOPLE.assign(people=people)
    again = PEOPLE.loc[np.repeat(PEOPLE.index, people)].assign(home=lambda frame: frame.index)
    folder = run(weighted, *options, "--weight", "people")
    one = pd.read_csv(folder / "values.csv")
    shutil.rmtree(folder)  # it is of another table
    two = pd.read_csv(run(again, *options, "--cluster", "home") / "values.csv")
    columns = ["revenue", "low", "high", "cost"]
    np.testing.assert_allclose(one[columns], two[columns], rtol=1e-4)
