import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from dfcl_jax import Method, Outcomes, methods, scores
from dfcl_jax.data import Split, simulate
from dfcl_jax.models import NetworkConfig
from dfcl_jax.study import StudyConfig, variances
from dfcl_jax.train import FitConfig
from dfcl_jax.types import take

TRIALS, N = 6, 3000
CONFIG = StudyConfig(
    network=NetworkConfig(hidden=(8,)),
    warm=FitConfig(epochs=10, batch_size=100, learning_rate=1e-2),
    decision=FitConfig(epochs=1, batch_size=500),
)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    trial, truth = jax.jit(simulate.marketing, static_argnums=1)(jax.random.key(0), (TRIALS + 2) * N)
    rest = jnp.arange(TRIALS * N, (TRIALS + 2) * N)
    known = Outcomes(truth.r[rest], truth.c[rest])
    parts = [take(trial, jnp.arange(k * N, (k + 1) * N)) for k in range(TRIALS)]
    common = take(trial, rest)
    splits = [Split(part, common, common, known, encoder=None, test_rows=np.asarray(rest)) for part in parts]
    kinds = {
        "raw": Method(methods.raw, methods.entropy_regularised),
        "centred": Method(scores.centred, methods.entropy_regularised),
        "still": Method(scores.centred, methods.entropy_regularised, pace=0.0),
    }
    return variances(jax.random.key(0), splits[0], splits[1:], (0.05, 0.1), kinds, CONFIG).set_index("method")


@pytest.mark.slow
def test_centred_scores_are_less_noisy_for_gradients_and_values(table):
    assert table.gradient["raw"] < table.gradient["centred"] < 1
    assert table.value["centred"] < table.value["raw"]
    assert table.value["centred"] == table.value["still"]


@pytest.mark.slow
def test_policies_that_do_not_move_agree_and_gain_nothing(table):
    assert table.disagreement["still"] == pytest.approx(0, abs=1e-9)
    assert table.lift["still"] == pytest.approx(0, abs=1e-9)
    assert table.lift_sd["still"] == pytest.approx(0, abs=1e-9)
    assert 0 < table.disagreement["raw"] < 1
    assert np.isfinite(table[["lift", "lift_sd"]]).all(axis=None)
