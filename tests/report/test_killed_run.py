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
# Two fits one after the other, with a constant that is renewed from the parameters: it too must come back.
SCRIPT = """
import signal

import jax
import jax.numpy as jnp

from dfcl_jax.data import simulate
from dfcl_jax.losses import prediction_loss
from dfcl_jax.models import mlp
from dfcl_jax.report import RunConfig, command, experiment
from dfcl_jax.train import FitConfig, RecordFile, Rows, fit, watch

signal.signal(signal.SIGINT, signal.default_int_handler)
key, model = jax.random.key(0), mlp(5, hidden=(8,))


def main(config):
    keys = jax.random.split(key)
    trial, _ = jax.jit(jax.vmap(lambda key: simulate.marketing(key, 1000, d=9)))(keys)
    params = jax.jit(jax.vmap(lambda key: model.init(key, trial.x[0, :1])))(keys)
    with experiment("small", config) as run:
        record = RecordFile(run.path / "record.jsonl")
        for stage in ("first", "second"):
            params = fit(
                keys, params, Rows(trial), jnp.ones(2), trial.x, trial,
                model=model,
                objective=lambda outcomes, rows, shared: shared * prediction_loss(outcomes, rows.trial),
                validate=lambda outcomes, trial: -prediction_loss(outcomes, trial),
                config=FitConfig(epochs=10, batch_size=100, learning_rate=1e-2),
                renew=lambda params, shared: 0.9 * shared + 0.01 * params["params"]["Dense_0"]["bias"].sum(axis=1),
                on_epoch=watch(stage, 2000, record),
                checkpoints=run.checkpoints(stage, seconds=0),
            ).params


command(main, RunConfig)
"""
STAGES = {"first": 10, "second": 10}


def started(out: Path, compiled: Path, *options: str) -> subprocess.Popen[str]:
    settings = {
        "PYTHONPATH": str(ROOT),
        "JAX_COMPILATION_CACHE_DIR": str(compiled),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "--out", str(out), *options],
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


@pytest.mark.slow
def test_a_run_killed_at_any_moment_and_resumed_is_the_run_uninterrupted(tmp_path: Path, compiled: Path, whole: Path):
    out = tmp_path / "run"
    partial = out.with_name("run.partial")

    def lines() -> int:
        return len((partial / "record.jsonl").read_bytes().splitlines()) if (partial / "record.jsonl").exists() else 0

    def writing(stage: str) -> bool:
        return any((partial / "checkpoint" / stage).glob(".*"))

    moments = (
        (lambda: lines() >= 4, signal.SIGKILL),  # while the fourth epoch is kept, or in the fifth
        (lambda: lines() >= 12 and writing("second"), signal.SIGKILL),  # while a checkpoint is half written
        (lambda: lines() >= 14, signal.SIGTERM),
        (lambda: lines() >= 17, signal.SIGINT),
    )
    resume: tuple[str, ...] = ()
    for moment, kind in moments:
        process = started(out, compiled, *resume)
        wait_until(moment, process)
        process.send_signal(kind)
        said = process.communicate()[1]
        assert process.returncode == (-signal.SIGKILL if kind == signal.SIGKILL else 130)
        assert (f"interrupted: go on with --out {out} --resume" in said) == (kind != signal.SIGKILL)
        assert not out.exists()
        resume = ("--resume",)
    process = started(out, compiled, *resume)
    said = process.communicate()[0]
    assert process.returncode == 0
    assert f"Written to {out}" in said
    for stage, epochs in STAGES.items():
        one, other = load_fit(whole, stage), load_fit(out, stage)
        jax.tree.map(np.testing.assert_array_equal, one._asdict(), other._asdict())
        assert one.loss.shape == (epochs, 2)
    assert record(out) == record(whole)
    assert [line[:2] for line in record(out)] == [(s, e + 1) for s, epochs in STAGES.items() for e in range(epochs)]
    assert list(tmp_path.iterdir()) == [out]
