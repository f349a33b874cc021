"""Prints what is wanted of speed and size beside what is reached, by the other benchmarks.

Figures hold for the machine they were measured on, without other work on it. PyTorch and maq take part where they are
installed.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import bench_losses
import bench_scaling
import bench_solvers
import bench_training
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]


class Line(NamedTuple):
    """One piece of work."""

    work: str
    wanted: str
    reached: str
    beside: str = ""  # the best of others in the same run


@dataclass(frozen=True)
class Config:
    """What is measured."""

    n: int = 1_000_000  # people of solvers and losses
    large: int = 20_000_000  # people of the large path; 0 leaves it out
    rows: int = 400_000  # of a trial in Parquet
    batch: int = 300_000  # of a training step
    train: int = 100_000  # people in training of the quickstart
    seeds: int = 5  # of it
    out: Path | None = None  # a JSON file for the figures


def main(config: Config) -> None:
    """Measure piece by piece; each says its own figures before the table of all."""
    lines: list[Line] = []
    with tempfile.TemporaryDirectory() as folder:
        for piece in (of_solvers, of_losses, of_files, of_steps, of_the_quickstart):
            lines += piece(config, Path(folder))
    table = Table("work", "wanted", "reached", "beside")
    for line in lines:
        table.add_row(*line)
    Console().print(table)
    if config.out is not None:
        config.out.write_text(json.dumps([line._asdict() for line in lines], indent=2) + "\n")


def of_solvers(config: Config, folder: Path) -> Iterator[Line]:
    """The path and the plan of one budget for growing numbers of treatments, and the path of many people."""
    out, arms = folder / "solvers.json", (5, 10, 20)
    bench_solvers.main(bench_solvers.Config(n=(config.n,), arms=arms, large=config.large, rounds=3, out=out))
    cases = json.loads(out.read_text())["cases"]
    usual = [case for case in cases if case["n"] == config.n and case["cores"] == os.cpu_count()]
    others = [name for name in ("maq: path", "NumPy: path") if name in usual[0]["seconds"]][:1]

    def least(name: str) -> str:
        return " / ".join(f"{case['seconds'][name]['least']:.2f}" for case in usual)

    beside = f"{least(others[0])} s, {others[0]}" if others else ""
    what = f"{config.n:,} people x {' / '.join(map(str, arms))} treatments and a control"
    yield Line(f"path, {what}", "0.20 / 0.30 / 0.50 s", f"{least('budget_path')} s", beside)
    yield Line(f"one budget, {what}", "0.10 / 0.17 / 0.30 s", f"{least('allocate, bisect')} s")
    path = [case["seconds"]["budget_path"]["least"] for case in cases]
    (one_core,) = (k for k, case in enumerate(cases) if case["cores"] == 1)
    yield Line("path on one core over path on all", "both used", f"{path[one_core] / path[0]:.2f}")
    if config.large:
        linear = path[-1] / (path[0] * config.large / config.n)
        reached = f"{path[-1]:.1f} s, {linear:.2f} times linear, {cases[-1]['peak_memory_of_path_gib']:.1f} GiB"
        yield Line(f"path, {config.large:,} people x {arms[0]}", "linear, 4 GiB", reached)


def of_losses(config: Config, folder: Path) -> Iterator[Line]:
    """Decision losses with gradient over the prediction loss."""
    out = folder / "losses.json"
    bench_losses.main(bench_losses.Config(n=config.n, rounds=5, out=out))
    figures = json.loads(out.read_text())["losses"]
    for name, wanted in (("PPL", "2 and 6"), ("PIFD", "2 and 6")):
        one, ten = (figures[f"{name}, {k}"]["median_ratio"] for k in (1, 10))
        yield Line(f"{name} over the prediction loss, 1 and 10 budgets", wanted, f"{one:.1f} and {ten:.1f}")
    names = ("IFD matched", "IFD softmax", "DIFD")
    reached = ", ".join(f"{figures[f'{name}, 1']['median_ratio']:.2f}" for name in names)
    yield Line(f"{', '.join(names)} over the prediction loss, one multiplier", "1.5", reached)


def of_files(config: Config, folder: Path) -> Iterator[Line]:
    """Epochs of IFD from Parquet files over epochs in memory."""
    given = bench_scaling.Config(rows=config.rows, rounds=1)
    bench_scaling.write(given, folder)
    memory, files = (np.median(bench_scaling.run(given, "IFD", kind, str(folder))) for kind in ("memory", "files"))
    yield Line("IFD from Parquet over in memory, rows/s", "0.97", f"{files / memory:.2f}")


def of_steps(config: Config, folder: Path) -> Iterator[Line]:
    """A training step beside PyTorch and beside its bare matrix products."""
    out = folder / "training.json"
    bench_training.main(bench_training.Config(batches=(config.batch,), rounds=5, epochs=(), out=out))
    figures: dict[str, dict[str, Any]] = json.loads(out.read_text())["steps"][str(config.batch)]
    for name, wanted in (("PL", "3.3, 89%"), ("IFD", "2.9, 112%")):
        line = figures[name]
        torch = f"{line['x_torch']:.1f}" if "x_torch" in line else "(no PyTorch)"
        reached = f"{torch}, {line['of_matrix_products']:.0%}"
        yield Line(f"step of {name} over PyTorch's, {config.batch:,} rows; of its bare products", wanted, reached)


def of_the_quickstart(config: Config, folder: Path) -> Iterator[Line]:
    """What a person waits for the table of the README: the first time, and again with programs that are kept."""
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    environment |= {"XDG_CACHE_HOME": str(folder / "cache"), "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])}
    seconds = []
    for number in (1, 2):
        start = time.perf_counter()
        command = [sys.executable, str(ROOT / "experiments" / "quickstart.py"), "--out", str(folder / f"run{number}")]
        command += ["--train", str(config.train), "--seeds", str(config.seeds)]
        subprocess.run(command, env=environment, check=True)
        seconds.append(time.perf_counter() - start)
    yield Line("./scripts/run, first and second time", "50 s", f"{seconds[0]:.0f} and {seconds[1]:.0f} s")


if __name__ == "__main__":
    main(tyro.cli(Config))
