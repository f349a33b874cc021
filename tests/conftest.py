"""Tests run in float64 and refuse implicit rank promotion; what must hold in float32 says so."""

import os
from pathlib import Path

import jax
import numpy as np
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")


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
