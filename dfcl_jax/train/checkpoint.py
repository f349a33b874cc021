"""Checkpoints of a fit: where it stands between two epochs, kept in a folder whole or not at all.

A checkpoint is a folder: arrays as orbax writes them, `fit.json` with what fit it is of, and `checkpoint.json` with the
checksum of every other file. It is made under a hidden name and moved to its place, and only then the one before it
goes; so whatever ends the process, one of the two is there. Its name is the number of epochs it holds, or `finished`.
"""

import json
import logging
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from dfcl_jax.errors import refuse
from dfcl_jax.files import cannot_write, write_atomically
from dfcl_jax.train.config import FitConfig

FINISHED = "finished"
_FORMAT = "dfcl_jax checkpoint 1"
_CONTENTS = "checkpoint.json"
_FIT = "fit.json"
_ARRAYS = "arrays"
# Rows of each argument that tell one fit from another.
_SAMPLED = 1024


@dataclass(frozen=True)
class Checkpoints:
    """Where a fit keeps its checkpoints, and how often: the same fit with the same folder goes on from the latest.

    A fit is told from others by its configuration, the shapes and a sample of its arguments, and `of`. Functions (the
    model, the loss) cannot be told apart: a folder is for one fit.
    """

    folder: str | Path
    seconds: float = 30.0  # of work that may be lost beside the epoch in hand; 0 for a checkpoint after every epoch
    of: str = ""  # a name of the fit

    def __post_init__(self) -> None:
        """Refuse a time that is none."""
        if not self.seconds >= 0:
            refuse("seconds between checkpoints", found=self.seconds, expected="at least 0")


class Standing(NamedTuple):
    """Where a fit of s seeds stands after k epochs: all that the rest of it depends on, beside its arguments."""

    state: Any  # `State`, leaves [s, ...]
    shared: Any  # what the objective needed in the last epoch, leaves [s, ...]
    loss: np.ndarray  # [k, s]
    value: np.ndarray  # [k, s]


class Keeper:
    """What keeps the checkpoints of a fit that runs now, and nothing where `checkpoints` is None."""

    def __init__(self, checkpoints: Checkpoints | None, config: FitConfig, arguments: Sequence[Any]):
        self._latest: Standing | None = None
        self._written = time.monotonic()
        self._checkpoints = checkpoints
        if checkpoints is not None:
            self._folder = Path(checkpoints.folder)
            self._impl = jax.random.key_impl(arguments[0])
            self._identity = _identity(checkpoints.of, config, arguments)

    def finished(self, like: Callable[[], Any]) -> Any | None:
        """The result of the fit as an earlier process left it, in the structure of `like`.

        Raises:
            InputError: the checkpoint is damaged, or of another fit.
        """
        if self._checkpoints is None or not is_finished(self._folder):
            return None
        return self._read(self._folder / FINISHED, like())

    def restore(self, like: Callable[[], Standing]) -> Standing | None:
        """Where an earlier process left the fit; raises as `finished` does."""
        if self._checkpoints is None or not (numbers := _numbers(self._folder)):
            return None
        kept = self._read(self._folder / str(max(numbers)), like())
        return kept._replace(**jax.tree.map(jnp.asarray, {"state": kept.state, "shared": kept.shared}))

    def note(self, standing: Standing) -> None:
        """Take note of where the fit stands, and write it if that is due.

        Raises:
            OSError: it cannot be written; the checkpoint before is intact.
        """
        self._latest = standing
        if self._checkpoints is not None and time.monotonic() - self._written >= self._checkpoints.seconds:
            self.write()

    def write(self) -> None:
        """Write where the fit stands, unless it is written."""
        if self._checkpoints is not None and self._latest is not None:
            self._write(str(len(self._latest.loss)), self._latest)
            self._latest, self._written = None, time.monotonic()

    def finish(self, result: Any) -> None:
        """Keep the result in place of where the fit stood."""
        self._latest = None
        if self._checkpoints is not None:
            self._write(FINISHED, result)

    def _read(self, path: Path, like: Any) -> Any:
        _check(path)
        difference = _difference(json.loads((path / _FIT).read_bytes()), self._identity)
        if difference:
            refuse(f"checkpoint {path}", found=f"one of another fit: {difference}", expected="one of this fit")
        tree = _arrays(path, jax.tree.map(lambda leaf: 0 if _is_key(leaf) else leaf, like))

        def keyed(leaf: Any, like: Any) -> Any:
            return jax.random.wrap_key_data(leaf, impl=self._impl) if _is_key(like) else leaf

        return jax.tree.map(keyed, tree, like)

    def _write(self, name: str, tree: Any) -> None:
        if jax.process_index() == 0:
            write_checkpoint(self._folder, name, tree, self._identity)


@contextmanager
def keeping(checkpoints: Checkpoints | None, config: FitConfig, arguments: Sequence[Any]) -> Iterator[Keeper]:
    """The keeper of a fit, which also writes where the fit stands when it is interrupted."""
    keeper = Keeper(checkpoints, config, arguments)
    try:
        yield keeper
    except KeyboardInterrupt:
        keeper.write()
        raise


def is_finished(folder: Path) -> bool:
    """Whether the fit that keeps its checkpoints in `folder` came to its end."""
    return (folder / FINISHED).exists()


def read_finished(folder: Path) -> dict[str, Any]:
    """The result of the fit that kept its checkpoints in `folder`, as nested dictionaries of arrays.

    Raises:
        InputError: there is none, or a damaged one.
    """
    _check(folder / FINISHED)
    return _arrays(folder / FINISHED, None)


def write_checkpoint(folder: Path, name: str, tree: Any, identity: dict[str, Any]) -> None:
    """Write `tree`, arrays, as the one checkpoint in `folder`.

    Raises:
        OSError: it cannot be written; the checkpoint before is intact.
    """
    partial = folder / f".{name}"
    before = _numbers(folder)
    try:
        for left in folder.glob(".*"):
            shutil.rmtree(left)
        partial.mkdir(parents=True)
        with _quietly():
            _checkpointer().save((partial / _ARRAYS).absolute(), jax.tree.map(_host, tree))
        (partial / _FIT).write_text(json.dumps(identity, indent=1))
        files = [file for file in sorted(partial.rglob("*")) if file.is_file()]
        checksums = {file.relative_to(partial).as_posix(): _checksum(file, sync=True) for file in files}
        contents = {"format": _FORMAT, "files": checksums}
        write_atomically(partial / _CONTENTS, json.dumps(contents, indent=1).encode())
        os.rename(partial, folder / name)
    except (OSError, ValueError) as error:  # orbax raises a full disk as a ValueError
        shutil.rmtree(partial, ignore_errors=True)
        kept = f"; that of epoch {max(before)} is intact" if before else "; there is none before it"
        raise cannot_write(f"checkpoint {folder}", error, rest=kept) from error
    for number in before:
        shutil.rmtree(folder / str(number))


def _numbers(folder: Path) -> list[int]:
    return [int(path.name) for path in folder.glob("*") if path.name.isdigit()]


def _checksum(file: Path, *, sync: bool = False) -> int:
    with open(file, "rb") as opened:
        if sync:
            os.fsync(opened.fileno())
        return zlib.crc32(opened.read())


def _check(path: Path) -> None:
    """Refuse a checkpoint unless every byte is as it was written."""
    what, whole = f"checkpoint {path}", "a checkpoint of a fit, whole"
    try:
        contents = json.loads((path / _CONTENTS).read_bytes())
        files, form = dict(contents["files"]), contents["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        refuse(what, found=f"an unreadable {_CONTENTS} ({error})", expected=whole)
    if form != _FORMAT:
        refuse(what, found=f"the format {form!r}", expected=f"{_FORMAT!r}")
    for name in (_FIT, *files):
        if name not in files or not (path / name).is_file():
            refuse(what, found=f"no {name}", expected=whole)
        if _checksum(path / name) != files[name]:
            refuse(what, found=f"a damaged {name}", expected=whole)


def _arrays(path: Path, like: Any) -> Any:
    """The arrays of a checked checkpoint in the structure of `like`, or in nested dictionaries if that is None."""
    import orbax.checkpoint as ocp

    args = ocp.args.PyTreeRestore()
    if like is not None:
        numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), like)
        args = ocp.args.PyTreeRestore(item=like, restore_args=numpy)
    try:
        with _quietly():
            return _checkpointer().restore((path / _ARRAYS).absolute(), args=args)
    except (ValueError, KeyError) as error:
        refuse(f"checkpoint {path}", found=f"arrays that do not fit ({error})", expected="those of this fit")


def _checkpointer() -> Any:
    import orbax.checkpoint as ocp  # here, because most programs that import this library keep no checkpoints

    # Every process reads, and the first alone writes: what is kept is the same in all.
    me = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"checkpoint {me}"
    )
    return ocp.Checkpointer(ocp.PyTreeCheckpointHandler(multiprocessing_options=alone), multiprocessing_options=alone)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what orbax logs of an error beside raising it."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _host(leaf: Any) -> np.ndarray:
    leaf = jax.random.key_data(leaf) if _is_key(leaf) else leaf
    if isinstance(leaf, jax.Array) and not (leaf.is_fully_addressable or leaf.is_fully_replicated):
        return multihost_utils.process_allgather(leaf, tiled=True)
    return np.asarray(leaf)


def _identity(of: str, config: FitConfig, arguments: Sequence[Any]) -> dict[str, Any]:
    named = dict(zip(("keys", "params", "x_valid", "judge", "paces", "rows", "shared"), arguments, strict=True))
    leaves = jax.tree_util.tree_leaves_with_path(named)
    gists = {jax.tree_util.keystr(path, simple=True, separator="."): _gist(leaf) for path, leaf in leaves}
    return {"of": of, "config": asdict(config), "arguments": gists}


def _gist(leaf: Any) -> dict[str, Any]:
    """Shape and a sample of rows: of floats their mean size, which another machine may round otherwise."""
    sample = _host(leaf[:, :: -(-leaf.shape[1] // _SAMPLED)] if leaf.ndim > 1 and leaf.shape[1] else leaf)
    about = {"shape": list(leaf.shape), "dtype": str(leaf.dtype)}
    if sample.size and np.issubdtype(sample.dtype, np.inexact):
        return about | {"size": float(np.abs(sample, dtype=np.float64).mean())}
    return about | {"checksum": zlib.crc32(sample.tobytes())}


def _difference(kept: dict[str, Any], now: dict[str, Any]) -> str | None:
    """What tells two fits apart, in words."""
    now = json.loads(json.dumps(now))
    if kept["of"] != now["of"]:
        return f"of {kept['of']!r}, not {now['of']!r}"
    for name in kept["config"] | now["config"]:
        before, after = (fit["config"].get(name) for fit in (kept, now))
        if before != after:
            return f"{name} {before}, not {after}"
    for name in kept["arguments"] | now["arguments"]:
        before, after = (fit["arguments"].get(name, {"shape": None}) for fit in (kept, now))
        sizes = [gist.pop("size", 0.0) for gist in (before, after)]
        if before != after or not np.isclose(*sizes, rtol=1e-3, atol=0, equal_nan=True):
            return f"other {name}"
    return None
