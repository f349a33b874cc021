"""Measures the peak memory and the time of each command for one trial of any size, from its simulation to a plan."""

import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from subprocess import DEVNULL, CalledProcessError, Popen

import tyro
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
EPOCH = ("--two-stage.training.epochs", "1", "--decision.epochs", "1")
TRIAL = ("--treatment", "treatment", "--revenue", "conversion", "--cost", "visit", "--control", "0")


@dataclass(frozen=True)
class Config:
    """What is measured."""

    rows: int = 1_000_000  # of a Criteo-like trial of two treatments and 12 features
    memory: float = 1.0  # GB beyond which a trial is streamed
    large: float = 64.0  # GB of a command that holds the trial in memory; 0 leaves it out
    evaluate: bool = True  # which holds the trial and its predictions in memory
    out: Path | None = None  # a JSON file for the figures


def main(config: Config) -> None:
    """Run every command in a process of its own."""
    table = Table("command", "peak memory, GiB", "seconds", title=f"{config.rows:,} rows")
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, command in commands(config, Path(folder)).items():
            peak, seconds = measured(command)
            figures[name] = {"peak_gib": peak, "seconds": seconds}
            table.add_row(name, f"{peak:.2f}", f"{seconds:.0f}")
    Console().print(table)
    if config.out is not None:
        record = {"config": asdict(config) | {"out": None}, "commands": figures}
        config.out.write_text(json.dumps(record, indent=2) + "\n")


def commands(config: Config, folder: Path) -> dict[str, list[str]]:
    """Each command with its options; later ones read what earlier ones write."""
    data, train = str(folder / "data"), ("criteo", "--data", str(folder / "data"), *EPOCH, "--methods", "PL-own-units")
    predicted = [f"true_{money}_{arm}" for money in ("revenue", "cost") for arm in (0, 1)]
    streamed, held = str(folder / "streamed"), str(folder / "held")
    policy = ("--policy", f"{streamed}/policies/PL-own-units", "--budget", "0.05")
    given = {
        "simulate": ("simulate", "--population", "criteo", "--rows", str(config.rows), "--truth", "--out", data),
        "criteo, streamed": (*train, "--memory", str(config.memory), "--out", streamed),
        "criteo, in memory": (*train, "--memory", str(config.large), "--out", held),
        "plan": ("plan", "--people", data, *policy, "--out", str(folder / "plan.parquet")),
        "evaluate": (
            *("evaluate", "--data", data, *TRIAL, "--replicates", "20", "--out", str(folder / "judged")),
            *("--model.revenue", *predicted[:2], "--model.cost", *predicted[2:]),
        ),
    }
    left_out = {"criteo, in memory": not config.large, "evaluate": not config.evaluate}
    return {
        name: [sys.executable, str(ROOT / "experiments" / f"{experiment}.py"), *options]
        for name, (experiment, *options) in given.items()
        if not left_out.get(name)
    }


def measured(command: list[str]) -> tuple[float, float]:
    """Peak memory of a command in GiB, and its seconds."""
    start = time.perf_counter()
    running = Popen(command, stdout=DEVNULL)
    _, status, usage = os.wait4(running.pid, 0)
    if status:
        raise CalledProcessError(os.waitstatus_to_exitcode(status), command)
    return usage.ru_maxrss / 2**20, time.perf_counter() - start


if __name__ == "__main__":
    main(tyro.cli(Config))
