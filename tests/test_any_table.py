"""Small tables of any kind, as people have them in files, are read as what they say or refused in one line."""

import datetime
import gzip
import io
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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dfcl_jax import InputError, Trial, metrics
from dfcl_jax.data import Columns, encode, fit_encoder, open_trial, trial_table
from dfcl_jax.data.kinds import text_of
from dfcl_jax.data.leaks import check_leaks
from dfcl_jax.runs import command

# Texts that a terminal, a picture, a CSV reader or a number parser could take for something else.
NAMES = ["age", "a b", "x.5", "$d$", "[red]", "[/b]", "Größe", "100%", "_", "a,b", 'say "hi"', "naïve;x", "lam", "row"]
ARMS = {
    "codes": [0, 1, 2, 3],
    "shares": [0.0, 0.05, 0.1, 0.2],
    "truths": [False, True],
    "words": ["no mail", "[/20%]", "5 € off", "$10$"],
    "text codes": ["0", "1", "2", "3"],
    "sizes": ["36", "38", "M", "L"],
}
FILES = ["a.parquet", "a.csv", "a.tsv", "a.csv.gz", "semicolon.csv", "latin.csv", "parts", "csv parts", "region"]


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
def any_table(draw: st.DrawFn, rows: st.SearchStrategy[int], faults: bool = True) -> AnyTable:
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
    fault = draw(st.sampled_from(["", "", "", *sorted(FAULTS)])) if faults else ""
    if fault:
        frame = FAULTS[fault][0](frame)
    return AnyTable(frame, draw(st.sampled_from(FILES)), fault)


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
RUN = settings(derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))


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
    assert all("\n" not in sentence for sentence in [*said, *check_leaks(read)])
    # The reader of trials larger than memory sees the same.
    streamed = open_trial(path, COLUMNS)
    assert streamed.arms == read.arms
    assert streamed.encoder == encoder
    for one, other in zip(streamed.read(), trial, strict=True):
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


ROLES = ["--treatment", "arm", "--revenue", "sales", "--cost", "spend"]
SMALL = [
    *("--seeds", "1", "--methods", "PL-own-units", "--decision.epochs", "1", "--two-stage.training.epochs", "1"),
    *("--two-stage.network.hidden", "4"),
]


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


@pytest.mark.slow
@settings(RUN, max_examples=60)
@given(any_table(st.sampled_from([8, 30, 120])))
def test_commands_end_with_an_answer_or_with_one_line(experiment, table):
    trial, plan = experiment("trial"), experiment("plan")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path, out, planned = str(write(table, folder)), folder / "run", folder / "plan.parquet"
        code, _, err = run(trial, "--data", path, *ROLES, *SMALL, "--out", str(out))
        if refused_in_one_line(code, err):
            assert not out.exists()
            return
        assert not table.fault
        values = pd.read_csv(out / "values.csv")
        assert np.isfinite(values[["revenue", "cost"]]).all(axis=None)
        assert set(values.method) == {"TSM-SL", "PL-own-units", "cheapest arm"}
        budget = str(values.budget.max())
        policy = str(out / "policies" / "PL-own-units")
        asked = ["--people", path, "--policy", policy, "--budget", budget, "--newcomers.unlike", "1"]
        code, said, err = run(plan, *asked, "--out", str(planned))
        if refused_in_one_line(code, err):
            assert not planned.exists()
            return
        given_to = pd.read_parquet(planned).treatment
        assert len(given_to) == len(table.frame)
        assert set(given_to) <= {text_of(value) for value in table.frame.arm}
        assert "measured" in said
