"""A checkpoint as a folder: arrays as orbax writes them, the identity of their fit, and a checksum of every file.

A checkpoint is written under a hidden name and then moved to its place, and only then the one before it is removed: one
of the two is always there, however the process ends. Its name is the number of finished epochs or batches, or
`finished`.
"""

import json
import logging
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from dfcl_jax.errors import refuse
from dfcl_jax.files import cannot_write, write_atomically

FINISHED = "finished"
_FORMAT = "dfcl_jax checkpoint 1"
_CONTENTS = "checkpoint.json"
_FIT = "fit.json"
_ARRAYS = "arrays"


def is_finished(folder: Path) -> bool:
    """Whether the fit with its checkpoints in `folder` is finished."""
    return (folder / FINISHED).exists()


def read_finished(folder: Path) -> dict[str, Any]:
    """The result of the fit with its checkpoints in `folder`, as nested dictionaries of arrays.

    Raises:
        InputError: there is no result, or it is damaged.
    """
    check(folder / FINISHED)
    return _arrays(folder / FINISHED, None)


def read_identity(path: Path) -> dict[str, Any]:
    """The identity of the fit of a checked checkpoint."""
    return json.loads((path / _FIT).read_bytes())


def read_checkpoint(path: Path, like: Any, impl: Any) -> Any:
    """The arrays of a checked checkpoint, with the structure and the types of `like`; `impl` is the kind of keys.

    Raises:
        InputError: the arrays have another structure.
    """
    tree = _arrays(path, jax.tree.map(lambda leaf: 0 if is_key(leaf) else leaf, like))

    def as_like(leaf: Any, like: Any) -> Any:
        if is_key(like):
            return jax.random.wrap_key_data(leaf, impl=impl)
        if isinstance(like, int):
            return int(leaf)
        return leaf if isinstance(like, np.ndarray) else jnp.asarray(leaf)

    return jax.tree.map(as_like, tree, like)


def write_checkpoint(folder: Path, name: str, tree: Any, identity: dict[str, Any]) -> None:
    """Write a tree of arrays as the only checkpoint in `folder`.

    Raises:
        OSError: it cannot be written; the checkpoint before is intact.
    """
    partial = folder / f".{name}"
    before = [number for number in numbers(folder) if str(number) != name]
    if (folder / name).exists():  # an interrupted write left the checkpoint before it
        _remove(folder, before)
        return
    try:
        for left in folder.glob(".*"):
            if left.name[1:] == FINISHED or left.name[1:].isdigit():
                shutil.rmtree(left)
        partial.mkdir(parents=True)
        with _quietly():
            _checkpointer().save((partial / _ARRAYS).absolute(), jax.tree.map(on_host, tree))
        (partial / _FIT).write_text(json.dumps(identity, indent=1))
        files = [file for file in sorted(partial.rglob("*")) if file.is_file()]
        checksums = {file.relative_to(partial).as_posix(): _checksum(file, sync=True) for file in files}
        contents = {"format": _FORMAT, "files": checksums}
        write_atomically(partial / _CONTENTS, json.dumps(contents, indent=1).encode())
        os.rename(partial, folder / name)
    except (OSError, ValueError) as error:  # orbax raises a full disk as a ValueError
        shutil.rmtree(partial, ignore_errors=True)
        kept = f"; the one before it, {max(before)}, is intact" if before else "; there is none before it"
        raise cannot_write(f"checkpoint {folder}", error, rest=kept) from error
    _remove(folder, before)


def _remove(folder: Path, found: Iterable[int]) -> None:
    for number in found:
        shutil.rmtree(folder / str(number))


def numbers(folder: Path) -> list[int]:
    """The numbers of the checkpoints in `folder`, without the result."""
    return [int(path.name) for path in folder.glob("*") if path.name.isdigit()]


def _checksum(file: Path, *, sync: bool = False) -> int:
    with open(file, "rb") as opened:
        if sync:
            os.fsync(opened.fileno())
        return zlib.crc32(opened.read())


def check(path: Path) -> None:
    """Refuse a checkpoint if any byte differs from what was written."""
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
    """The arrays of a checked checkpoint with the structure of `like`, or as nested dictionaries if it is None."""
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

    # Every process reads by itself, and only the first writes, because the arrays are the same in all.
    me = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"checkpoint {me}"
    )
    return ocp.Checkpointer(ocp.PyTreeCheckpointHandler(multiprocessing_options=alone), multiprocessing_options=alone)


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence the log of orbax, which repeats errors that it also raises."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def is_key(leaf: Any) -> bool:
    """Whether a leaf is a key of `jax.random`."""
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def on_host(leaf: Any) -> np.ndarray:
    """A leaf as a NumPy array; the whole array if it is spread over processes."""
    leaf = jax.random.key_data(leaf) if is_key(leaf) else leaf
    if isinstance(leaf, jax.Array) and not (leaf.is_fully_addressable or leaf.is_fully_replicated):
        return multihost_utils.process_allgather(leaf, tiled=True)
    return np.asarray(leaf)
