"""How an experiment script meets its user: options, errors, exit codes, the run folder and the table."""

import os
import platform
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import jax
import tyro
from rich.console import Console

from dfcl_jax.data import Split
from dfcl_jax.errors import InputError, refuse
from dfcl_jax.methods import TWO_STAGE, Method
from dfcl_jax.report import figures, summary
from dfcl_jax.report.predictor import describe_models
from dfcl_jax.report.progress import StudyProgress
from dfcl_jax.report.run_folder import RunFolder, is_complete, open_run, unfinished
from dfcl_jax.study import Hooks, Study, StudyConfig, compare
from dfcl_jax.train import Checkpoints, Epoch, Record, RecordFile, TensorBoard, watch
from dfcl_jax.train.record import check_tensorboard

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config")


# Options that change nothing about what comes of a run.
BESIDE_THE_RUN = ("out", "resume", "checkpoint_seconds", "tensorboard")


def command(main: Callable[[Config], object], config: type[Config]) -> None:
    """Run an experiment from the command line: exit code 2 for bad input or a full disk, 130 when interrupted."""
    if threading.current_thread() is threading.main_thread():
        # What a scheduler sends before it takes the machine away is an interrupt, too.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main(tyro.cli(config))
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The options that every experiment has."""

    out: Path | None = None
    """Run folder, a new one; runs/EXPERIMENT-TIME if not given."""
    resume: bool = False
    """Go on with the unfinished run of --out."""
    checkpoint_seconds: float = Checkpoints.seconds
    """Longest training that a run which is killed may lose, beside the epoch in hand."""
    tensorboard: bool = False
    """Write curves for TensorBoard to the run folder's tensorboard/ (needs the extra `tensorboard`)."""
    seeds: int = 5
    """Seeds, numbered from --first-seed; they train in one program."""
    first_seed: int = 0
    study: StudyConfig = field(default_factory=StudyConfig)

    def __post_init__(self) -> None:
        """Refuse now what would be refused when the data are read."""
        Checkpoints("", self.checkpoint_seconds)
        if self.tensorboard:
            check_tensorboard()


@contextmanager
def experiment(name: str, config: RunConfig, **data: Any) -> Iterator[RunFolder]:
    """The run folder of an experiment, with what determines the run in config.json.

    Whatever ends the run, the terminal says how to go on if there is something to go on with.

    Args:
        name: of the experiment.
        config: its options.
        data: what identifies the data beside the options.

    Raises:
        InputError: no seeds, `resume` without `out`, or what `open_run` refuses.
    """
    if config.seeds < 1:
        refuse("seeds", found=config.seeds, expected="at least 1")
    if config.out is None and config.resume:
        refuse("--resume", found="no --out", expected="the --out of the run to go on with")
    out, origin = run_path(name, config.out), provenance(name, config, data)
    if config.resume and is_complete(out, origin):
        print((out / "table.md").read_text(), f"Nothing to resume: {out} is complete", sep="\n")
        sys.exit(0)
    try:
        with open_run(out, origin, resume=config.resume) as run:
            yield run
    except (KeyboardInterrupt, OSError) as error:
        ended = "interrupted" if isinstance(error, KeyboardInterrupt) else "ended"
        how = f"go on with --out {out} --resume, or start anew without it"
        print(f"{ended}: {how if unfinished(out).exists() else 'nothing to go on with'}", file=sys.stderr)
        raise
    print(f"Written to {out}")


def run_path(name: str, out: Path | None) -> Path:
    """Where a run is written to: `out`, or a folder with the name of the experiment and the time."""
    return out or Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}"


def provenance(name: str, config: "DataclassInstance", data: dict[str, Any]) -> dict[str, Any]:
    """What determines a run: experiment, options, what identifies the data, versions and machine."""
    options = {key: value for key, value in asdict(config).items() if key not in BESIDE_THE_RUN}
    versions = {package: version(package) for package in ("dfcl-jax", "jax", "flax", "optax", "numpy")}
    machine = {"python": platform.python_version(), "backend": jax.default_backend()}
    return {"experiment": name, "options": options, "data": data, "versions": versions, "machine": machine}


@contextmanager
def training(
    run: RunFolder, config: RunConfig, stages: Iterable[str], console: Console, *, suffix: str = ""
) -> Iterator[Hooks]:
    """Hooks of two-stage learning and `stages` of decisions: progress on the terminal, storage in the run folder.

    The suffix, added to the stages' names, tells studies of one run apart.
    """
    epochs = {TWO_STAGE: config.study.warm.epochs} | dict.fromkeys(stages, config.study.decision.epochs)
    observers: list[Callable[[Epoch], None]] = [RecordFile(run.path / "record.jsonl")]
    if config.tensorboard:
        observers.append(TensorBoard(run.path / "tensorboard"))
    with StudyProgress(sum(epochs.values()), console=console) as progress:
        for stage, number in epochs.items():
            if run.has_stage(stage + suffix):
                progress.skip(stage + suffix, number)

        def on_stage(stage: str, epochs: int, rows: int) -> Callable[[int, Record], None]:
            return watch(stage + suffix, rows, *observers, progress.on_stage(stage + suffix, epochs))

        def checkpoints(stage: str) -> Checkpoints:
            return run.checkpoints(stage + suffix, seconds=config.checkpoint_seconds)

        yield Hooks(on_stage, checkpoints)


def run_study(
    run: RunFolder,
    splits: Sequence[Split],
    budgets: Sequence[float],
    methods: dict[str, Method],
    config: RunConfig,
    *,
    arms: tuple[str, ...],
) -> Study:
    """Compare methods with progress on the terminal, and write everything that came of it to the run folder."""
    console = Console()
    describe_models(run, splits, config.study.network, arms)
    with training(run, config, methods, console) as hooks:
        study = compare(jax.random.key(config.first_seed), splits, budgets, methods, config.study, hooks)
    table, caption = summary.summarise(study), summary.caption(study)
    study.values.to_csv(run.path / "metrics.csv", index=False)
    study.quality.to_csv(run.path / "quality.csv", index=False)
    run.write_text("table.md", summary.markdown(table, caption))
    figures.value_against_budget(study, run.path / "value_by_budget.png")
    console.print(summary.terminal_table(table), caption, sep="\n", highlight=False)
    return study
