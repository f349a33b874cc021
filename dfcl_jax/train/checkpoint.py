"""Checkpoints of a fit: its progress between two epochs or, with a streamed source, between two batches.

If several processes share a fit, the first of them writes, and all continue from the same checkpoint: they must see the
same folder.
"""

import json
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from dfcl_jax.errors import refuse
from dfcl_jax.train.checkpoint_folder import (
    FINISHED,
    check,
    is_finished,
    numbers,
    on_host,
    read_checkpoint,
    read_identity,
    write_checkpoint,
)
from dfcl_jax.train.config import FitConfig
from dfcl_jax.train.mesh import number_of_devices

# Rows of each argument that are compared to tell one fit from another.
_SAMPLED = 1024


@dataclass(frozen=True)
class Checkpoints:
    """Where a fit keeps its checkpoints, and how often; the same fit with the same folder continues from the latest.

    A fit is told from others by its configuration, by shapes and a sample of its arguments, and by `of`. Functions
    (model, loss) cannot be told apart, so use a folder for one fit only.

    Raises:
        InputError: a negative time between checkpoints.
    """

    folder: str | Path
    # How much finished work may be lost; 0 for a checkpoint after every epoch (every batch of a streamed source).
    seconds: float = 30.0
    of: str = ""  # a name of the fit

    def __post_init__(self) -> None:
        """Check the time between checkpoints."""
        if not self.seconds >= 0:
            refuse("seconds between checkpoints", found=self.seconds, expected="at least 0")


class CheckpointManager:
    """A context in which a fit runs and keeps checkpoints; it does nothing if `checkpoints` is None.

    When the fit is interrupted, its progress is written. On a mesh all processes share one fit and must find the same
    checkpoint. `leading` is the number of axes of each argument before that of its rows (seeds).
    """

    def __init__(
        self,
        checkpoints: Checkpoints | None,
        config: FitConfig,
        arguments: dict[str, Any],
        mesh: Mesh | None = None,
        *,
        leading: int = 0,
    ):
        self._latest: tuple[int, Any] | None = None
        self._written = time.monotonic()
        self._checkpoints = checkpoints
        self._together = mesh is not None
        if checkpoints is not None:
            self._folder = Path(checkpoints.folder)
            if self._together:
                _check_one_folder(self._folder)
            # The order of rows depends on the number of devices unless the configuration fixes the shards.
            config = replace(config, shards=config.shards or number_of_devices(mesh))
            self._impl = jax.random.key_impl(arguments["key"])
            self._identity = _identity(checkpoints.of, config, arguments, leading)

    def __enter__(self) -> "CheckpointManager":
        """Enter the context."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write the progress if the fit is interrupted."""
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self.write()

    def finished(self, like: Callable[[], Any]) -> Any | None:
        """The result of the fit if an earlier process finished it, in the structure of `like`.

        Raises:
            InputError: the checkpoint is damaged or belongs to another fit.
        """
        if self._checkpoints is None or not is_finished(self._folder):
            return None
        return self._read(self._folder / FINISHED, like())

    def restore(self, like: Callable[[], Any]) -> Any | None:
        """The progress of an earlier process, in the structure of `like`; raises as `finished` does."""
        if self._checkpoints is None:
            return None
        found = numbers(self._folder)
        kept = self._read(self._folder / str(max(found)), like()) if found else None
        # The first process may not write before all have read.
        self._meet("restored")
        return kept

    def save(self, number: int, progress: Any) -> None:
        """Remember the progress, and write it if a checkpoint is due.

        Args:
            number: epochs or batches that are done; higher than in earlier calls.
            progress: arrays, everything that the rest of the fit depends on besides its arguments.

        Raises:
            OSError: it cannot be written; the checkpoint before it is intact.
        """
        self._latest = number, progress
        if self._checkpoints is not None and time.monotonic() - self._written >= self._checkpoints.seconds:
            self.write()

    def write(self) -> None:
        """Write the latest progress unless it is already written."""
        if self._checkpoints is not None and self._latest is not None:
            number, progress = self._latest
            self._write(str(number), progress)
            self._latest, self._written = None, time.monotonic()

    def finish(self, result: Any) -> None:
        """Write the result in place of the progress."""
        if self._checkpoints is not None:
            self._write(FINISHED, result)
            self._meet("finished")
        self._latest = None

    def _read(self, path: Path, like: Any) -> Any:
        check(path)
        difference = _difference(read_identity(path), self._identity)
        if difference:
            refuse(f"checkpoint {path}", found=f"one of another fit: {difference}", expected="one of this fit")
        return read_checkpoint(path, like, self._impl)

    def _write(self, name: str, tree: Any) -> None:
        if not self._together or jax.process_index() == 0:
            write_checkpoint(self._folder, name, tree, self._identity)

    def _meet(self, where: str) -> None:
        if self._together:
            multihost_utils.sync_global_devices(f"{where} {self._folder.name}")


def _check_one_folder(folder: Path) -> None:
    """Refuse processes that would continue from different checkpoints."""
    end = np.iinfo(np.int32).max
    here = end if is_finished(folder) else max(numbers(folder), default=-1)
    found = np.ravel(multihost_utils.process_allgather(np.array(here, np.int32)))
    if (found != found[0]).any():
        words = {-1: "nothing", end: FINISHED}
        each = ", ".join(words.get(number, str(number)) for number in found.tolist())
        refuse(f"checkpoints {folder}", found=f"by process: {each}", expected="one folder that all processes see")


def _identity(of: str, config: FitConfig, arguments: dict[str, Any], leading: int) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(arguments)
    digests = {jax.tree_util.keystr(path, simple=True, separator="."): _digest(leaf, leading) for path, leaf in leaves}
    return {"of": of, "config": asdict(config), "arguments": digests}


def _digest(leaf: Any, leading: int) -> dict[str, Any]:
    """Shape and a digest of a sample of rows; that of floats is a mean, which another machine may round differently."""
    sample = leaf
    if leaf.ndim > leading and leaf.shape[leading]:
        every = -(-leaf.shape[leading] // _SAMPLED)
        sample = leaf[(slice(None),) * leading + (slice(None, None, every),)]
    sample = on_host(sample)
    about = {"shape": list(leaf.shape), "dtype": str(leaf.dtype)}
    if sample.size and np.issubdtype(sample.dtype, np.inexact):
        # Increasing weights tell orders of rows apart.
        size = np.average(np.abs(sample, dtype=np.float64).ravel(), weights=np.arange(1, sample.size + 1))
        return about | {"size": float(size)}
    return about | {"checksum": zlib.crc32(sample.tobytes())}


def _difference(kept: dict[str, Any], now: dict[str, Any]) -> str | None:
    """The first difference between two fits in words, or None."""
    now = json.loads(json.dumps(now))
    if kept["of"] != now["of"]:
        return f"of {kept['of']!r}, not {now['of']!r}"
    for name in kept["config"] | now["config"]:
        before, after = (fit["config"].get(name) for fit in (kept, now))
        if before != after:
            return f"{name} {before}, not {after}"
    for name in kept["arguments"] | now["arguments"]:
        before, after = (fit["arguments"].get(name, {"shape": None}) for fit in (kept, now))
        sizes = [digest.pop("size", 0.0) for digest in (before, after)]
        if before != after or not np.isclose(*sizes, rtol=1e-3, atol=0, equal_nan=True):
            return f"other {name}"
    return None
