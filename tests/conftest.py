"""Tests run in float64 and refuse implicit rank promotion; what must hold in float32 says so."""

import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

# What is compiled more than once, by whichever test in whichever process, is compiled once.
_COMPILED = os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", tempfile.mkdtemp(prefix="dfcl-compiled-"))
jax.config.update("jax_compilation_cache_dir", _COMPILED)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_configure(config: pytest.Config) -> None:
    """Most tests compile more than they compute; the slow ones, and the experiments, run what users run."""
    jax.config.update("jax_disable_most_optimizations", config.option.markexpr == "not slow")


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


@pytest.fixture(scope="module")
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a file compiles more than once is compiled once."""
    options = {"jax_compilation_cache_dir": str(tmp_path_factory.mktemp("compiled"))}
    options |= {"jax_persistent_cache_min_compile_time_secs": 0, "jax_persistent_cache_min_entry_size_bytes": -1}
    before = {name: getattr(jax.config, name) for name in options}
    _configure(options)
    yield
    _configure(before)


def _configure(options: dict[str, Any]) -> None:
    for name, value in options.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
