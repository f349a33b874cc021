"""A run in a process of its own, killed and interrupted at several moments, and resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from dfcl_jax.report import load_fit

ROOT = Path(__file__).parents[2]
# PL-own-units solves its multipliers anew before each epoch: they too must come back.
SCRIPT = """
import signal
from functools import partial

from dfcl_jax import METHODS
from dfcl_jax.data import simulate
from dfcl_jax.report import RunConfig, command, run_simulated

signal.signal(signal.SIGINT, signal.default_int_handler)
name = "PL-own-units"
draw = partial(simulate.marketing, d=9)
command(
    lambda config: run_simulated("small", config, draw, (400, 200, 200), {name: METHODS[name]}, arms=tuple("abcde")),
    RunConfig,
)
"""
STAGES = {"TSM-SL": 10, "PL-own-units": 10}
OPTIONS = ["--seeds", "2", "--study.network.hidden", "8", "--checkpoint-seconds", "0"]
for part in ("warm", "decision"):
    OPTIONS += [f"--study.{part}.epochs", "10", f"--study.{part}.batch-size", "100"]


def started(out: Path, compiled: Path, *options: str) -> subprocess.Popen[str]:
    settings = {
        "PYTHONPATH": str(ROOT),
        "JAX_COMPILATION_CACHE_DIR": str(compiled),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "--out", str(out), *OPTIONS, *options],
        env=os.environ | settings, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)


def record(out: Path) -> list[tuple[str, int, list[float], list[float]]]:
    lines = [json.loads(line) for line in (out / "record.jsonl").read_text().splitlines()]
    return [(line["stage"], line["epoch"], line["loss"], line["value"]) for line in lines]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> Path:
    """The folder of the run that nothing interrupts."""
    out = tmp_path_factory.mktemp("whole") / "run"
    process = started(out, compiled)
    assert process.wait() == 0, process.communicate()
    return out


def test_a_run_killed_at_any_moment_and_resumed_is_the_run_uninterrupted(tmp_path: Path, compiled: Path, whole: Path):
    out = tmp_path / "run"
    partial = out.with_name("run.partial")

    def lines() -> int:
        return len((partial / "record.jsonl").read_bytes().splitlines()) if (partial / "record.jsonl").exists() else 0

    def writing(stage: str) -> bool:
        return any((partial / "checkpoint" / stage).glob(".*"))

    moments = (
        (lambda: lines() >= 4, signal.SIGKILL),  # while the fourth epoch is kept, or in the fifth
        (lambda: lines() >= 12 and writing("PL-own-units"), signal.SIGKILL),  # while a checkpoint is half written
        (lambda: lines() >= 16, signal.SIGINT),
    )
    resume: tuple[str, ...] = ()
    for moment, kind in moments:
        process = started(out, compiled, *resume)
        wait_until(moment, process)
        process.send_signal(kind)
        said = process.communicate()[1]
        assert process.returncode == (-signal.SIGKILL if kind == signal.SIGKILL else 130)
        assert (f"interrupted: go on with --out {out} --resume" in said) == (kind == signal.SIGINT)
        assert not out.exists()
        resume = ("--resume",)
    process = started(out, compiled, *resume)
    said = process.communicate()[0]
    assert process.returncode == 0
    assert "TSM-SL: taken from the earlier run" in said
    assert "PL-own-units: goes on after epoch" in said

    for stage, epochs in STAGES.items():
        one, other = load_fit(whole, stage), load_fit(out, stage)
        jax.tree.map(np.testing.assert_array_equal, one._asdict(), other._asdict())
        assert one.loss.shape == (epochs, 2)
    assert (out / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()
    assert record(out) == record(whole)
    assert [line[:2] for line in record(out)] == [(s, e + 1) for s, epochs in STAGES.items() for e in range(epochs)]
    assert list(tmp_path.iterdir()) == [out]
