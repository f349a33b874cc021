"""The run folder: written beside its place while work goes on, moved there whole at the end."""

import json
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dfcl_jax.errors import InputError, refuse
from dfcl_jax.files import locked, write_atomically
from dfcl_jax.train import Checkpoints, Fit
from dfcl_jax.train.checkpoint_folder import is_finished, read_finished


class RunFolder:
    """Where a run puts its files; made by `open_run`."""

    def __init__(self, path: Path):
        self.path = path

    def write_text(self, name: str, text: str) -> None:
        """Write a file of the run."""
        (self.path / name).parent.mkdir(exist_ok=True)
        write_atomically(self.path / name, text.encode())

    def has_stage(self, stage: str) -> bool:
        """Whether a finished stage of training is here."""
        return is_finished(stage_folder(self.path, stage))

    def checkpoints(self, stage: str, *, seconds: float = Checkpoints.seconds) -> Checkpoints:
        """Where a stage of training keeps its checkpoints, which are of this run's configuration alone."""
        config = zlib.crc32((self.path / CONFIG).read_bytes())
        return Checkpoints(stage_folder(self.path, stage), seconds, of=f"{stage} of the configuration {config:08x}")


CONFIG = "config.json"
LOCK = "lock"


def stage_folder(folder: Path, stage: str) -> Path:
    """Where a run folder keeps the checkpoints of a method."""
    return folder / "checkpoint" / stage


def load_fit(folder: Path, stage: str) -> Fit:
    """The trained parameters of a method, of all seeds.

    Raises:
        InputError: no such checkpoint, or a damaged one.
    """
    kept = stage_folder(folder, stage)
    if not is_finished(kept):
        refuse("checkpoint", found=f"no finished {kept}", expected="a method that the run trained")
    return Fit(**read_finished(kept))


@contextmanager
def open_run(out: Path, config: dict[str, Any], *, resume: bool = False) -> Iterator[RunFolder]:
    """A folder to write a run to, which appears as `out` only if the run ends well.

    Until then it is `out`.partial, which keeps checkpoints of training for a run with `resume`; one process at a time
    writes to it.

    Args:
        out: the run folder to be.
        config: everything that determines the run, kept as config.json; a resumed run must have the same.
        resume: go on from `out`.partial.

    Raises:
        InputError: `out` exists; `out`.partial exists without `resume`, is another configuration's, or is being
            written to.
    """
    if not out.name:
        refuse("run folder", found=f"{out}", expected="a folder with a name")
    partial = unfinished(out)
    text = _as_text(config)
    if out.exists():
        refuse("run folder", found=f"{out}, which exists", expected="a new one: choose another with --out")
    made = False
    if partial.exists():
        _check_resumable(partial, text, resume)
    else:
        made = True
        try:
            partial.mkdir(parents=True)
        except OSError as error:
            refuse("run folder", found=f"{out}, which cannot be made ({error})", expected="a place to write to")
        write_atomically(partial / CONFIG, text.encode())
    with locked(partial / LOCK) as alone:
        if not alone:
            refuse("--resume", found=f"another process that writes to {partial}", expected="one at a time")
        try:
            yield RunFolder(partial)
        except BaseException as error:
            # Bad input would end a resumed run at the same place: what it made is of no use.
            if (made and isinstance(error, InputError)) or not _has_checkpoints(partial):
                shutil.rmtree(partial)
            raise
    os.rename(partial, out)


def unfinished(out: Path) -> Path:
    """Where the run folder `out` is until it is complete."""
    return out.with_name(f"{out.name}.partial")


def _has_checkpoints(partial: Path) -> bool:
    return any((partial / "checkpoint").glob("*/[!.]*"))


def is_complete(out: Path, config: dict[str, Any]) -> bool:
    """Whether `out` is a complete run of this configuration."""
    kept = out / CONFIG
    return kept.is_file() and kept.read_text() == _as_text(config)


def _as_text(config: dict[str, Any]) -> str:
    return json.dumps(config, indent=2, default=str) + "\n"


def _check_resumable(partial: Path, text: str, resume: bool) -> None:
    if not resume:
        refuse("run folder", found=f"the unfinished run {partial}", expected="--resume, or another --out")
    kept = partial / CONFIG
    if not kept.is_file() or kept.read_text() != text:
        refuse("--resume", found=f"another configuration in {kept}", expected="the options and data of that run")
