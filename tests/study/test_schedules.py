"""What a method changes from epoch to epoch: the weight of prediction, and temperature and windows."""

from dataclasses import replace

import jax
import numpy as np
import optax
import pytest

from dfcl_jax import Method, constants, methods, scores
from dfcl_jax.data import simulate, split_simulation
from dfcl_jax.models import NetworkConfig
from dfcl_jax.study import StudyConfig, compare
from dfcl_jax.train import FitConfig

EPOCHS = 4
CONFIG = StudyConfig(
    network=NetworkConfig(hidden=(4,)),
    warm=FitConfig(epochs=1, batch_size=500),
    decision=FitConfig(epochs=EPOCHS, batch_size=250),
)
DRAW = jax.jit(simulate.marketing, static_argnums=1)
SPLITS = [split_simulation(DRAW(jax.random.key(seed), 1600), 1000, 300) for seed in (0, 1)]
STILL = Method(scores.centred, lambda outcomes, surfaces, k: 0 * outcomes.r.mean(), pace=0.0)
LENGTHS = STILL._replace(loss=lambda outcomes, surfaces, k: k.temperature[0] + k.window[0] + 0 * outcomes.r.mean())


def losses(method: Method, config: StudyConfig = CONFIG) -> np.ndarray:
    """Of the batches of each epoch, on average; [epochs, s]."""
    return compare(jax.random.key(0), SPLITS, (0.05, 0.1), {"it": method}, config).fits["it"].loss


def test_the_prediction_loss_has_the_weight_of_its_epoch():
    whole = losses(STILL, replace(CONFIG, alpha=1.0))
    falling = losses(STILL._replace(alpha=optax.linear_schedule(1.0, 0.0, 2)), replace(CONFIG, alpha=7.0))
    # The model stands still, and every epoch sees all rows; single precision.
    np.testing.assert_allclose(falling, np.array([[1.0], [0.5], [0.0], [0.0]]) * whole, rtol=1e-5)


@pytest.mark.parametrize("tracked", [False, True])
def test_temperature_and_window_are_those_of_their_epoch_tracked_or_not(tracked):
    start = losses(LENGTHS)
    np.testing.assert_allclose(start, np.tile(start[:1], (EPOCHS, 1)), rtol=1e-6)
    cooling = losses(LENGTHS._replace(annealing=optax.exponential_decay(1.0, 1, 0.5), tracked=tracked))
    np.testing.assert_allclose(cooling, 0.5 ** np.arange(EPOCHS)[:, None] * start, rtol=1e-6)


def test_a_constant_schedule_is_a_constant():
    method = Method(scores.centred, methods.entropy_regularised)
    one = losses(method, replace(CONFIG, alpha=0.5))
    other = losses(method._replace(alpha=optax.constant_schedule(0.5)))
    np.testing.assert_allclose(one, other, rtol=1e-6)


def test_published_constants_are_annealed_too():
    cooling = LENGTHS._replace(annealing=optax.linear_schedule(1.0, 0.0, EPOCHS))
    k = constants.published("criteo")
    expected = (k.temperature[0] + k.window[0]) * np.linspace(1, 0, EPOCHS + 1)[:-1, None]
    np.testing.assert_allclose(losses(cooling, replace(CONFIG, constants="criteo")), np.tile(expected, 2), rtol=1e-6)
