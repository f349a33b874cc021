"""Times epochs of the Criteo network: on two processes of a core each against one, and from files against memory."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tyro
from rich.console import Console
from rich.table import Table

from dfcl_jax import Trial, losses, scores
from dfcl_jax.data import Columns, open_trial, sources
from dfcl_jax.models import shared_trunk
from dfcl_jax.train import FitConfig, MeanOverRows, Record, Rows, Stage, StageLog, Streamed, Validation, data_mesh, fit

MODEL = shared_trunk(2)
LAM = 0.1
OBJECTIVES = {
    "PL": MeanOverRows(lambda o, rows, _: losses.policy_learning_loss(o, rows.extra, LAM)),
    "IFD": lambda o, rows, _: losses.finite_difference_loss(o, rows.extra, LAM),
}
KINDS = ("1 process, 1 core", "2 processes, a core each", "memory", "files", "files, no step")


@dataclass(frozen=True)
class Config:
    """What is timed, and how often."""

    rows: int = 400_000  # of each process
    batch: int = 100_000  # of each process
    epochs: int = 3  # timed, after one that compiles
    rounds: int = 2  # every candidate runs once a round
    losses: tuple[str, ...] = ("PL", "IFD")
    group: int = 50_000  # rows of a row group
    out: Path | None = None  # a JSON file for the figures


def main(config: Config) -> None:
    """Time the candidates in turn, round by round, each in processes of its own."""
    rates: dict[str, dict[str, list[float]]] = {loss: {kind: [] for kind in KINDS} for loss in config.losses}
    with tempfile.TemporaryDirectory() as folder:
        write(config, Path(folder))
        for _ in range(config.rounds):
            for loss in config.losses:
                for kind in KINDS:
                    rates[loss][kind] += run(config, loss, kind, folder)
    table = Table("loss", *(f"{kind}, rows/s" for kind in KINDS), "weak scaling", "files / memory")
    figures = {}
    for loss, kinds in rates.items():
        middle = {kind: float(np.median(each)) for kind, each in kinds.items()}
        scaling = middle[KINDS[1]] / (2 * middle[KINDS[0]])
        stream = middle["files"] / middle["memory"]
        table.add_row(loss, *(f"{rate:,.0f}" for rate in middle.values()), f"{scaling:.2f}", f"{stream:.2f}")
        figures[loss] = {"rows_per_s": kinds, "weak_scaling": scaling, "files_over_memory": stream}
    Console().print(table)
    if config.out is not None:
        record = {"config": asdict(config) | {"out": None}, "device": str(jax.devices()[0]), "losses": figures}
        config.out.write_text(json.dumps(record, indent=2) + "\n")


def run(config: Config, loss: str, kind: str, folder: str) -> list[float]:
    """Rows per second of each timed epoch, of all processes together."""
    number = 2 if kind == KINDS[1] else 1
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    given = json.dumps(asdict(config) | {"out": None})
    command = [sys.executable, __file__, "--worker", given, loss, kind, folder, address]
    workers = [subprocess.Popen([*command, str(k)], stdout=subprocess.PIPE, text=True) for k in range(number)]
    outputs = [worker.communicate()[0] for worker in workers]
    if any(worker.returncode for worker in workers):
        raise SystemExit(f"a process of {kind!r} failed")
    return json.loads(outputs[0].splitlines()[-1])


def worker(given: str, loss: str, kind: str, folder: str, address: str, process: str) -> None:
    """One process of one candidate; it prints the rates."""
    config, number = Config(**json.loads(given)), 2 if kind == KINDS[1] else 1
    if kind in KINDS[:2]:
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[int(process)]})
    if number > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(address, number, int(process))
    times = [time.perf_counter()]
    epochs = FitConfig(config.epochs + 1, config.batch * number, learning_rate=1e-5)

    def timed(epoch: int, record: Record) -> None:
        del epoch, record
        times.append(time.perf_counter())

    if kind == "files, no step":
        trial = opened(folder)
        for _ in range(epochs.epochs):
            for _ in trial.batches(0, config.batch, buffer=2**19):
                pass
            timed(0, Record(np.zeros(()), np.zeros(())))  # pyright: ignore
    else:
        train(config, epochs, OBJECTIVES[loss], kind, folder, int(process), timed)
    seconds = np.diff(times)[1:]
    print(json.dumps((config.rows * number / seconds).tolist()))


def train(
    config: Config, epochs: FitConfig, objective: Callable, kind: str, folder: str, process: int, timed: Callable
) -> None:
    """A fit whose epochs are timed; validation takes no time."""
    start, valid = MODEL.init(jax.random.key(0), jnp.zeros((1, 12))), Validation(jnp.zeros((1, 12)), None)
    stage = Stage(MODEL, objective, lambda outcomes, _: outcomes.r.mean(), epochs)
    if kind == "files":
        source, mesh = Streamed(opened(folder), lambda trial, _: Rows(trial, scores.ipw(trial))), None
    else:
        trial = Trial(*map(jnp.asarray, data(config, process)))
        source, mesh = Rows(trial, scores.ipw(trial)), data_mesh() if kind in KINDS[:2] else None
    fit(jax.random.key(1), start, source, None, valid, stage, mesh=mesh, log=StageLog(timed))


def data(config: Config, process: int) -> tuple[np.ndarray, ...]:
    """Random numbers in the shape of the Criteo trial: time does not depend on their values."""
    rng, n = np.random.default_rng(process), config.rows
    x = rng.normal(size=(n, 12)).astype(np.float32)
    t = (rng.random(n) < 0.85).astype(np.int32)
    r, c = ((rng.random(n) < rate).astype(np.float32) for rate in (0.003, 0.05))
    return x, t, r, c, np.array([0.15, 0.85], np.float32)


def write(config: Config, folder: Path) -> None:
    """The rows of the first process as a Parquet file."""
    x, t, r, c, _ = data(config, 0)
    columns = dict(zip(sources.CRITEO.features, x.T, strict=True)) | {"treatment": t, "conversion": r, "visit": c}
    pq.write_table(pa.table(columns), folder / "criteo.parquet", row_group_size=config.group)


def opened(folder: str):
    """That file, checked."""
    return open_trial(folder, Columns("treatment", "conversion", "visit", propensities=(0.15, 0.85)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(*sys.argv[2:])
    else:
        main(tyro.cli(Config))
