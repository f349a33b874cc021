from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError, Trial
from dfcl_jax.data import Task
from dfcl_jax.methods import SILENT, Boosted
from dfcl_jax.methods.trees import boosted_arrays, boosted_sum, booster, in_one_thread
from dfcl_jax.types import Outcomes

pytest.importorskip("sklearn", reason='needs scikit-learn: pip install "dfcl-jax[boost]"')

KEY = jax.random.key(0)
NOISE = 0.1


def truth(x: np.ndarray) -> Outcomes:
    """Effects with one jump, for people whose first feature is above 0; the last treatment is the cheapest."""
    lift, cost = np.array([1.0, 2.0, 0.0]), np.array([0.2, 0.5, 0.0])
    r = 2 + x[:, 1:2] + lift * (x[:, :1] > 0)
    return Outcomes(jnp.asarray(r), jnp.asarray(np.broadcast_to(cost, r.shape)))


def people(n: int, seed: int) -> Trial:
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, size=(n, 2)).astype(np.float32)
    t = rng.integers(0, 3, n)
    r, c = (np.asarray(surface)[np.arange(n), t] for surface in truth(x))
    return Trial(*map(jnp.asarray, (x, t, r + NOISE * rng.normal(size=n), c, np.full(3, 1 / 3))))


N = 3000
TASK = Task(people(N, 0), people(10, 1), (0.2,))
X = np.asarray(people(400, 2).x)
SINGLE = Boosted(trees=60, learning_rate=0.2, leaves=8)
LEARNERS = {
    "single": SINGLE,
    "monotone": replace(SINGLE, monotone=True),
    "per arm": replace(SINGLE, learner="per_arm"),
}


@pytest.fixture(scope="module")
def fitted():
    return {name: method.fit(KEY, TASK, SILENT) for name, method in LEARNERS.items()}


@pytest.mark.thorough
@pytest.mark.parametrize("name", LEARNERS)
def test_outcomes_are_learned(name, fitted):
    """Root mean square error of revenue, of which noise is 0.1: 60 trees of 8 leaves follow a part of it, and the line
    in the second feature by steps of 2 / 60."""
    r, c = LEARNERS[name].predict(fitted[name], jnp.asarray(X))
    true = truth(X)
    assert np.sqrt(np.mean((np.asarray(r) - np.asarray(true.r)) ** 2)) < 1.5 * NOISE
    # Costs never vary, and are exactly what was seen.
    np.testing.assert_allclose(c, true.c, rtol=1e-6)


def test_a_monotone_learner_rises_with_the_mean_cost_of_treatments_everywhere(fitted):
    wild = 100 * np.random.default_rng(3).normal(size=(2000, 2)).astype(np.float32)
    r = np.asarray(LEARNERS["monotone"].predict(fitted["monotone"], jnp.asarray(np.concatenate([X, wild]))).r)
    in_order = r[:, [2, 0, 1]]
    # Sums of 60 leaves in float32.
    assert np.diff(in_order, axis=1).min() >= -1e-5
    free = np.asarray(LEARNERS["single"].predict(fitted["single"], jnp.asarray(X)).r)
    assert np.diff(free[:, [2, 0, 1]], axis=1).min() < -1e-3


def test_arrays_of_trees_predict_what_scikit_learn_does():
    train = TASK.train.sample(N)
    x, y = np.asarray(train.x), np.asarray(train.r)
    model = booster(max_iter=60, learning_rate=0.2, max_leaf_nodes=8, random_state=5)
    with in_one_thread():
        expected = model.fit(x, y).predict(x)
    net = boosted_arrays(model, x.dtype)
    # The training rows themselves, whose values lie beside thresholds; sums of 60 leaves in float32.
    np.testing.assert_allclose(boosted_sum(net, jnp.asarray(x)), expected, rtol=0, atol=2e-5)


@pytest.mark.thorough
@pytest.mark.parametrize("name", LEARNERS)
def test_a_saved_learner_decides_alike(name, fitted, decides_alike_once_saved):
    decides_alike_once_saved(LEARNERS[name], fitted[name], X, truth(X), 0.2)


def test_the_same_key_gives_the_same_trees(fitted):
    again = LEARNERS["monotone"].fit(KEY, TASK, SILENT)
    jax.tree.map(np.testing.assert_array_equal, again, fitted["monotone"])


def test_options_that_contradict_are_refused():
    with pytest.raises(InputError, match="monotone: found a model for each treatment, expected learner 'single'"):
        Boosted("per_arm", monotone=True)
    with pytest.raises(InputError, match="trees: found 0, expected at least 1"):
        Boosted(trees=0)
    with pytest.raises(InputError, match="learning_rate: found 2"):
        Boosted(learning_rate=2)
