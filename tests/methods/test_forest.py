import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError, Trial
from dfcl_jax.data import Task
from dfcl_jax.methods import SILENT, CausalForest
from dfcl_jax.methods.forest import _effects, _forest_arrays
from dfcl_jax.methods.trees import as_trees, in_one_thread
from dfcl_jax.types import Outcomes

pytest.importorskip("econml", reason='needs EconML: pip install "dfcl-jax[forest]"')

KEY = jax.random.key(0)
NOISE = 0.1
P = np.array([0.4, 0.3, 0.3])


def truth(x: np.ndarray) -> Outcomes:
    """Effects on revenue that jump where the first feature changes sign; costs are the same for everybody."""
    r = 2 + x[:, 1:2] + np.array([0.0, 1.0, 2.0]) * (x[:, :1] > 0)
    return Outcomes(jnp.asarray(r), jnp.asarray(np.broadcast_to([0.0, 0.2, 0.5], r.shape)))


def people(n: int, seed: int) -> Trial:
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, size=(n, 2)).astype(np.float32)
    t = rng.choice(3, n, p=P)
    r, c = (np.asarray(surface)[np.arange(n), t] for surface in truth(x))
    return Trial(*map(jnp.asarray, (x, t, r + NOISE * rng.normal(size=n), c, P)))


TASK = Task(people(3000, 0), people(10, 1), (0.2,))
METHOD = CausalForest(trees=24, leaf_size=40)
# Away from the jump, which trees smooth.
X = np.asarray(people(400, 2).x)
X = X[np.abs(X[:, 0]) > 0.3]


@pytest.fixture(scope="module")
def fitted():
    return METHOD.fit(KEY, TASK, SILENT)


def test_effects_and_outcomes_are_learned(fitted):
    """A leaf of 40 people has about 6 of an arm in its honest half: an effect of standard error
    noise sqrt(1/6 + 1/8) = 0.054 in one tree, less in a mean of 24. Three of these, and as much for smoothing. The mean
    outcome is learned from people whose outcomes have a deviation of 0.83 around it, for treatments differ: a model
    that fits 8 of them, with most of its weight on those alone, errs by 0.3."""
    r, c = (np.asarray(surface) for surface in METHOD.predict(fitted, jnp.asarray(X)))
    true = np.asarray(truth(X).r)
    np.testing.assert_allclose(r[:, 1:] - r[:, :1], true[:, 1:] - true[:, :1], atol=0.32)
    assert np.sqrt(np.mean((r - true) ** 2)) < 0.3
    np.testing.assert_allclose(c, truth(X).c, atol=1e-3)


def test_arrays_of_trees_predict_the_effects_that_econml_does():
    forest, train = METHOD._forest(people(1000, 3), 5), people(1000, 3)
    x = np.asarray(train.x)
    with in_one_thread():
        forest.fit(np.column_stack([train.r, train.c]), np.asarray(train.t), X=x)
    found = _effects(
        as_trees(_forest_arrays(forest.model_cate.estimators_[0], np.float64)), jnp.asarray(x, jnp.float64)
    )
    # Both solve sums of 24 leaves in float64.
    np.testing.assert_allclose(found, forest.const_marginal_effect(x)[:, 0, :], rtol=1e-8, atol=1e-10)


def test_a_saved_forest_decides_alike(fitted, decides_alike_once_saved):
    decides_alike_once_saved(METHOD, fitted, X, truth(X), 0.2)


def test_the_same_key_gives_the_same_forest(fitted):
    again = METHOD.fit(KEY, TASK, SILENT)
    jax.tree.map(np.testing.assert_array_equal, again, fitted)


def test_numbers_out_of_their_range_are_refused():
    with pytest.raises(InputError, match="trees: found 30, expected a multiple of 4"):
        CausalForest(trees=30)
    with pytest.raises(InputError, match="leaf_size: found 0"):
        CausalForest(leaf_size=0)
