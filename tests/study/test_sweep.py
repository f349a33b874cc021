from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import METHODS, InputError, constants, losses, methods
from dfcl_jax.data import simulate, split_simulation
from dfcl_jax.methods import TWO_STAGE, Method
from dfcl_jax.models import NetworkConfig
from dfcl_jax.report.summary import summarise
from dfcl_jax.scores import centred, truth
from dfcl_jax.study import ORACLE, StudyConfig, compare, grid, sweep
from dfcl_jax.study.sweep import label
from dfcl_jax.train import FitConfig

CONFIG = StudyConfig(
    network=NetworkConfig(hidden=(8,)),
    warm=FitConfig(epochs=1, batch_size=250),
    decision=FitConfig(epochs=2, batch_size=250, learning_rate=1e-2),
)
BUDGETS = (0.02, 0.05, 0.1)
DRAW = jax.jit(partial(simulate.marketing, d=6), static_argnums=1)
SPLITS = [split_simulation(DRAW(jax.random.key(seed), 2000), 1000, 500) for seed in range(2)]
KEY = jax.random.key(0)
CENTRED = METHODS["PL-centred"]
GIVEN = Method(centred, methods.entropy_regularised, constants=constants.fitted_at)
LAM_SETS = ((2.0,), (2.0, 4.0), (2.0, 4.0, 8.0))
# alpha, learning rate and temperature at once; the fourth setting has no prediction loss.
SETTINGS = [
    {"alpha": 0.5, "learning_rate": 3e-3, "temperature_in_spreads": 1.0},
    {"alpha": 2.0, "learning_rate": 1e-2, "temperature_in_spreads": 2.0},
    {"alpha": 0.1, "learning_rate": 2e-2, "temperature_in_spreads": 0.5},
    {"alpha": 0.0, "learning_rate": 1e-2, "temperature_in_spreads": 1.5},
]
# Float64 products in another blocking, through 8 Adam steps.
ROUNDING = {"rtol": 1e-8, "atol": 1e-10}


def run(settings=SETTINGS, method=CENTRED, **how):
    return sweep(KEY, SPLITS, BUDGETS, method, settings, CONFIG, **how)


@pytest.fixture(scope="module")
def swept():
    return run()


def assert_same_fit(one, other):
    np.testing.assert_allclose(one.loss, other.loss, **ROUNDING)
    np.testing.assert_allclose(one.value, other.value, **ROUNDING)
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True):
        np.testing.assert_allclose(a, b, **ROUNDING)


def alone(method, **config):
    return compare(KEY, SPLITS, BUDGETS, {"alone": method}, replace(CONFIG, **config)).fits["alone"]


@pytest.mark.parametrize("k", [1, 3])
def test_a_member_is_the_same_run_alone(swept, k):
    # The fourth setting alone is trained without computing the prediction loss.
    setting = SETTINGS[k]
    fitted = partial(constants.fitted, temperature_in_spreads=setting["temperature_in_spreads"])
    decision = replace(CONFIG.decision, learning_rate=setting["learning_rate"])
    fit = alone(CENTRED._replace(constants=fitted), alpha=setting["alpha"], decision=decision)
    assert_same_fit(swept.study.fits[label(setting)], fit)


def test_members_differ(swept):
    losses_seen = np.stack([swept.study.fits[label(setting)].loss[-1] for setting in SETTINGS])
    assert (np.abs(np.diff(losses_seen, axis=0)) > 1e-3).all()
