import contextlib
import io
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import pytest
import tyro

from dfcl_jax import InputError
from dfcl_jax.data import Reading
from dfcl_jax.runs import RunConfig, Within, command
from dfcl_jax.runs.command import print_anything
from dfcl_jax.runs.options import COUNT, SHARE, check_ranges


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, ""),
        (OSError("checkpoint there: found no space"), 2, "error: checkpoint there: found no space\n"),
        (InputError("seeds: found 0"), 2, "error: seeds: found 0\n"),
    ],
)
def test_what_ends_a_run_is_one_line_and_an_exit_code(monkeypatch, capsys, error, code, said):
    def main(config: RunConfig) -> None:
        raise error

    monkeypatch.setattr(sys, "argv", ["test"])
    with pytest.raises(SystemExit) as stop:
        command(main, RunConfig)
    assert stop.value.code == code
    assert capsys.readouterr().err == said


def test_any_experiment_can_be_profiled_and_gets_the_options_of_its_own_class(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["test", "--seeds", "3", "--profile", str(tmp_path / "profile")])
    seen = []
    command(lambda config: seen.append((config, jax.block_until_ready(jnp.ones(3) + 1))), RunConfig)
    assert type(seen[0][0]) is RunConfig
    assert seen[0][0] == RunConfig(seeds=3)
    assert list((tmp_path / "profile").rglob("perfetto_trace.json.gz"))


@dataclass(frozen=True)
class Inner:
    weight: Annotated[float, Within(0, above=True)] = 1.0


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command."""

    data: Path
    out: Path | None = None
    budgets: tuple[float, ...] = ()
    kind: Literal["a", "b"] = "a"
    reading: Annotated[Reading, tyro.conf.arg(name="")] = field(default_factory=Reading)
    two_stage: Inner = field(default_factory=Inner)


def asked(monkeypatch, capsys, *words: str) -> tuple[list[Command], str]:
    """What a command is given, and what is said of words that it cannot be given."""
    given: list[Command] = []
    monkeypatch.setattr(sys, "argv", ["test", *words])
    with contextlib.suppress(SystemExit):
        command(given.append, Command)
    return given, capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--data", "a", "--resume"],
            "--resume: found no such option, expected nothing in its place: the same",
        ),
        (["--data", "a", "--run", "b"], "--run: found no such option, expected --policy RUN_FOLDER/policies/METHOD"),
        (["--data", "a", "--method", "b"], "--method: found no such option, expected --policy RUN_FOLDER"),
        (["--dta", "a"], "--dta: found no such option, expected --data"),
        (["--data", "a", "--budget=1"], "--budget: found no such option, expected --budgets"),
        (["--data", "a", "--weight", "1"], "--weight: found no such option, expected --two-stage.weight"),
        (
            ["--data", "a", "--reading.separator", ";"],
            "--reading.separator: found no such option, expected --sep",
        ),
        (["--data", "a", "--zzz"], "--zzz: found no such option, expected one of those that --help names"),
        (["--data", "a", "--kind", "c"], "invalid choice 'c' for argument '--kind'. Expected one of ('a', 'b')."),
        (["--data", "a", "--budgets", "much"], "Error parsing --budgets"),
        (["--data", "a", "b"], "Unrecognized options: b"),
        ([], "--data PATH"),
        (["--data", "a", "--separator", "ab"], "separator: found 'ab', expected a single character"),
        (["--data=~no such user/a"], "--data: found ~no such user/a, expected a user who has a folder"),
    ],
)
def test_options_that_cannot_be_read_are_one_line_that_says_what_was_perhaps_meant(monkeypatch, capsys, words, said):
    given, err = asked(monkeypatch, capsys, *words)
    assert given == []
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert said in err


def test_a_tilde_is_the_home_folder_in_every_path(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (given,), _ = asked(monkeypatch, capsys, "--data=~/a.csv", "--out=~/run")
    assert (given.data, given.out) == (tmp_path / "a.csv", tmp_path / "run")


def test_a_name_of_two_lines_is_refused_in_one(monkeypatch, capsys):
    def main(config: RunConfig) -> None:
        raise InputError("column a\nb: found \x1b[31m")

    monkeypatch.setattr(sys, "argv", ["test"])
    with pytest.raises(SystemExit):
        command(main, RunConfig)
    assert capsys.readouterr().err == "error: column a\\nb: found \\x1b[31m\n"


@pytest.mark.parametrize("buffering", [-1, 0])
def test_a_run_whose_output_nobody_reads_any_more_goes_on(monkeypatch, buffering):
    reader, writer = os.pipe()
    stream = io.TextIOWrapper(os.fdopen(writer, "wb", buffering), write_through=not buffering)
    monkeypatch.setattr(sys, "stdout", stream)
    print_anything()
    print("±", flush=True)
    assert os.read(reader, 100) == "±\n".encode()
    os.close(reader)
    for k in range(1000):
        print(k, flush=k % 100 == 0)
    sys.stdout.flush()
    stream.close()


def test_options_that_cannot_be_met_are_refused_before_any_work(monkeypatch):
    monkeypatch.setattr("dfcl_jax.train.record.find_spec", lambda name: None)
    with pytest.raises(InputError, match="tensorboard: found no package tensorboardX, expected it: pip install"):
        RunConfig(tensorboard=True)
    with pytest.raises(InputError, match=r"seconds between checkpoints: found -1\.0, expected at least 0"):
        RunConfig(checkpoint_seconds=-1.0)


@dataclass(frozen=True)
class Options:
    rows: Annotated[int, COUNT] = 1
    share: Annotated[float, SHARE] | None = None
    budgets: tuple[Annotated[float, Within(0)], ...] = ()
    inner: Inner = field(default_factory=Inner)
    path: Path = Path("anywhere")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(rows=0), "--rows: found 0, expected a finite number of at least 1"),
        (Options(share=1.0), r"--share: found 1\.0, expected a finite number above 0 and below 1"),
        (Options(share=float("nan")), "--share: found nan, expected a finite number above 0 and below 1"),
        (Options(budgets=(0.1, -1.0)), r"--budgets: found -1\.0, expected a finite number of at least 0"),
        (Options(budgets=(float("inf"),)), "--budgets: found inf"),
        (Options(inner=Inner(0.0)), r"--inner\.weight: found 0\.0, expected a finite number above 0"),
    ],
)
def test_a_number_out_of_its_range_is_refused_by_its_name_on_the_command_line(options, message):
    with pytest.raises(InputError, match=message):
        check_ranges(options)


def test_numbers_in_their_ranges_pass():
    check_ranges(Options(rows=1, share=0.5, budgets=(0.0, 1e9)))


def test_a_stream_that_lacks_a_character_is_given_plain_ones(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    print_anything()
    print("1.0 ±0.1 … ≥ 2 für")
    stream.flush()
    assert stream.buffer.getvalue() == b"1.0 +-0.1 ... >= 2 f?r\n"  # pyright: ignore
