"""What a method says of its own training, from epoch to epoch: the weight of prediction, temperature and windows."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dfcl_jax import Decision, TwoStage, scores
from dfcl_jax.data import simulate, split_simulation
from dfcl_jax.methods import SILENT, decisions
from dfcl_jax.methods.decision import Begin, begin_from, train_on
from dfcl_jax.models import NetworkConfig
from dfcl_jax.train import ALL_SEEDS, FitConfig, StageLog

EPOCHS = 4
START = TwoStage(NetworkConfig(hidden=(4,)))
TRAINING = FitConfig(epochs=EPOCHS, batch_size=250)
DRAW = jax.jit(simulate.marketing, static_argnums=1)
TASKS = [split_simulation(DRAW(jax.random.key(s), 1300), 1000, 300, budgets=(0.05, 0.1), seed=s).task for s in (0, 1)]
STILL = Decision(
    scores.centred,
    lambda outcomes, surfaces, k: 0 * outcomes.r.mean(),
    START,
    replace(TRAINING, learning_rate=0.0),
)
LENGTHS = replace(STILL, loss=lambda outcomes, surfaces, k: k.temperature[0] + k.window[0] + 0 * outcomes.r.mean())


@pytest.fixture(scope="module")
def begin() -> Begin:
    """A start that no training was needed for."""
    model = START.network.build(5)

    def untrained(method, key, tasks):
        return [{"net": model.init(jax.random.fold_in(key, task.seed), task.train.x[:1])} for task in tasks]

    return begin_from(STILL, jax.random.key(0), TASKS, SILENT._replace(fitted=untrained), ALL_SEEDS)


def losses(method: Decision, begin: Begin) -> np.ndarray:
    """Of the batches of each epoch, on average; [epochs, s]."""
    return train_on(method, begin, begin.terms(method), ALL_SEEDS, StageLog()).loss


@pytest.mark.thorough
def test_the_prediction_loss_has_the_weight_of_its_epoch(begin):
    whole = losses(replace(STILL, alpha=1.0), begin)
    falling = losses(replace(STILL, alpha=optax.linear_schedule(1.0, 0.0, 2)), begin)
    # The model stands still, and every epoch sees all rows; single precision.
    np.testing.assert_allclose(falling, np.array([[1.0], [0.5], [0.0], [0.0]]) * whole, rtol=1e-5)
    assert (whole > 0).all()


@pytest.mark.parametrize("tracked", [False, True])
def test_temperature_and_window_are_those_of_their_epoch_tracked_or_not(begin, tracked):
    k = begin.terms(LENGTHS).constants
    cooling = losses(replace(LENGTHS, annealing=optax.exponential_decay(1.0, 1, 0.5), tracked=tracked), begin)
    start = jnp.asarray(k.temperature[:, 0] + k.window[:, 0])
    np.testing.assert_allclose(cooling, 0.5 ** np.arange(EPOCHS)[:, None] * start[None], rtol=1e-6)


def test_a_method_says_which_predictions_its_gradient_passes(begin):
    both = decisions(START, TRAINING)["DFCL-IFD"]
    revenue = replace(both, training=replace(both.training, through="revenue"))
    assert (losses(revenue, begin) != losses(both, begin)).any()
