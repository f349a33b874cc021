"""Compiled programs, kept from run to run: a second run of an experiment hardly compiles."""

import hashlib
import os
import platform
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import jax

# Beyond this size of all programs, those that were used longest ago are removed when the next run starts.
MOST_BYTES = 500_000_000
# Programs that compile faster than this, seconds, are not worth a file.
LEAST_SECONDS = 0.05


def keep_compiled(*, most_bytes: int = MOST_BYTES) -> Path | None:
    """Let JAX keep compiled programs in the user's cache folder, and return where; None if it cannot be written.

    The folder is $XDG_CACHE_HOME/dfcl_jax, ~/.cache/dfcl_jax without the variable. Where JAX was given another folder,
    as by the variable JAX_COMPILATION_CACHE_DIR, it stays with that. An entry that is damaged or missing is compiled
    again.

    Args:
        most_bytes: size of all programs beyond which the oldest are removed.
    """
    if jax.config.jax_compilation_cache_dir:  # pyright: ignore
        return None
    try:
        folder = _user_cache() / "dfcl_jax" / kind_of_machine()
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            return None
        _remove_oldest(folder.parent, most_bytes)
    except (OSError, RuntimeError):  # no home, no space, a file in the way: programs are compiled anew
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", LEAST_SECONDS)
    return folder


def kind_of_machine() -> str:
    """A name for this release of JAX on this kind of processor: programs of another must not be loaded."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else [platform.processor()]
    kind = {line for line in lines if line.startswith(("model name", "flags", "CPU part", "Features"))} or set(lines)
    name = repr((jax.__version__, version("jaxlib"), platform.machine(), sorted(kind)))
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def _user_cache() -> Path:
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return given if given.is_absolute() else Path.home() / ".cache"


def _remove_oldest(folder: Path, most_bytes: int) -> None:
    """Remove files below `folder` until they have at most `most_bytes`."""
    files = []
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # another run may remove it at the same time
            if path.is_file():
                files.append((max(path.stat().st_atime, path.stat().st_mtime), path.stat().st_size, path))
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= most_bytes:
            break
        path.unlink(missing_ok=True)
        total -= size
