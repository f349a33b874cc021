"""Files that are whole or not there, and places that one process writes to at a time."""

import errno
import fcntl
import glob
import io
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.typing import ArrayLike

from dfcl_jax.errors import refuse

_LEFT = "{}: left by a process that was killed, so it is removed"


def checksum(*arrays: ArrayLike) -> int:
    """A CRC-32 of the bytes of arrays."""
    found = 0
    for array in arrays:
        found = zlib.crc32(np.ascontiguousarray(array).tobytes(), found)
    return found


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        OSError: it cannot be written; what was there is as it was.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise cannot_write(f"file {path}", error) from error


def append_line(path: Path, line: str) -> None:
    """Add a line to a file.

    Raises:
        OSError: it cannot be written.
    """
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as error:
        raise cannot_write(f"file {path}", error) from error


def cannot_write(what: str, error: Exception, *, rest: str = "") -> OSError:
    """The error of something that cannot be written, by its name, in the form of `dfcl_jax.errors.refuse`."""
    full = os.strerror(errno.ENOSPC)
    reason = full.lower() if full in str(error) else str(error).partition("\n")[0] or type(error).__name__
    return OSError(f"{what}: found {reason}, expected a place to write to{rest}")


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the lock file `path` and remove it at the end; False where another process holds it."""
    with open(path, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError:
            pass  # a file system without locks
        try:
            yield True
        finally:
            path.unlink(missing_ok=True)


@contextmanager
def whole_file(path: Path, say: Callable[[str], None]) -> Iterator[Path]:
    """A hidden file beside `path` to write to: it becomes `path` if all goes well, and is removed if not.

    What else a process that was killed has left there by `scratch_beside` is removed, too.

    Args:
        path: the file to be.
        say: told of what a process that was killed has left, which is removed.

    Raises:
        InputError: the hidden file cannot be made, or another process writes to it.
    """
    with scratch_file(path.with_name(f".{path.name}.partial"), say) as partial:
        for left in path.parent.glob(f"{glob.escape(partial.name)}-*"):
            with locked(left) as alone:
                if alone:
                    say(_LEFT.format(left))
        yield partial
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)


def scratch_beside(path: Path, what: str) -> Path:
    """Where a `scratch_file` is kept while `path` is being written."""
    return path.with_name(f".{path.name}.partial-{what}")


@contextmanager
def scratch_file(path: Path, say: Callable[[str], None]) -> Iterator[Path]:
    """A file that this process alone writes to, removed at the end; options and errors as of `whole_file`."""
    left = path.exists()
    try:
        path.touch()
    except OSError as error:
        refuse(f"file {path}", found=f"no way to make it ({error.strerror})", expected="a place to write to")
    with locked(path) as alone:
        if not alone:
            refuse(f"file {path}", found="another process that writes to it", expected="one at a time")
        if left:
            say(_LEFT.format(path))
        yield path


def npz_bytes(tree: dict[str, Any]) -> bytes:
    """Nested dictionaries of arrays as the bytes of an .npz file."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {name: np.asarray(leaf) for name, leaf in flatten_dict(tree, sep="/").items()}
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def read_npz(data: bytes) -> dict[str, Any]:
    """What `npz_bytes` wrote, as NumPy's arrays."""
    with np.load(io.BytesIO(data)) as arrays:
        return unflatten_dict({name: arrays[name] for name in arrays.files}, sep="/")
