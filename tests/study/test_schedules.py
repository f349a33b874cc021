"""What a method says of its own training, from epoch to epoch: the weight of prediction, temperature and windows."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from dfcl_jax.study.training import Warm, loss_constants, predict_all, train_method, warm_start

from dfcl_jax import METHODS, Method, scores
from dfcl_jax.data import simulate, split_simulation
from dfcl_jax.models import NetworkConfig
from dfcl_jax.study import Hooks, StudyConfig, stack_seeds
from dfcl_jax.train import Fit, FitConfig

EPOCHS = 4
CONFIG = StudyConfig(network=NetworkConfig(hidden=(4,)), decision=FitConfig(epochs=EPOCHS, batch_size=250))
DRAW = jax.jit(simulate.marketing, static_argnums=1)
SEEDS = stack_seeds(
    [split_simulation(DRAW(jax.random.key(s), 1300), 1000, 300) for s in (0, 1)], (0.05, 0.1), "identity"
)
MODEL = CONFIG.network.build(5)
STILL = Method(scores.centred, lambda outcomes, surfaces, k: 0 * outcomes.r.mean(), pace=0.0)
LENGTHS = STILL._replace(loss=lambda outcomes, surfaces, k: k.temperature[0] + k.window[0] + 0 * outcomes.r.mean())


@pytest.fixture(scope="module")
def warm() -> Warm:
    """A start that no training was needed for."""
    params = jax.vmap(lambda key, x: MODEL.init(key, x[:1]))(jax.random.split(jax.random.key(0), 2), SEEDS.train.x)
    return warm_start(Fit(params, np.zeros((0, 2)), np.zeros((0, 2))), MODEL, SEEDS, CONFIG)


def losses(method: Method, warm: Warm, config: StudyConfig = CONFIG) -> np.ndarray:
    """Of the batches of each epoch, on average; [epochs, s]."""
    return train_method(jax.random.key(1), "it", method, MODEL, SEEDS, warm, config, Hooks()).loss


def test_the_prediction_loss_has_the_weight_of_its_epoch(warm):
    whole = losses(STILL, warm, replace(CONFIG, alpha=1.0))
    falling = losses(STILL._replace(alpha=optax.linear_schedule(1.0, 0.0, 2)), warm, replace(CONFIG, alpha=7.0))
    # The model stands still, and every epoch sees all rows; single precision.
    np.testing.assert_allclose(falling, np.array([[1.0], [0.5], [0.0], [0.0]]) * whole, rtol=1e-5)
    assert (whole > 0).all()


@pytest.mark.parametrize("tracked", [False, True])
def test_temperature_and_window_are_those_of_their_epoch_tracked_or_not(warm, tracked):
    k = loss_constants(LENGTHS, CONFIG, predict_all(MODEL, warm.fit.params, SEEDS.train.x), SEEDS.budgets)
    cooling = losses(LENGTHS._replace(annealing=optax.exponential_decay(1.0, 1, 0.5), tracked=tracked), warm)
    start = jnp.asarray(k.temperature[:, 0] + k.window[:, 0])
    np.testing.assert_allclose(cooling, 0.5 ** np.arange(EPOCHS)[:, None] * start[None], rtol=1e-6)


def test_a_method_says_which_predictions_its_gradient_passes_or_leaves_it_to_the_study(warm):
    both = METHODS["DFCL-IFD"]
    revenue = losses(both._replace(through="revenue"), warm)
    of_the_study = losses(both, warm, replace(CONFIG, decision=replace(CONFIG.decision, through="revenue")))
    np.testing.assert_array_equal(revenue, of_the_study)
    assert (revenue != losses(both, warm)).any()
