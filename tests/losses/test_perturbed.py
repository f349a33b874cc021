import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from dfcl_jax import Outcomes, Scores
from dfcl_jax.losses import fenchel_young_loss, perturbed_loss, policy_learning_loss
from dfcl_jax.scores import truth
from dfcl_jax.solvers import hard, perturbed, priced

LAMS, SCALE = jnp.array([0.2, 1.0]), 0.7


@pytest.fixture
def outcomes() -> Outcomes:
    rng = np.random.default_rng(0)
    return Outcomes(jnp.asarray(rng.normal(1, 1, (6, 4))), jnp.asarray(rng.uniform(0, 1, (6, 4))))


@pytest.fixture
def scores() -> Scores:
    rng = np.random.default_rng(1)
    return truth(Outcomes(jnp.asarray(rng.normal(1, 1, (6, 4))), jnp.asarray(rng.uniform(0, 1, (6, 4)))))


def test_under_gumbel_noise_loss_and_gradient_are_those_of_policy_learning_on_average(outcomes, scores):
    def drawn(key):
        return jax.value_and_grad(perturbed_loss)(
            outcomes, scores, LAMS, key=key, scale=SCALE, noise="gumbel", samples=200
        )

    draws = jax.jit(jax.vmap(drawn))(jax.random.split(jax.random.key(0), 30))
    expected = jax.jit(jax.value_and_grad(policy_learning_loss))(outcomes, scores, LAMS, temperature=SCALE)
    for drawn_ones, one in zip(jax.tree.leaves(draws), jax.tree.leaves(expected), strict=True):
        many = np.asarray(drawn_ones)
        error = many.std(axis=0, ddof=1) / 30**0.5
        # 49 numbers within 4 standard errors: one is outside by chance once in 200 seeds.
        assert (np.abs(many.mean(axis=0) - one) < 4 * error).all()
        assert (error > 0).all()


def test_fenchel_young_loss_under_gumbel_noise_is_a_cross_entropy(outcomes, scores):
    lam = LAMS[0]
    loss = fenchel_young_loss(outcomes, scores, lam, key=jax.random.key(4), scale=SCALE, samples=4000, noise="gumbel")
    log_share = log_softmax(np.asarray(priced(outcomes, lam)) / SCALE, axis=1)
    cross_entropy = -SCALE * log_share[np.arange(6), hard(Outcomes(scores.r, scores.c), lam)].mean()
    # The mean maximum has the Euler constant in it, and a standard error of scale pi / sqrt(6) over sqrt(4000 * 6).
    error = SCALE * np.pi / 6**0.5 / 24000**0.5
    assert float(loss - np.euler_gamma * SCALE) == pytest.approx(cross_entropy, abs=4 * error)


def test_fenchel_young_gradient_is_the_decisions_error(outcomes, scores):
    key, lam = jax.random.key(5), LAMS[1]
    loss = jax.jit(jax.value_and_grad(lambda o: fenchel_young_loss(o, scores, lam, key=key, scale=SCALE)))
    _, gradient = loss(outcomes)
    decided = perturbed(jax.random.split(key, 1)[0], priced(outcomes, lam), SCALE, samples=16)
    error = np.asarray(decided) - np.eye(4)[np.asarray(hard(Outcomes(scores.r, scores.c), lam))]
    np.testing.assert_allclose(gradient.r, error / 6, atol=1e-15)
    np.testing.assert_allclose(gradient.c, -float(lam) * error / 6, atol=1e-15)
    # On fixed draws the loss is piecewise linear in the score, so that differences find the same slope.
    move = np.zeros((6, 4))
    move[2, 1] = 1e-7
    up, down = (float(loss(outcomes._replace(r=np.asarray(outcomes.r) + s * move))[0]) for s in (1, -1))
    assert (up - down) / 2e-7 == pytest.approx(float(gradient.r[2, 1]), abs=1e-7)


def test_fenchel_young_loss_falls_towards_the_target(outcomes, scores):
    """Gradient descent on predictions ends at those that decide as the scores do."""
    loss = jax.jit(jax.value_and_grad(lambda o, key: fenchel_young_loss(o, scores, LAMS, key=key, scale=0.1)))
    fitted = outcomes
    for k in range(60):
        _, slope = loss(fitted, jax.random.key(k))
        fitted = jax.tree.map(lambda surface, s: np.asarray(surface) - 3 * np.asarray(s), fitted, slope)
    for lam in LAMS:
        np.testing.assert_array_equal(hard(fitted, lam), hard(Outcomes(scores.r, scores.c), lam))
