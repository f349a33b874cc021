"""The run folder: written beside its place while work goes on, moved there whole at the end."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import serialization

from dfcl_jax.errors import InputError, refuse
from dfcl_jax.train import Fit


class RunFolder:
    """Where a run puts its files; made by `open_run`."""

    def __init__(self, path: Path):
        self.path = path

    def write_text(self, name: str, text: str) -> None:
        """Write a file of the run."""
        write_atomically(self.path / name, text.encode())

    def has_stage(self, stage: str) -> bool:
        """Whether a finished stage of training is here."""
        return stage_file(self.path, stage).exists()

    def stored(self, stage: str, train: Callable[[], Fit]) -> Fit:
        """The stage as an earlier, interrupted run left it, or trained now and kept."""
        if self.has_stage(stage):
            return load_fit(self.path, stage)
        result = train()
        tree = {"params": result.params, "loss": result.loss, "value": result.value}
        stage_file(self.path, stage).parent.mkdir(exist_ok=True)
        write_atomically(stage_file(self.path, stage), serialization.msgpack_serialize(jax.tree.map(np.asarray, tree)))
        return result


def stage_file(folder: Path, stage: str) -> Path:
    """Where a run folder keeps the parameters of a method."""
    return folder / "checkpoint" / f"{stage}.msgpack"


def load_fit(folder: Path, stage: str) -> Fit:
    """The trained parameters of a method, of all seeds.

    Raises:
        InputError: no such checkpoint, or a damaged one.
    """
    file = stage_file(folder, stage)
    if not file.is_file():
        refuse("checkpoint", found=f"no {file}", expected="a method that the run trained")
    try:
        tree = serialization.msgpack_restore(file.read_bytes())
        return Fit(tree["params"], tree["loss"], tree["value"])
    except (ValueError, TypeError, KeyError) as error:
        refuse(f"checkpoint {file}", found=f"unreadable bytes ({error})", expected="what a run wrote")


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    with open(partial, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


@contextmanager
def open_run(out: Path, config: dict[str, Any], *, resume: bool = False) -> Iterator[RunFolder]:
    """A folder to write a run to, which appears as `out` only if the run ends well.

    Until then it is `out`.partial, which keeps finished stages of training for a run with `resume`.

    Args:
        out: the run folder to be.
        config: everything that determines the run, kept as config.json; a resumed run must have the same.
        resume: go on from `out`.partial.

    Raises:
        InputError: `out` exists; `out`.partial exists without `resume`, or is another configuration's.
    """
    if not out.name:
        refuse("run folder", found=f"{out}", expected="a folder with a name")
    partial = out.with_name(f"{out.name}.partial")
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
        write_atomically(partial / "config.json", text.encode())
    try:
        yield RunFolder(partial)
    except BaseException as error:
        # Bad input would end a resumed run at the same place: what it made is of no use.
        if (made and isinstance(error, InputError)) or not (partial / "checkpoint").exists():
            shutil.rmtree(partial)
        raise
    os.rename(partial, out)


def is_finished(out: Path, config: dict[str, Any]) -> bool:
    """Whether `out` is a complete run of this configuration."""
    kept = out / "config.json"
    return kept.is_file() and kept.read_text() == _as_text(config)


def _as_text(config: dict[str, Any]) -> str:
    return json.dumps(config, indent=2, default=str) + "\n"


def _check_resumable(partial: Path, text: str, resume: bool) -> None:
    if not resume:
        refuse("run folder", found=f"the unfinished run {partial}", expected="--resume, or another --out")
    kept = partial / "config.json"
    if not kept.is_file() or kept.read_text() != text:
        refuse("--resume", found=f"another configuration in {kept}", expected="the options and data of that run")
