"""The run folder: cells that are trained once, and tables and figures that are written anew from them.

The same command with the same folder goes on with it, whatever ended the run before. Every file appears whole or not at
all, and one process at a time writes to a folder.
"""

import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import pandas as pd
from rich.console import Console

from dfcl_jax.errors import refuse
from dfcl_jax.files import locked, write_atomically
from dfcl_jax.methods import describe
from dfcl_jax.report import figures
from dfcl_jax.report import proof as proof_page
from dfcl_jax.report.summary import caption, cells, markdown, summarise
from dfcl_jax.report.terminal import frame_tables, say, show, terminal_tables
from dfcl_jax.runs.config import FolderConfig
from dfcl_jax.runs.progress import StudyProgress
from dfcl_jax.study import Cells, Proof, Study
from dfcl_jax.train import Checkpoints, TensorBoard

CONFIG = "config.json"
LOCK = "lock"
# Options that change nothing about what comes of a run.
BESIDE_THE_RUN = ("out", "checkpoint_seconds", "tensorboard")


class Run:
    """A run in its folder; made by `open_run`."""

    def __init__(self, path: Path, config: Any, data: dict[str, Any], console: Console):
        self.path, self.console = path, console
        self._config, self._data = config, data
        self._progress: StudyProgress | None = None

    def cells(self, **more: Any) -> Cells:
        """The cells of this run's data, with progress on the terminal; `more` tells one population from others."""
        observers = [TensorBoard(self.path / "tensorboard")] if getattr(self._config, "tensorboard", False) else []
        self._progress = self._progress or StudyProgress(console=self.console, observers=observers)
        seconds = getattr(self._config, "checkpoint_seconds", Checkpoints.seconds)
        return Cells(self.path / "cells", data=self._data | more, seconds=seconds, watcher=self._progress.watcher())

    def fixed(self, name: str, value: Callable[[], Any]) -> Any:
        """A fact of the run that stays what it was when the folder was made, such as its budgets."""
        facts = json.loads((self.path / CONFIG).read_text())
        if name not in facts["fixed"]:
            facts["fixed"][name] = value()
            self.write_text(CONFIG, _as_text(facts))
        return json.loads((self.path / CONFIG).read_text())["fixed"][name]

    def write_text(self, name: str, text: str) -> None:
        """Write a file of the run."""
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path / name, text.encode())

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Write a table as NAME.csv."""
        self.write_text(f"{name}.csv", table.to_csv(index=False))

    def say(self, *sentences: str) -> None:
        """Print sentences as they are."""
        for sentence in sentences:
            say(self.console, sentence, wrap=True)

    def show(self, table: pd.DataFrame, caption: str = "") -> None:
        """Print a table, whatever the width of the terminal."""
        show(self.console, frame_tables(table, width=self.console.width))
        self.say(*([caption] if caption else []))

    def draw(self, picture: Callable[..., None], *of: Any) -> None:
        """Draw a picture; one that cannot be drawn is named and costs nothing else."""
        try:
            picture(*of)
        except Exception as error:  # whatever a library of pictures may raise
            self.say(f"A picture could not be drawn ({type(error).__name__}: {error})")

    def report_proof(self, proof: Proof, study: Study, slopes: pd.DataFrame) -> None:
        """Write the tables and the figure of a proof, and print its page."""
        self.write_table("metrics", study.values)
        self.write_table("quality", study.quality)
        for name in ("values", "lifts", "per_cent"):
            self.write_table(f"proof_{name}", getattr(proof, name))
        self.write_table("calibration", slopes)
        if not proof.budgets:
            self.say("No budget that every method can meet, so there is nothing to compare.")
            return
        self.write_text("table.md", proof_page.markdown(proof, study, slopes))
        self._print(*proof_page.summary(proof, study))
        self.say(proof_page.caption(proof, study), "", "Lift at each budget:")
        self._print(*proof_page.by_budget(proof))
        if len(slopes):
            self.say(proof_page.CALIBRATION)
            self._print(*proof_page.calibration(slopes))
        self.say(proof_page.verdict(proof, study))
        self.draw(figures.proof_against_budget, proof, study.judge.base, self.path / "value_by_budget.png")

    def _print(self, headers: list[str], rows: list[list[str]]) -> None:
        show(self.console, terminal_tables(headers, rows, width=self.console.width))

    def report(self, study: Study) -> None:
        """Write the tables and the figure of a study, and print its table."""
        self.write_table("metrics", study.values)
        self.write_table("quality", study.quality)
        table = summarise(study)
        self.write_text("table.md", markdown(table, study))
        self._print(*cells(table, study))
        self.say(caption(study))
        self.draw(figures.value_against_budget, study, self.path / "value_by_budget.png")


@contextmanager
def open_run(name: str, config: FolderConfig, **data: Any) -> Iterator[Run]:
    """The folder of a run, made or gone on with.

    Args:
        name: of the experiment.
        config: its options.
        data: what tells the data from others, as data for JSON; a folder is for one.

    Raises:
        InputError: the folder is not a run's, or one of another experiment or other data; another process writes to it.
    """
    out = run_path(name, config.out)
    facts = _facts(name, config, data)
    made = not out.exists()
    if made:
        try:
            out.mkdir(parents=True)
        except OSError as error:
            refuse("run folder", found=f"{out}, which cannot be made ({error})", expected="a place to write to")
    else:
        facts["fixed"] = _kept(out, facts)
    console = Console()
    with locked(out / LOCK) as alone:
        if not alone:
            refuse("run folder", found=f"another process that writes to {out}", expected="one at a time")
        write_atomically(out / CONFIG, _as_text(facts).encode())
        try:
            yield Run(out, config, facts["data"], console)
        except BaseException as error:
            # What a run in a new folder leaves behind is kept only where there is something to go on with.
            if made and not _has_work(out):
                shutil.rmtree(out)
            elif isinstance(error, KeyboardInterrupt | OSError):
                ended = "interrupted" if isinstance(error, KeyboardInterrupt) else "ended"
                print(f"{ended}: the same command with --out {out} goes on from here", file=sys.stderr)
            raise
    print(f"Written to {out}")


def run_path(name: str, out: Path | None) -> Path:
    """Where a run is written to: `out`, or a folder with the name of the experiment and the time.

    Raises:
        InputError: a path without a name.
    """
    path = out.expanduser() if out else Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}"
    if not path.name:
        refuse("run folder", found=f"{path}", expected="a folder with a name")
    return path


def _facts(name: str, config: Any, data: dict[str, Any]) -> dict[str, Any]:
    """What determines a run: experiment, options, data, versions and machine."""
    options = {key: value for key, value in asdict(config).items() if key not in BESIDE_THE_RUN}
    versions = {package: version(package) for package in ("dfcl-jax", "jax", "flax", "optax", "numpy")}
    machine = {"python": platform.python_version(), "backend": jax.default_backend()}
    facts = {"experiment": name, "data": data, "options": options, "versions": versions, "machine": machine}
    return json.loads(json.dumps(facts, default=_plain)) | {"fixed": {}}


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else describe(value)


def _kept(out: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """What is fixed in a folder that is there, once it is one of the same experiment and data."""
    try:
        kept = json.loads((out / CONFIG).read_text())
        same = {key: kept[key] for key in ("experiment", "data")}
        fixed = kept["fixed"]
    except (OSError, ValueError, KeyError, TypeError):
        # What is left of a process that was killed before it wrote anything.
        if out.is_dir() and {file.name for file in out.iterdir()} <= {LOCK, f".{CONFIG}.partial"}:
            return {}
        refuse("run folder", found=f"{out}, which is not a run's", expected="a new one: choose another with --out")
    for key, value in same.items():
        if value != facts[key]:
            refuse(
                f"run folder {out}", found=f"a run of another {key}", expected="a new one: choose another with --out"
            )
    return fixed


def _has_work(out: Path) -> bool:
    """Whether anything was trained, or any table written."""
    return any(any(out.glob(pattern)) for pattern in ("cells/*/*", "cells/.*/*/[!.]*", "*.csv"))


def _as_text(facts: dict[str, Any]) -> str:
    return json.dumps(facts, indent=2) + "\n"
