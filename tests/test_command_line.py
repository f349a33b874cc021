import io
import json
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from dfcl_jax.methods import Mixture
from dfcl_jax.runs import command, load_policy

SCRIPT = Path(__file__).parents[1] / "experiments" / "trial.py"
ARMS = ("none", "small", "large")
METHODS = ("TSM-SL", "DFCL-MER", "cheapest arm")
ROLES = ("--treatment", "arm", "--revenue", "sales", "--cost", "spend")


def _trial_of(n: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    t, age = rng.integers(0, 3, n), rng.normal(size=n)
    return pd.DataFrame(
        {
            "arm": np.array(ARMS)[t],
            "sales": rng.gamma(2, 0.5, n) + t * (age > 0),
            "spend": 0.5 * t,
            "age": age,
            "region": rng.choice(["north", "south"], n),
        }
    )


SMALL = _trial_of(60)
LARGE = _trial_of(2400)


def _with(column: str, row: int, value: object) -> pd.DataFrame:
    values = SMALL[column].astype(object).tolist()
    values[row - 1] = value
    return SMALL.assign(**{column: values})


@pytest.fixture(scope="module")
def trial(experiment) -> ModuleType:
    return experiment("trial")


def _assert_refused(error: str, words: list[str]) -> None:
    assert error.startswith("error: ")
    assert error.index("\n") == len(error) - 1, error
    assert [word for word in words if word not in error] == [], error


@pytest.mark.parametrize(
    ("frame", "options", "words"),
    [
        (SMALL.drop(columns="sales"), [], ["column 'sales'", "found only arm, spend, age, region", "expected"]),
        (_with("sales", 7, np.nan), [], ["column 'sales', row 7", "nan", "a finite number"]),
        (_with("spend", 9, np.inf), [], ["column 'spend', row 9", "inf", "a finite number"]),
        (_with("age", 5, "young"), [], ["feature 'age', row 5", "'young'", "a number"]),
        (_with("age", 5, np.inf), [], ["feature 'age', row 5", "inf", "a finite number"]),
        (SMALL, ["--propensities", "-0.5", "0.75", "0.75"], ["propensities", "-0.5", "positive"]),
        (SMALL, ["--propensities", "0.5", "0.25", "0.5"], ["propensities", "0.5  0.25  0.5", "sum to 1"]),
        (
            SMALL.assign(p=0.4),
            ["--propensity-columns", "p", "p", "p"],
            ["propensities, row 1", "0.4  0.4  0.4", "sum to 1"],
        ),
        (_with("arm", 3, "huge"), ["--arms", *ARMS], ["column 'arm', row 3", "'huge'", "one of none, small, large"]),
        (SMALL.assign(arm=[-1, *[0, 1] * 29, 0]), [], ["column 'arm', row 1", "-1", "a whole number from 0"]),
        (SMALL.assign(arm="none"), [], ["column 'arm'", "single treatment none", "at least 2"]),
        (SMALL, ["--budgets", "0.2", "-0.1"], ["budget", "-0.1", "at least 0"]),
        (SMALL, ["--budgets", "nan"], ["budget", "nan", "a finite number"]),
        (SMALL.assign(spend=SMALL.spend + 1), ["--budgets", "0.5"], ["budget", "found 0.5", "cheapest mean cost"]),
        (SMALL, ["--fractions", "0.5", "0.5", "0.5"], ["fractions", "(0.5, 0.5, 0.5)", "sum to 1"]),
        (SMALL, ["--seeds", "0"], ["seeds", "found 0", "at least 1"]),
        (SMALL, ["--people", "nobody.csv"], ["data file", "nobody.csv", "a CSV or Parquet file"]),
        (SMALL, ["--arms", *ARMS, "--costs", "-1", "0.5", "1"], ["costs", "-1", "at least 0"]),
        (SMALL, ["--folds", "1"], ["folds", "found 1", "at least 2"]),
        (
            SMALL,
            ["--two-stage.loss", "cross_entropy", "--two-stage.network.link", "sigmoid"],
            ["column 'sales'", "squares"],
        ),
        # Options that contradict each other are found while they are read.
        (SMALL, ["--two-stage.loss", "cross_entropy"], ["cross_entropy", "'sigmoid'"]),
        (SMALL, ["--cluster", "region", "--splits", "2"], ["--cluster", "folds"]),
        (_with("region", 4, None), ["--cluster", "region"], ["column 'region', row 4", "a gap", "cluster"]),
        (_with("age", 6, -1.0), ["--weight", "age"], ["column 'age', row", "a weight of at least 0"]),
        (SMALL, ["--data", "nobody.csv"], ["data file", "nobody.csv", "a CSV or Parquet file"]),
    ],
)
def test_bad_input_ends_in_one_line_and_writes_nothing(
    trial: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    frame: pd.DataFrame,
    options: list[str],
    words: list[str],
):
    data = tmp_path / "trial.csv"
    frame.to_csv(data, index=False)
    monkeypatch.setattr("sys.argv", ["trial.py", "--data", str(data), *ROLES, "--out", str(tmp_path / "run"), *options])
    with pytest.raises(SystemExit) as ended:
        command(trial.main, trial.Config)
    assert ended.value.code == 2
    _assert_refused(capsys.readouterr().err, words)
    assert list(tmp_path.iterdir()) == [data]


def test_a_folder_that_is_no_run_is_refused_and_left_as_it_is(trial, tmp_path, monkeypatch, capsys):
    SMALL.to_csv(tmp_path / "trial.csv", index=False)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    arguments = ["--data", str(tmp_path / "trial.csv"), *ROLES, "--out", str(tmp_path / "run")]
    monkeypatch.setattr("sys.argv", ["trial.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        command(trial.main, trial.Config)
    assert ended.value.code == 2
    _assert_refused(capsys.readouterr().err, ["run folder", str(tmp_path / "run"), "--out"])
    assert {file.name for file in tmp_path.rglob("*")} == {"trial.csv", "run", "notes.txt"}


def test_the_script_ends_with_code_2_and_no_traceback(tmp_path: Path):
    _with("sales", 7, np.nan).to_csv(tmp_path / "trial.csv", index=False)
    before = list(tmp_path.iterdir())
    ended = subprocess.run(
        [sys.executable, str(SCRIPT), "--data", "trial.csv", *ROLES], cwd=tmp_path, capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    _assert_refused(ended.stderr, ["column 'sales', row 7", "nan", "a finite number"])
    assert list(tmp_path.iterdir()) == before


class Runs(NamedTuple):
    """A run, and another of the same seeds that plans for people of its own."""

    first: Path
    second: Path
    said: str  # what the first printed


@pytest.fixture(scope="module")
def runs(trial: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Two finished runs, of one method beside two-stage learning: each of the others would be compiled too."""
    folder = tmp_path_factory.mktemp("runs")
    LARGE.to_csv(folder / "trial.csv", index=False)
    _people().to_csv(folder / "people.csv", index=False)
    network = ["--two-stage.network.hidden", "8"]
    training = "--two-stage.training"
    warm = [f"{training}.epochs", "10", f"{training}.batch-size", "32", f"{training}.learning-rate", "0.01"]
    decision = ["--decision.epochs", "3", "--decision.batch-size", "64", "--decision.learning-rate", "0.05"]
    options = [*ROLES, "--arms", *ARMS, *network, *warm, *decision, "--folds", "2", "--methods", "DFCL-MER"]
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        # Lines of the terminal are not to be broken.
        patch.setenv("COLUMNS", "200")
        for name, people in (("first", []), ("second", ["--people", str(folder / "people.csv")])):
            arguments = ["--data", str(folder / "trial.csv"), "--out", str(folder / name), "--budgets", "0.2", "100"]
            patch.setattr("sys.argv", ["trial.py", *arguments, *options, *people])
            with redirect_stdout(said if name == "first" else io.StringIO()):
                command(trial.main, trial.Config)
    return Runs(folder / "first", folder / "second", said.getvalue())


def _people() -> pd.DataFrame:
    """The first 40 people of the trial, and one from a region that the trial does not know."""
    people = LARGE.iloc[:40][["age", "region"]]
    return pd.concat([people, pd.DataFrame({"age": [1.5], "region": ["moon"]})])


@pytest.mark.thorough
def test_a_run_folder_holds_everything_that_came_of_the_run(runs: Runs):
    files = {file.relative_to(runs.first).as_posix() for file in runs.first.rglob("*") if file.is_file()}
    cells = {file for file in files if file.startswith("cells/")}
    assert files - cells == {
        "config.json",
        "metrics.csv",
        "quality.csv",
        "table.md",
        *(f"proof_{table}.csv" for table in ("values", "lifts", "per_cent")),
        "calibration.csv",
        "value_by_budget.png",
        "plan.csv",
        "plan_budgets.csv",
        *(f"policies/{method}/{file}" for method in METHODS for file in ("policy.json", "params.npz")),
    }
    kept = {"cell.json", "params.npz", "record.csv", "values.csv"}
    assert {file.rsplit("/", 1)[1] for file in cells} == kept
    assert len(cells) == len(kept) * len(METHODS) * 2
    assert f"Written to {runs.first}" in runs.said


@pytest.mark.thorough
def test_the_tables_of_a_run_have_every_method_seed_and_budget(runs: Runs):
    metrics, quality = (pd.read_csv(runs.first / f"{name}.csv") for name in ("metrics", "quality"))
    wanted = {(seed, method, budget) for seed in (0, 1) for method in METHODS for budget in (0.2, 100.0)}
    assert set(metrics[["seed", "method", "budget"]].itertuples(index=False, name=None)) == wanted
    assert len(metrics) == len(wanted)
    assert sorted(quality[["method", "seed"]].itertuples(index=False, name=None)) == [
        (method, seed) for method in sorted(METHODS) for seed in (0, 1)
    ]
    for method, epochs in {"TSM-SL": 10, "DFCL-MER": 3}.items():
        for cell in (runs.first / "cells" / method).iterdir():
            assert pd.read_csv(cell / "record.csv").epoch.tolist() == [*range(1, epochs + 1)]


@pytest.mark.thorough
def test_no_method_is_credited_for_money_that_the_budget_does_not_have(runs: Runs):
    metrics = pd.read_csv(runs.first / "metrics.csv")
    # Costs near 1 are added up in float32.
    assert (metrics.cost <= metrics.budget + 1e-5).all()


@pytest.mark.thorough
def test_the_configuration_of_a_run_says_what_determines_it(runs: Runs):
    config = json.loads((runs.first / "config.json").read_text())
    assert config["experiment"] == "trial"
    assert config["options"]["budgets"] == [0.2, 100.0]
    assert config["options"]["two_stage"]["training"]["epochs"] == 10
    assert config["data"]["rows"] == len(LARGE)
    assert {"out", "checkpoint_seconds"}.isdisjoint(config["options"])


@pytest.mark.thorough
def test_the_table_and_the_figure_can_be_read(runs: Runs):
    lines = (runs.first / "table.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows[2:6]] == ["| TSM-SL", "| DFCL-MER", "| cheapest arm", "| auto"]
    assert (runs.first / "value_by_budget.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


@pytest.mark.thorough
def test_the_plan_has_a_row_for_each_person_of_the_trial_with_arms_by_name(runs: Runs):
    plan = pd.read_csv(runs.first / "plan.csv", keep_default_na=False)
    assert list(plan) == ["row", "budget 0.2", "budget 100"]
    np.testing.assert_array_equal(plan.row, 1 + np.arange(len(LARGE)))
    assert set(plan["budget 0.2"]) | set(plan["budget 100"]) <= set(ARMS)


@pytest.mark.thorough
@pytest.mark.parametrize("run", ["first", "second"])
def test_a_plan_says_what_it_will_spend_with_an_interval(runs: Runs, run: str):
    budgets = pd.read_csv(runs.first.with_name(run) / "plan_budgets.csv")
    # A sum of float64 numbers near 0.2, mixed to meet the budget.
    assert budgets.spend[0] == pytest.approx(0.2, rel=1e-9)
    assert (budgets.spend_low < budgets.spend).all()
    assert (budgets.revenue < budgets.revenue_high).all()


@pytest.mark.thorough
def test_the_shares_of_a_plan_are_those_of_its_rows(runs: Runs):
    plan = pd.read_csv(runs.first / "plan.csv", keep_default_na=False)
    budgets = pd.read_csv(runs.first / "plan_budgets.csv")
    for arm in ARMS:
        shares = [(plan[f"budget {budget}"] == arm).mean() for budget in ("0.2", "100")]
        np.testing.assert_allclose(budgets[f"share {arm}"], shares, rtol=1e-12)


@pytest.mark.thorough
def test_a_budget_above_the_largest_useful_spend_is_said_and_no_error(runs: Runs):
    note = "above the largest useful spend, everybody has their best treatment"
    assert f"Budget 100: {note}" in runs.said
    assert f"Budget 0.2: {note}" not in runs.said
    budgets = pd.read_csv(runs.first / "plan_budgets.csv")
    assert (budgets.lam > 0).tolist() == [True, False]


@pytest.mark.thorough
@pytest.mark.parametrize("table", ["metrics.csv", "quality.csv"])
def test_the_same_seeds_give_the_same_bytes(runs: Runs, table: str):
    assert (runs.first / table).read_bytes() == (runs.second / table).read_bytes()


@pytest.mark.thorough
def test_people_of_a_file_are_planned_for_by_the_models_of_the_trial(runs: Runs):
    plan = pd.read_csv(runs.second / "plan.csv", keep_default_na=False)
    np.testing.assert_array_equal(plan.row, np.arange(1, 42))
    assert set(plan["budget 0.2"]) <= set(ARMS)
    # A budget that does not bind leaves every decision to the person and the model alone, whoever else is planned for.
    models = [policy(_people(), 100.0) for policy in _mixture(runs, "TSM-SL").policies]
    assert (np.stack(models) == plan["budget 100"].to_numpy()).any(axis=0).all()
    assert plan["budget 100"].nunique() > 1


@pytest.mark.thorough
@pytest.mark.parametrize("method", METHODS)
def test_the_policy_of_a_run_decides_as_the_run_was_judged(runs: Runs, method: str):
    """What the curve foretells of both folds' people is what the values table and the proof have."""
    policy = _mixture(runs, method)
    metrics, proof = (pd.read_csv(runs.first / f"{name}.csv") for name in ("metrics", "proof_values"))
    rows = metrics[(metrics.method == method) & (metrics.budget == 0.2)]
    expected = policy.curve.at(0.2)
    # Sums over 300 people in float32 in the one, in float64 of float32 numbers in the other.
    np.testing.assert_allclose([expected.spend, expected.revenue], [rows.cost.mean(), rows.revenue.mean()], rtol=1e-5)
    proved = proof[(proof.method == method) & (proof.budget == 0.2)].revenue.iloc[0]
    assert expected.revenue == pytest.approx(proved, rel=1e-5)
    assert policy.arms == ARMS
    assert set(policy(LARGE, 0.2)) <= set(ARMS)


def _mixture(runs: Runs, method: str) -> Mixture:
    policy = load_policy(runs.first / "policies" / method)
    assert isinstance(policy, Mixture)
    return policy


@pytest.mark.thorough
def test_people_without_a_feature_of_the_trial_are_refused(runs: Runs):
    with pytest.raises(ValueError, match="column 'region': found only age"):
        load_policy(runs.first / "policies" / "TSM-SL").predict(LARGE[["age"]])
