import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from dfcl_jax.solvers import perturbed

SCALE, SAMPLES = 0.7, 4000


@pytest.fixture
def score():
    return jnp.asarray(np.random.default_rng(0).normal(0, 1, (6, 4)))


def softmax(score):
    return special.softmax(np.asarray(score) / SCALE, axis=1)


def test_gumbel_noise_decides_as_a_softmax(score):
    z = perturbed(jax.random.key(0), score, SCALE, samples=SAMPLES, noise="gumbel")
    # A share over 4000 draws has a standard error of at most 0.008.
    np.testing.assert_allclose(z, softmax(score), atol=4 * 0.008)
    np.testing.assert_allclose(np.asarray(z).sum(axis=1), 1, rtol=1e-12)


def test_normal_noise_decides_between_two_as_a_probit():
    score = jnp.array([[0.0, 0.5]])
    z = perturbed(jax.random.key(1), score, SCALE, samples=SAMPLES)
    # P(Z_1 - Z_0 < 0.5 / scale), the difference of two normals having variance 2.
    assert float(z[0, 1]) == pytest.approx(stats.norm.cdf(0.5 / SCALE / 2**0.5), abs=4 * 0.008)


def test_gradient_under_gumbel_noise_is_that_of_the_softmax(score):
    direction = np.random.default_rng(1).normal(0, 1, (6, 4))
    keys = jax.random.split(jax.random.key(2), 20)

    def slope(key):
        return jax.grad(lambda a: (direction * perturbed(key, a, SCALE, samples=500, noise="gumbel")).sum())(score)

    slopes = np.asarray(jax.jit(jax.vmap(slope))(keys))
    z = softmax(score)
    # The derivative of sum_ij direction_ij z_ij by the score.
    expected = z * (direction - (direction * z).sum(axis=1, keepdims=True)) / SCALE
    error = slopes.std(axis=0, ddof=1) / 20**0.5
    # 24 entries within 4 standard errors of the truth: missed by chance once in a thousand.
    assert (np.abs(slopes.mean(axis=0) - expected) < 4 * error).all()
    assert (error < 0.1).all()


def test_gradient_under_normal_noise_is_that_of_the_probit():
    keys = jax.random.split(jax.random.key(3), 20)
    slope = jax.vmap(lambda k: jax.grad(lambda a: perturbed(k, a, SCALE, samples=500)[0, 1])(jnp.array([[0.0, 0.5]])))
    slopes = np.asarray(jax.jit(slope)(keys))[:, 0, 1]
    expected = stats.norm.pdf(0.5 / SCALE / 2**0.5) / SCALE / 2**0.5
    assert abs(float(slopes.mean()) - expected) < 4 * float(slopes.std(ddof=1)) / 20**0.5


def test_no_noise_is_the_argmax(score):
    np.testing.assert_array_equal(
        perturbed(jax.random.key(0), score, 1e-9, samples=3), np.eye(4)[np.asarray(score).argmax(axis=1)]
    )
