"""A run in a process of its own, killed and interrupted at several moments, and gone on with."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dfcl_jax.files import read_npz

ROOT = Path(__file__).parents[2]
OPTIONS = ["--train", "600", "--valid", "200", "--test", "400", "--seeds", "2", "--methods", "PL-own-units"]
OPTIONS += ["--two-stage.network.hidden", "8", "--checkpoint-seconds", "0"]
OPTIONS += ["--two-stage.training.epochs", "8", "--decision.epochs", "8"]

pytestmark = pytest.mark.slow


def started(out: Path, compiled: Path) -> subprocess.Popen[str]:
    settings = {"JAX_COMPILATION_CACHE_DIR": str(compiled), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "experiments" / "quickstart.py"), "--out", str(out), *OPTIONS],
        env=os.environ | settings, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> Path:
    """The folder of the run that nothing interrupts."""
    out = tmp_path_factory.mktemp("whole") / "run"
    process = started(out, compiled)
    said = process.communicate()
    assert process.returncode == 0, said
    return out


def cells(out: Path) -> dict[str, Path]:
    return {path.parent.name: path.parent for path in out.glob("cells/*/*/cell.json")}


def test_a_run_killed_at_any_moment_and_gone_on_with_is_the_run_uninterrupted(tmp_path, compiled, whole):
    out = tmp_path / "run"

    def epochs() -> int:
        return sum(len(file.read_bytes().splitlines()) for file in out.glob("cells/.*/record.jsonl"))

    moments = (
        (lambda: epochs() >= 3, signal.SIGKILL),  # in two-stage learning
        (lambda: len(cells(out)) == 2 and epochs() >= 2, signal.SIGKILL),  # in the decision stage
        (lambda: len(cells(out)) == 2 and epochs() >= 5, signal.SIGTERM),
    )
    for moment, kind in moments:
        process = started(out, compiled)
        wait_until(moment, process)
        process.send_signal(kind)
        said = process.communicate()[1]
        assert process.returncode == (-signal.SIGKILL if kind == signal.SIGKILL else 130)
        assert (f"the same command with --out {out} goes on from here" in said) == (kind != signal.SIGKILL)
    process = started(out, compiled)
    said = process.communicate()[0]
    assert process.returncode == 0
    assert "TSM-SL, seed 1: taken from the earlier run" in said
    for table in ("metrics.csv", "quality.csv", "table.md"):
        assert (out / table).read_bytes() == (whole / table).read_bytes()
    assert cells(out).keys() == cells(whole).keys()
    for name, cell in cells(out).items():
        one, other = (read_npz((folder / "params.npz").read_bytes()) for folder in (cell, cells(whole)[name]))
        assert str(one) == str(other)
        records = [pd.read_csv(folder / "record.csv") for folder in (cell, cells(whole)[name])]
        for column in ("epoch", "loss", "value"):
            np.testing.assert_array_equal(records[0][column], records[1][column])
    # Nothing is left of the work in between.
    assert list(out.glob("cells/.*")) == []
    assert not (out / "lock").exists()
