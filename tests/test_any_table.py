"""Small tables of any kind, as people have them in files, are read as what they say or refused in one line."""

import datetime
import gzip
import io
import re
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import NamedTuple
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from dfcl_jax import InputError, Trial, metrics
from dfcl_jax.data import Columns, encode, fit_encoder, open_trial, trial_table
from dfcl_jax.data.kinds import text_of
from dfcl_jax.data.leaks import check_leaks
from dfcl_jax.runs import command

# Texts that a terminal, a picture, a CSV reader or a number parser could take for something else.
NAMES = ["age", "a b", "x.5", "$d$", "[red]", "[/b]", "Größe", "100%", "_", "a,b", 'say "hi"', "naïve;x", "lam", "row",
         "two\nlines", ":smile:", "\x1b[31m"]  # fmt: skip
ARMS = {
    "codes": [0, 1, 2, 3],
    "shares": [0.0, 0.05, 0.1, 0.2],
    "truths": [False, True],
    "words": ["no mail", "[/20%]", "5 € off", "$10$"],
    "text codes": ["0", "1", "2", "3"],
    "sizes": ["36", "38", "M", "L"],
    "odd words": ["None", ":+1:", "two\nlines", "\x1b[1mbold"],
}
FILES = ["a.parquet", "a.csv", "a.tsv", "a.csv.gz", "semicolon.csv", "latin.csv", "parts", "csv parts", "region",
         "comma.csv", "sep.csv", "utf16.csv"]  # fmt: skip


class AnyTable(NamedTuple):
    """A table, what it says, and how it is written."""

    frame: pd.DataFrame
    file: str  # one of FILES
    fault: str  # "" or one of FAULTS


def _number(rng: np.random.Generator, n: int) -> list:
    return list(rng.lognormal(0, 2, n))


def _gaps(rng: np.random.Generator, n: int) -> list:
    return [None if gap else value for gap, value in zip(rng.random(n) < 0.3, rng.normal(size=n), strict=True)]


KINDS: dict[str, Callable[[np.random.Generator, int], list]] = {
    "number": _number,
    "gaps": _gaps,
    "whole": lambda rng, n: rng.integers(-3, 50, n).tolist(),
    "truth": lambda rng, n: (rng.random(n) < 0.5).tolist(),
    "truth with gaps": lambda rng, n: rng.choice(np.array([True, False, None], object), n).tolist(),
    "word": lambda rng, n: rng.choice(["north", "süd", "[east]", "$w$"], n).tolist(),
    "size": lambda rng, n: rng.choice(["36", "38", "M", "L"], n).tolist(),
    "date": lambda rng, n: [datetime.date(2024, 1, 1) + datetime.timedelta(int(day)) for day in rng.integers(0, 99, n)],
    "decimal": lambda rng, n: [Decimal(int(cents)).scaleb(-2) for cents in rng.integers(0, 10_000, n)],
    "constant": lambda _, n: [7] * n,
    "texts for gaps": lambda rng, n: rng.choice(["1.5", "-2.25", "NA", " ", r"\N"], n).tolist(),
    "nothing": lambda _, n: [None] * n,
    "many levels": lambda _, n: [f"shop {k}" for k in range(n)],
}


def _at(frame: pd.DataFrame, column: str, value: object) -> pd.DataFrame:
    changed = frame[column].astype(object)
    changed.iloc[len(frame) // 2] = value
    return frame.assign(**{column: changed})


# Each spoils a table so that no command may use it; with the column that the refusal names.
FAULTS: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "a word in revenue": (
        lambda frame: _at(frame, "sales", "n/k").assign(sales=lambda f: f.sales.astype(str)),
        "sales",
    ),
    "infinite cost": (lambda frame: _at(frame, "spend", np.inf).assign(spend=lambda f: f.spend.astype(float)), "spend"),
    "a gap in revenue": (lambda f: _at(f, "sales", None).assign(sales=lambda f: f.sales.astype(float)), "sales"),
    "a gap in the treatment": (lambda frame: _at(frame, "arm", None), "arm"),
    "one treatment": (lambda frame: frame.assign(arm=frame.arm.iloc[0]), "arm"),
    "no cost": (lambda frame: frame.drop(columns="spend"), "spend"),
    "no rows": (lambda frame: frame.iloc[:0], ""),
    "no features": (lambda frame: frame[["arm", "sales", "spend"]], "features"),
}


@st.composite
def any_table(draw: st.DrawFn, rows: st.SearchStrategy[int]) -> AnyTable:
    """A table with columns arm, sales and spend, and one to four features; one in four has a fault."""
    arms = ARMS[draw(st.sampled_from(sorted(ARMS)))]
    m = draw(st.integers(2, len(arms)))
    n, rng = draw(rows), np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    t = rng.permutation(np.arange(n) % m)
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    features = {name: KINDS[draw(st.sampled_from(sorted(KINDS)))](rng, n) for name in names}
    # The first treatment is the cheapest; its cost is a constant or not.
    cost = (t + draw(st.sampled_from([0, 0.5])) * rng.random(n)) * 10.0 ** draw(st.integers(-3, 3))
    tail, unit = draw(st.sampled_from(["normal", "rare", "heavy", "net"])), 10.0 ** draw(st.integers(-3, 4))
    sales = {
        "normal": rng.normal(5, 1, n) + t,
        "rare": (rng.random(n) < 0.1) * 1.0,
        "heavy": rng.lognormal(0, 3, n),
        "net": rng.normal(-1, 3, n),
    }[tail]
    frame = pd.DataFrame({"arm": [arms[j] for j in t], "sales": sales * unit, "spend": cost, **features})
    file = draw(st.sampled_from(FILES))
    # A folder's name is a feature, too.
    possible = sorted(FAULTS.keys() - ({"no features"} if file == "region" else set()))
    fault = draw(st.sampled_from(["", "", "", *possible]))
    return AnyTable(FAULTS[fault][0](frame) if fault else frame, file, fault)


def write(table: AnyTable, folder: Path) -> Path:
    """Write a table in its form; the path that a command is given."""
    frame, path = table.frame, folder / table.file
    half = len(frame) // 2
    if table.file == "a.parquet":
        frame.to_parquet(path)
    elif table.file == "a.tsv":
        frame.to_csv(path, index=False, sep="\t")
    elif table.file == "a.csv.gz":
        path.write_bytes(gzip.compress(frame.to_csv(index=False).encode(), mtime=0))
    elif table.file == "semicolon.csv":
        frame.to_csv(path, index=False, sep=";")
    elif table.file == "comma.csv":
        frame.to_csv(path, index=False, sep=";", decimal=",")
    elif table.file == "sep.csv":
        path.write_text("sep=;\n" + frame.to_csv(index=False, sep=";"))
    elif table.file == "utf16.csv":
        frame.to_csv(path, index=False, encoding="utf-16")
    elif table.file == "latin.csv":
        frame.to_csv(path, index=False, encoding="cp1252")
    elif table.file == "parts":
        path.mkdir()
        frame.iloc[:half].to_parquet(path / "0.parquet")
        frame.iloc[half:].to_parquet(path / "1.parquet")
    elif table.file == "csv parts":
        path.mkdir()
        frame.iloc[:half].to_csv(path / "0.csv", index=False)
        frame.iloc[half:].to_csv(path / "1.csv", index=False)
    elif table.file == "region":
        for name, part in (("north", frame.iloc[:half]), ("south", frame.iloc[half:])):
            (path / f"region={name}").mkdir(parents=True)
            part.to_parquet(path / f"region={name}" / "part.parquet")
    else:
        frame.to_csv(path, index=False)
    return path


COLUMNS = Columns("arm", "sales", "spend")
# The same tables in every run.
RUN = settings(derandomize=True, deadline=None, database=None, suppress_health_check=[*HealthCheck])  # pyright: ignore[reportArgumentType]


def check(table: AnyTable) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(table, Path(folder))
        for read in (trial_table, open_trial):
            if table.fault:
                refused(lambda read=read: read(path, COLUMNS), table.fault)
            else:
                understood(table, path)


def refused(read, fault: str) -> None:
    with pytest.raises(InputError) as error:
        read()
    message = str(error.value)
    assert "\n" not in message
    assert FAULTS[fault][1] in message, message


def understood(table: AnyTable, path: Path) -> None:
    frame, read = table.frame, trial_table(path, COLUMNS)
    n = len(frame)
    # Every row has its treatment, revenue and cost, whatever they are written in.
    names = np.asarray(read.arms)[read.t]
    np.testing.assert_array_equal([text_of(value) for value in frame.arm], names)
    np.testing.assert_allclose(read.r, frame.sales, rtol=1e-6)
    np.testing.assert_allclose(read.c, frame.spend, rtol=1e-6)
    means = [read.c[read.t == j].mean() for j in range(len(read.arms))]
    assert means[0] == min(means)
    # Features are finite numbers, a row each.
    encoder = fit_encoder(read.features, np.arange(n))
    x = encode(encoder, read.features)
    assert x.shape == (n, len(encoder.names))
    assert np.isfinite(x).all()
    trial = Trial(x, read.t, read.r, read.c, read.p)  # pyright: ignore[reportArgumentType]
    said = [*metrics.doubts(trial, read.arms, names=encoder.names, given_propensities=False), *read.notes]
    assert all([*said, *check_leaks(read)])
    # The reader of trials larger than memory sees the same.
    streamed = open_trial(path, COLUMNS)
    assert streamed.arms == read.arms
    assert streamed.encoder == encoder
    for one, other in zip(streamed.read()[:5], trial[:5], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


@settings(RUN, max_examples=25)
@given(any_table(st.integers(8, 80)))
def test_a_table_is_read_as_what_it_says_or_refused_in_one_line(table):
    check(table)


@pytest.mark.slow
@settings(RUN, max_examples=500)
@given(any_table(st.integers(8, 300)))
def test_five_hundred_tables_are_read_as_what_they_say_or_refused_in_one_line(table):
    check(table)


# To make a table simpler that a command fails on would take as long as all others.
COMMANDS = settings(RUN, phases=[Phase.generate])
ROLES = ["--treatment", "arm", "--revenue", "sales", "--cost", "spend"]
SMALL = ["--seeds", "1", "--methods", "TSM-SL", "--two-stage.training.epochs", "1", "--two-stage.network.hidden", "4"]
# Kinds of features and how many columns of a matrix each of them is: tables of one width share their programs.
WIDTHS = {"number": 1, "truth": 1, "date": 1, "decimal": 1, "constant": 1, "gaps": 2, "truth with gaps": 2,
          "texts for gaps": 2, "word": 4}  # fmt: skip
WIDTH = 6


def run(module: ModuleType, *options: str) -> tuple[int, str, str]:
    """Exit code, output and errors of a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with mock.patch("sys.argv", ["command", *options]), redirect_stdout(out), redirect_stderr(err):
        try:
            command(module.main, module.Config)
        except SystemExit as ended:
            return int(ended.code or 0), out.getvalue(), err.getvalue()
    return 0, out.getvalue(), err.getvalue()


def refused_in_one_line(code: int, err: str) -> bool:
    assert code in (0, 2), err
    if code == 2:
        assert err.startswith("error: "), err
        assert err.count("\n") == 1, err
    return code == 2


def feature(kind: str, rng: np.random.Generator, n: int) -> list:
    """A feature that has every level, and a gap if it is of a kind with gaps."""
    values = KINDS[kind](rng, n)
    first = {
        "texts for gaps": ["NA", "1.5"],
        "gaps": [None, 1.5],
        "truth with gaps": [None, True, False],
        "word": ["north", "süd", "[east]", "$w$"],
    }
    return [*first.get(kind, []), *values[len(first.get(kind, [])) :]]


@st.composite
def table_of_one_width(draw: st.DrawFn) -> AnyTable:
    """As `any_table`, but its features are always a matrix of `WIDTH` columns, and few sizes occur."""
    file = draw(st.sampled_from(FILES))
    left, kinds = WIDTH - 2 * (file == "region"), []
    while left:
        kinds.append(draw(st.sampled_from([kind for kind, width in WIDTHS.items() if width <= left])))
        left -= WIDTHS[kinds[-1]]
    arms = ARMS[draw(st.sampled_from(sorted(ARMS)))]
    m, n = min(draw(st.sampled_from([2, 3])), len(arms)), draw(st.sampled_from([8, 60]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    names = draw(st.permutations(NAMES))
    features = {name: feature(kind, rng, n) for name, kind in zip(names, kinds, strict=False)}
    t = rng.permutation(np.arange(n) % m)
    luck = draw(st.sampled_from([0, 0.5, 3])) * rng.random(n)
    cost = (t + luck) * draw(st.sampled_from([1.0, 1.0, 1.0, 0.0, -1.0])) * 10.0 ** draw(st.integers(-3, 3))
    sales = {
        "normal": rng.normal(5, 1, n) + t,
        "rare": (rng.random(n) < 0.1) * 1.0,
        "heavy": rng.lognormal(0, 3, n),
        "net": rng.normal(-1, 3, n),
        "one": np.ones(n),
    }[draw(st.sampled_from(["normal", "rare", "heavy", "net", "one"]))]
    frame = pd.DataFrame(
        {"arm": [arms[j] for j in t], "sales": sales * 10.0 ** draw(st.integers(-3, 4)), "spend": cost, **features}
    )
    possible = sorted(FAULTS.keys() - ({"no features"} if file == "region" else set()))
    fault = draw(st.sampled_from(["", "", "", "", "", "", "", *possible]))
    return AnyTable(FAULTS[fault][0](frame) if fault else frame, file, fault)


def left_as_it_was(folder: Path, before: set[Path]) -> None:
    """Nothing is left of a command that was refused."""
    assert set(folder.rglob("*")) == before, set(folder.rglob("*")) ^ before


def tried_and_planned(experiment, table: AnyTable, folder: Path) -> None:
    """The command `trial` on a table, and `plan` for its people, from Parquet as from CSV files."""
    path = str(write(table, folder))
    before = set(folder.rglob("*"))
    code, said, err = run(experiment("trial"), "--data", path, *ROLES, *SMALL, "--out", str(folder / "run"))
    if refused_in_one_line(code, err):
        return left_as_it_was(folder, before)
    assert not table.fault
    values, names = pd.read_csv(folder / "run" / "metrics.csv"), {text_of(value) for value in table.frame.arm}
    assert set(values.method) == {"TSM-SL", "cheapest arm"}
    met = values.dropna()
    # A budget that a policy cannot meet on the test people has no value, and the report says so.
    assert len(met) == len(values) or "Left out" in said or "No budget" in said
    # Costs are added up in float32.
    assert (met.cost <= met.budget + 1e-5 * table.frame.spend.abs().max()).all()
    plan = pd.read_csv(folder / "run" / "plan.csv", keep_default_na=False, dtype=str)
    assert set(plan.iloc[:, 1:].to_numpy().ravel()) <= names
    budgets = pd.read_csv(folder / "run" / "plan_budgets.csv")
    np.testing.assert_allclose(budgets.filter(regex="^share ").sum(axis=1), 1)
    if (table.frame.spend >= 0).all():
        assert (budgets.spend_low.dropna() >= 0).all()
    people, decided = table.frame.drop(columns=["arm", "sales", "spend"]), []
    people = people.assign(region="north") if table.file == "region" else people
    people.to_parquet(folder / "people.parquet")
    people.to_csv(folder / "people.csv", index=False)
    for ending in ("parquet", "csv"):
        out, before = folder / f"plan of {ending}", set(folder.rglob("*"))
        asked = ["--people", str(folder / f"people.{ending}"), "--policy", str(folder / "run" / "policies" / "TSM-SL")]
        options = ["--budget", str(values.budget.max()), "--newcomers.unlike", "1", "--out", str(out)]
        code, said, err = run(experiment("plan"), *asked, *options)
        if refused_in_one_line(code, err):
            left_as_it_was(folder, before)
            # It may only be that not even the cheapest treatment is within the budget.
            assert "the cheapest treatment" in err, err
            decided.append([])
        else:
            assert "measured" in said
            decided.append(pd.read_parquet(out).treatment.tolist())
            assert len(decided[-1]) == len(people)
            assert set(decided[-1]) <= names
    # How the same people are written changes nothing.
    assert decided[0] == decided[1]


@pytest.mark.slow
@settings(COMMANDS, max_examples=300)
@given(table_of_one_width())
def test_trials_and_plans_of_three_hundred_tables(experiment, table):
    with tempfile.TemporaryDirectory() as folder:
        tried_and_planned(experiment, table, Path(folder))


def with_predictions(table: AnyTable) -> tuple[pd.DataFrame, list[str]]:
    """The table with predicted money of each treatment, and the options that name the columns."""
    # Everybody gains otherwise, at each treatment, so that nothing ties that rounding could tell apart.
    gain = np.arange(1, len(table.frame) + 1) * 0.6180339887 % 1
    frame = table.frame
    arms = sorted({text_of(value) for value in table.frame.arm})
    for j in range(len(arms)):
        # The last treatment is everybody's best.
        frame = frame.assign(**{f"r {j}": 1.0 + j + gain * np.sqrt(j), f"c {j}": float(j)})
    revenue, cost = ([f"{role} {j}" for j in range(len(arms))] for role in ("r", "c"))
    options = ["--arms", *arms, "--model.revenue", *revenue, "--model.cost", *cost, "--settle", "ipw"]
    return frame, options


def evaluated(experiment, table: AnyTable, folder: Path, scale: tuple[float, float]) -> None:
    """The command `evaluate` on a table, and on the same table in other money."""
    frame, options = with_predictions(table)
    whole = 1e6 * max(float(np.abs(table.frame.spend).max()), 1e-3)
    values = []
    for name, a, b in (("first", 1.0, 1.0), ("second", *scale)):
        money = frame.assign(sales=frame.sales * a, spend=frame.spend * b)
        money = money.assign(
            **{c: money[c] * (a if c[0] == "r" else b) for c in map(str, money) if re.fullmatch("[rc] [0-9]", c)}
        )
        (folder / name).mkdir()
        path = write(table._replace(frame=money), folder / name)
        before = set(folder.rglob("*"))
        asked = ["--data", str(path), *ROLES, "--budgets", repr(whole * b), "--replicates", "20", "--seed", "1"]
        code, said, err = run(experiment("evaluate"), *asked, *options, "--out", str(folder / f"{name} run"))
        if refused_in_one_line(code, err):
            return left_as_it_was(folder, before)
        values.append({part: pd.read_csv(folder / f"{name} run" / f"{part}.csv") for part in ("values", "areas")})
        # An area that is not defined has a reason.
        assert values[-1]["areas"].value.notna().all() or "Not defined here" in said
    # With so much money everybody has the last treatment, of which the weighed mean is the mean of those who had it.
    arms = sorted({text_of(value) for value in frame.arm})
    mean = frame.sales[[text_of(value) == arms[-1] for value in frame.arm]].mean()
    one, other = values
    assert one["values"].revenue[0] == pytest.approx(mean, rel=1e-5, abs=1e-6 * float(frame.sales.abs().max()))
    # Money in other units is the same money, up to sums of float32 numbers; areas are shares of it but for the first.
    size = float(frame.sales.abs().max())
    for part in ("revenue", "low", "high"):
        np.testing.assert_allclose(other["values"][part] / scale[0], one["values"][part], rtol=1e-4, atol=1e-5 * size)
    first, second = (dict(zip(each["areas"].metric[1:], each["areas"].value[1:], strict=True)) for each in values)
    # scikit-uplift's are of outcomes of 0 and 1 alone.
    for metric in first.keys() & second.keys():
        # These are read at 200 points, of which one on a step of the curve may round to either side.
        tolerance = {"rel": 0.05, "abs": 0.05} if metric in ("AUCC", "MT-AUCC") else {"rel": 1e-3, "abs": 1e-4}
        assert second[metric] == pytest.approx(first[metric], nan_ok=True, **tolerance), metric


@pytest.mark.slow
@settings(COMMANDS, max_examples=150)
@given(table_of_one_width().filter(lambda table: not table.fault), st.integers(-4, 4), st.integers(-4, 4))
def test_evaluations_of_a_hundred_and_fifty_tables_in_two_kinds_of_money(experiment, table, a, b):
    with tempfile.TemporaryDirectory() as folder:
        evaluated(experiment, table, Path(folder), (10.0**a, 10.0**b))


@pytest.mark.slow
@settings(COMMANDS, max_examples=10)
@given(table_of_one_width().filter(lambda table: not table.fault and len(table.frame) == 60), st.data())
def test_trials_in_other_money_plan_alike(experiment, table, data):
    a, b = (2.0 ** data.draw(st.integers(-13, 13)) for _ in range(2))
    plans = []
    for scale in ((1.0, 1.0), (a, b)):
        frame = table.frame.assign(sales=table.frame.sales * scale[0], spend=table.frame.spend * scale[1])
        mean = float(table.frame.spend.mean())
        with tempfile.TemporaryDirectory() as name:
            path, out = write(table._replace(frame=frame), Path(name)), Path(name) / "run"
            options = [*ROLES, *SMALL, "--budgets", repr(mean * scale[1]), "--out", str(out)]
            code, _, err = run(experiment("trial"), "--data", str(path), *options)
            plans.append(err.partition(":")[0] if refused_in_one_line(code, err) else (out / "plan.csv").read_text())
    # Powers of two are exact, so nothing rounds otherwise; the budget is a part of the names in the first line.
    assert plans[0].partition("\n")[2] == plans[1].partition("\n")[2]


@pytest.mark.slow
@settings(COMMANDS, max_examples=150)
@given(
    st.integers(2, 4), st.sampled_from([1, 8, 40]), st.integers(0, 2**32 - 1), st.integers(-4, 4), st.integers(-4, 4),
    st.floats(0.01, 1), st.sampled_from(["people.parquet", "people.csv", "parts"]),
)  # fmt: skip
def test_plans_of_predictions_are_within_a_proven_gap_of_the_best(experiment, m, n, seed, a, b, part, file):
    rng = np.random.default_rng(seed)
    r, c = rng.normal(size=(n, m)).astype(np.float32) * 10.0**a, rng.random((n, m)).astype(np.float32) * 10.0**b
    columns = {f"{role} {j}": surface[:, j] for role, surface in (("r", r), ("c", c)) for j in range(m)}
    budget = c.min(axis=1).mean() + part * np.ptp(c, axis=1).mean()
    with tempfile.TemporaryDirectory() as name:
        path, out = Path(name) / file, Path(name) / "plan.parquet"
        frame = pd.DataFrame(columns)
        write_plain(frame, path)
        options = ["--revenue", *(f"r {j}" for j in range(m)), "--cost", *(f"c {j}" for j in range(m))]
        asked = ["--predictions", str(path), *options, "--budget", repr(float(budget)), "--out", str(out)]
        code, _, err = run(experiment("plan"), *asked)
        assert code == 0, err
        arm = pd.read_parquet(out).treatment.astype(int).to_numpy()
    # No plan is better than the linear program, and this one is at most one person's treatment below it.
    r, c = r.astype(np.float64), c.astype(np.float64)
    spend, value = c[np.arange(n), arm].sum(), r[np.arange(n), arm].sum()
    assert spend <= n * budget * (1 + 1e-6)
    person = np.kron(np.eye(n), np.ones(m))
    best = -linprog(-r.ravel(), A_ub=c.reshape(1, -1), b_ub=[n * budget], A_eq=person, b_eq=np.ones(n)).fun
    rounding = 1e-5 * np.abs(r).sum()
    assert best - np.ptp(r, axis=1).max() - rounding <= value <= best + rounding


def write_plain(frame: pd.DataFrame, path: Path) -> None:
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix:
        frame.to_parquet(path)
    else:
        path.mkdir()
        for k in range(2):
            frame.iloc[k * len(frame) // 2 : (k + 1) * len(frame) // 2].to_csv(path / f"{k}.csv", index=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("population", "options", "roles"),
    [
        ("marketing", ["--truth"], ["treatment", "revenue", "cost"]),
        ("marketing", ["--week", "2", "--strength", "1"], ["treatment", "revenue", "cost"]),
        ("criteo", ["--truth"], ["treatment", "conversion", "visit"]),
    ],
)
def test_a_simulated_folder_is_a_trial_for_every_command(experiment, tmp_path, population, options, roles):
    code, _, err = run(experiment("simulate"), "--rows", "2000", "--population", population, *options,
                       "--out", str(tmp_path / "data"))  # fmt: skip
    assert code == 0, err
    frame = pd.read_parquet(tmp_path / "data")
    assert len(frame) == 2000
    named = [item for pair in zip(("--treatment", "--revenue", "--cost"), roles, strict=True) for item in pair]
    own = [column for column in map(str, frame) if column.startswith("propensity")]
    features = [column for column in map(str, frame) if column not in [*roles, *own] and not column.startswith("true_")]
    design = ["--propensity-columns", *own] if own else []
    asked = ["--data", str(tmp_path / "data"), *named, *design, "--features", *features]
    code, _, err = run(experiment("trial"), *asked, *SMALL, "--out", str(tmp_path / "run"))
    assert code == 0, err
    budget = str(pd.read_csv(tmp_path / "run" / "metrics.csv").budget.max())
    policy = ["--policy", str(tmp_path / "run" / "policies" / "TSM-SL"), "--budget", budget]
    code, _, err = run(experiment("plan"), "--people", str(tmp_path / "data"), *policy, "--out", str(tmp_path / "plan"))
    assert code == 0, err
    assert len(pd.read_parquet(tmp_path / "plan")) == 2000
    if "--truth" in options:
        m = frame[roles[0]].nunique()
        truth = [f"--model.{role}" for role in ("revenue", "cost")]
        columns = [[f"true_{role}_{j}" for j in range(m)] for role in ("revenue", "cost")]
        model = [truth[0], *columns[0], truth[1], *columns[1]]
        code, _, err = run(experiment("evaluate"), *asked, *model, "--budgets", budget, "--replicates", "20",
                           "--out", str(tmp_path / "evaluation"))  # fmt: skip
        assert code == 0, err
        value = pd.read_csv(tmp_path / "evaluation" / "values.csv").iloc[0]
        # The value of the truth's own decisions is the mean of the truth there, up to four errors of as many people as
        # one treatment has.
        outcomes = [frame[names].to_numpy() for names in columns]
        at = np.argmax(outcomes[0] - value.lam * outcomes[1], axis=1)
        expected = outcomes[0][np.arange(2000), at].mean()
        error = frame[roles[1]].std() / np.sqrt(frame[roles[0]].value_counts().min())
        assert abs(value.revenue - expected) < 4 * error
