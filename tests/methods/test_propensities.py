import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import Trial
from dfcl_jax.methods import with_learned_propensities

N = 8000
KEYS = jax.random.split(jax.random.key(0), 3)
X = jax.random.normal(KEYS[0], (N, 3))


def logged(logits) -> Trial:
    t = jax.random.categorical(KEYS[1], logits)
    nothing = jnp.zeros(N)
    return Trial(X, t, nothing, nothing, jnp.full(3, 1 / 3))


@pytest.mark.thorough
def test_propensities_of_a_policy_that_looks_at_features_are_learned():
    logits = jnp.stack([0 * X[:, 0], X[:, 0], -(X[:, 1] ** 2)], axis=1)
    truth = np.asarray(jax.nn.softmax(logits, axis=1))
    p = np.asarray(with_learned_propensities(KEYS[2], logged(logits)).p)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    off, spread = np.abs(p - truth).mean(), np.abs(truth - truth.mean(axis=0)).mean()
    # A network of some 200 numbers and 8,000 people miss sqrt(200 / 8,000) = 16% of what one draw of everybody's
    # treatment would tell; twice that is allowed. Shares miss all of it.
    assert off < 0.32 * spread


def test_a_policy_that_looks_at_nothing_has_its_shares():
    trial = logged(jnp.tile(jnp.log(jnp.asarray([0.6, 0.3, 0.1])), (N, 1)))
    p = with_learned_propensities(KEYS[2], trial).p
    shares = np.bincount(trial.t, minlength=3) / N
    np.testing.assert_allclose(p.mean(axis=0), shares, atol=0.01)
    # Noise of the fit alone.
    assert np.asarray(p).std(axis=0).max() < 0.05


def test_a_treatment_that_nobody_had_is_not_weighed_beyond_bounds():
    p = with_learned_propensities(KEYS[2], logged(jnp.tile(jnp.asarray([0.0, 0.0, -jnp.inf]), (N, 1)))).p
    # The floor of 0.02, once all sum to 1 again.
    assert np.asarray(p).min() == pytest.approx(0.02 / 1.02, rel=0.02)
