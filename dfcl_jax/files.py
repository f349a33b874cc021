"""Files that are whole or not there, and folders that one process writes to at a time."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
