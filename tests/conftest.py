"""Tests run in float64 and refuse implicit rank promotion; what must hold in float32 says so."""

import contextlib
import gc
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import jax
import numpy as np
import pytest

# What is compiled more than once, by whichever test in whichever process, is compiled once. A run works in a folder of
# its own: one that is killed leaves no half of a file among those that are kept.
_GIVEN = os.environ.get("JAX_COMPILATION_CACHE_DIR")
_COMPILED = Path(_GIVEN or tempfile.mkdtemp(prefix="dfcl-compiled-"))
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(_COMPILED)
jax.config.update("jax_compilation_cache_dir", str(_COMPILED))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")

# Programs are kept for the next run up to this size; beyond it, as code has changed many times, the next starts afresh.
_MOST_BYTES = 500_000_000


def _kept() -> Path:
    """Programs of former runs by this release on this kind of processor: no others may be loaded."""
    from dfcl_jax.runs.compiled import kind_of_machine  # once options of XLA are set

    return Path(__file__).parents[1] / ".pytest_cache" / "compiled" / kind_of_machine()


# Options of XLA that halve the time of compiling, at the price of slower programs.
_COMPILE_FAST = (
    "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1 "
    "--xla_cpu_enable_concurrency_optimized_scheduler=false"
)


def pytest_configure(config: pytest.Config) -> None:
    """Most tests compile more than they compute; the slow ones, and the experiments, run what users run."""
    fast = "not slow" in config.option.markexpr
    jax.config.update("jax_disable_most_optimizations", fast)
    # The processes of one run are given the options of the first.
    if fast and "XLA_FLAGS" not in os.environ and _accepted(_COMPILE_FAST):
        os.environ["XLA_FLAGS"] = _COMPILE_FAST


def _accepted(options: str) -> bool:
    """Whether this release of XLA has these options: it ends the process if not."""
    command = [sys.executable, "-c", "import jax; jax.jit(lambda x: x + 1)(1)"]
    return subprocess.run(command, env=os.environ | {"XLA_FLAGS": options}, capture_output=True).returncode == 0


def pytest_collection_finish(session: pytest.Session) -> None:
    """Let the collector of garbage pass over what stays to the end: modules and tests."""
    gc.collect()
    gc.freeze()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Begin with the programs that are kept."""
    kept = _kept()
    # The processes of one run are given the folder of the first, which alone copies.
    if _GIVEN or not kept.is_dir():
        return
    with contextlib.suppress(OSError):
        if sum(file.stat().st_size for file in kept.iterdir()) > _MOST_BYTES:
            shutil.rmtree(kept)
        else:
            shutil.copytree(kept, _COMPILED, dirs_exist_ok=True)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Keep what a run that passed has compiled."""
    if _GIVEN:
        return
    with contextlib.suppress(OSError):
        kept = _kept()
        kept.mkdir(parents=True, exist_ok=True)
        known = {file.name for file in kept.iterdir()}
        for file in _COMPILED.iterdir() if exitstatus == pytest.ExitCode.OK else ():
            if file.name not in known:
                # Named last: another process sees a whole file or none.
                unfinished = kept / f"{file.name}.{os.getpid()}"
                shutil.copyfile(file, unfinished)
                unfinished.replace(kept / file.name)
    shutil.rmtree(_COMPILED, ignore_errors=True)


def _data_folder() -> Path:
    folder = os.environ.get("DFCL_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs the published trials: set DFCL_DATA to their folder")
    return Path(folder)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of published trials."""
    return _data_folder()


@pytest.fixture(scope="session")
def reference() -> dict[str, np.ndarray]:
    """Inputs and outputs of the DFCL authors' code."""
    file = _data_folder().parent / "fixtures" / "dfcl_reference.npz"
    if not file.is_file():
        pytest.skip("needs fixtures/dfcl_reference.npz beside the folder of DFCL_DATA")
    with np.load(file) as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def experiment() -> Callable[[str], ModuleType]:
    """Loads experiments/NAME.py, which is in no package."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(
            f"experiments_{name}", Path(__file__).parents[1] / "experiments" / f"{name}.py"
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        # The command line looks up the types of the options there.
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module

    return load
