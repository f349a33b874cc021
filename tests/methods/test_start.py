"""What a decision method does where few validation people make budgets look too small."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import TwoStage, scores
from dfcl_jax.data import Task, simulate
from dfcl_jax.methods import SILENT, decisions
from dfcl_jax.methods.decision import begin_from, validate_of
from dfcl_jax.models import NetworkConfig
from dfcl_jax.train import ONE_SEED, FitConfig, predict
from dfcl_jax.types import Trial, take

START = TwoStage(NetworkConfig(hidden=(8,)), training=FitConfig(epochs=1, batch_size=1000))
METHOD = decisions(START, FitConfig(epochs=2, batch_size=500))["PL-own-units"]
POPULATION = simulate.criteo_population(jax.random.key(0))
TRIAL = simulate.draw(POPULATION, jax.random.key(1), 2400)[0]
X = TRIAL.x[:50]


def task(valid: Trial, factor: float) -> Task:
    """Budgets of a share of the validation people's least mean cost."""
    least = float(scores.ipw(valid).c.mean(axis=0).min())
    return Task(take(TRIAL, jnp.arange(1800)), valid, (factor * least, 1.2 * factor * least))


VALID = take(TRIAL, jnp.arange(1800, 2400))


@pytest.mark.thorough
@pytest.mark.parametrize("factor", [0.5, 0.99, 1.01, 2.0])
def test_the_start_has_a_validation_value_whatever_the_budgets_are(factor):
    begin = begin_from(METHOD, jax.random.key(0), [task(VALID, factor)], SILENT, ONE_SEED)
    hat = predict(begin.model, begin.net, begin.counted.valid.x)
    assert np.isfinite(float(validate_of(METHOD)(hat, begin.judge)))


@pytest.mark.thorough
def test_where_no_budget_can_be_met_the_start_is_kept():
    """No decisions of these people cost a hundredth of what their cheapest treatment does."""
    below = task(VALID, 0.01)
    begin = begin_from(METHOD, jax.random.key(0), [below], SILENT, ONE_SEED)
    assert not bool(begin.judge[-1].any())
    learned = METHOD.fit(jax.random.key(0), below, SILENT)
    for leaf, start in zip(jax.tree.leaves(learned["net"]), jax.tree.leaves(begin.net), strict=True):
        np.testing.assert_array_equal(leaf, start)
