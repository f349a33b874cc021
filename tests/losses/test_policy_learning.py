import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from dfcl_jax import Outcomes, Scores, Trial, scores
from dfcl_jax.losses import policy_learning_loss
from dfcl_jax.solvers import hard

N, M = 30, 4
LAMS = jnp.array([0.1, 0.5, 1.0])


def normal(seed: int, shape=(N, M)):
    return jax.random.normal(jax.random.key(seed), shape)


OUTCOMES = Outcomes(normal(0), normal(1))
SCORES = Scores(normal(2), normal(3), jnp.ones((N, M)))


value_and_gradient = jax.jit(jax.value_and_grad(policy_learning_loss))


def plain_loss(outcomes: Outcomes, temperature, weights):
    """The formula written out, for JAX to differentiate."""
    total = 0.0
    for lam, tau, weight in zip(LAMS, temperature, weights, strict=True):
        z = jax.nn.softmax((outcomes.r - lam * outcomes.c) / tau, axis=1)
        total -= weight * ((SCORES.r - lam * SCORES.c) * z).sum(axis=1).mean()
    return total


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_value_and_gradient_are_those_of_the_formula(wrap):
    tau, weights = jnp.array([0.5, 1.0, 2.0]), jnp.array([1.0, 3.0, 0.2])
    ours = wrap(jax.value_and_grad(lambda o: policy_learning_loss(o, SCORES, LAMS, temperature=tau, weights=weights)))
    value, gradient = ours(OUTCOMES)
    expected_value, expected = jax.jit(jax.value_and_grad(plain_loss))(OUTCOMES, tau, weights)
    # Float64 sums in another order.
    np.testing.assert_allclose(value, expected_value, rtol=1e-12)
    np.testing.assert_allclose(gradient.r, expected.r, rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(gradient.c, expected.c, rtol=1e-10, atol=1e-15)


def test_gradient_agrees_with_finite_differences():
    direction = Outcomes(normal(4), normal(5))

    def along(step):
        moved = jax.tree.map(lambda leaf, d: np.asarray(leaf) + step * np.asarray(d), OUTCOMES, direction)
        return float(value_and_gradient(moved, SCORES, LAMS)[0])

    _, gradient = value_and_gradient(OUTCOMES, SCORES, LAMS)
    slope = sum((np.asarray(g) * np.asarray(d)).sum() for g, d in zip(gradient, direction, strict=True))
    h = 1e-5
    # A central difference errs by h^2 (1e-10) and by rounding over h (1e-11).
    assert (along(h) - along(-h)) / (2 * h) == pytest.approx(slope, abs=1e-8)


def test_vmap_is_a_loop():
    many = jax.tree.map(lambda leaf: np.stack([leaf, 2 * leaf, -leaf]), OUTCOMES)
    _, together = jax.vmap(value_and_gradient, in_axes=(0, None, None))(many, SCORES, LAMS)
    for k in range(3):
        _, alone = value_and_gradient(jax.tree.map(lambda leaf, k=k: leaf[k], many), SCORES, LAMS)
        np.testing.assert_allclose(np.asarray(together.r)[k], alone.r, rtol=1e-12, atol=1e-16)


def test_a_low_temperature_gives_the_hard_decision_value():
    r, c, _ = (np.asarray(surface) for surface in SCORES)
    expected = -sum((r - lam * c)[np.arange(N), hard(OUTCOMES, lam)].mean() for lam in np.asarray(LAMS))
    loss = policy_learning_loss(OUTCOMES, SCORES, LAMS, temperature=1e-6)
    # The closest two scores of these 90 decisions are 1e-3 apart, 1,000 temperatures.
    assert float(loss) == pytest.approx(expected, rel=1e-9)


def test_ipw_scores_and_temperature_1_are_the_published_loss():
    rng = np.random.default_rng(0)
    t = rng.integers(0, M, N)
    p = np.bincount(t, minlength=M) / N
    r, c = rng.normal(size=(2, N))
    trial = Trial(*(jnp.asarray(a) for a in (np.zeros((N, 1)), t, r, c, p)))
    published = unweighted = 0.0
    for lam in np.asarray(LAMS):
        a = np.asarray(OUTCOMES.r - lam * OUTCOMES.c)
        z = np.exp(a) / np.exp(a).sum(axis=1, keepdims=True)
        published -= ((r - lam * c) * z[np.arange(N), t] / p[t]).mean()
        unweighted -= ((r - lam * c) * z[np.arange(N), t]).mean()
    assert float(policy_learning_loss(OUTCOMES, scores.ipw(trial), LAMS)) == pytest.approx(published, rel=1e-12)
    # The authors' code leaves the weights out.
    surfaces = scores.unweighted(trial, OUTCOMES)
    assert float(policy_learning_loss(OUTCOMES, surfaces, LAMS)) == pytest.approx(unweighted, rel=1e-12)


def test_unbiased_for_the_smoothed_loss_on_the_true_outcomes():
    truth = Outcomes(normal(6), normal(7))
    full = float(policy_learning_loss(OUTCOMES, scores.truth(truth), LAMS))
    p = jnp.array([0.1, 0.2, 0.3, 0.4])
    rows = jnp.arange(N)

    def estimate(key):
        t = jax.random.choice(key, M, (N,), p=p)
        trial = Trial(jnp.zeros((N, 1)), t, truth.r[rows, t], truth.c[rows, t], p)
        return policy_learning_loss(OUTCOMES, scores.ipw(trial), LAMS)

    repeats = 4000
    estimates = np.asarray(jax.jit(jax.vmap(estimate))(jax.random.split(jax.random.key(8), repeats)))
    # Four standard errors of the mean of the repeats; the key is fixed.
    assert abs(estimates.mean() - full) < 4 * estimates.std() / np.sqrt(repeats)


def test_a_term_constant_over_treatments_changes_no_gradient():
    base = Scores(SCORES.r + normal(9, (N, 1)), SCORES.c + normal(10, (N, 1)), SCORES.w)
    (_, one), (_, other) = (value_and_gradient(OUTCOMES, surfaces, LAMS) for surfaces in (SCORES, base))
    np.testing.assert_allclose(one.r, other.r, atol=1e-15)
    np.testing.assert_allclose(one.c, other.c, atol=1e-15)


def test_scores_multipliers_and_temperature_are_data():
    gradient = jax.grad(
        lambda s, lams, tau: policy_learning_loss(OUTCOMES, s, lams, temperature=tau), argnums=(0, 1, 2)
    )(SCORES, LAMS, jnp.array(1.0))
    assert all((np.asarray(leaf) == 0).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("lam", [0.0, 1e6, 1e30])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_extreme_multipliers_give_finite_gradients(lam, dtype):
    outcomes, surfaces = jax.tree.map(lambda leaf: np.asarray(leaf, dtype), (OUTCOMES, SCORES))
    _, gradient = value_and_gradient(outcomes, surfaces, lam)
    assert np.isfinite(gradient.r).all()
    assert np.isfinite(gradient.c).all()


def test_gradient_is_the_score_function_formula():
    """dV/da = E_{j ~ z}[ g_j d ln z_j / da ], the expectation taken arm by arm."""
    lam, tau = 0.5, 0.7
    a, g = (np.asarray(surfaces.r) - lam * np.asarray(surfaces.c) for surfaces in (OUTCOMES, SCORES))
    z = softmax(a / tau, axis=1)
    # d ln z_j / da_k = (1[j = k] - z_k) / tau
    derivative = (np.eye(M) - z[:, None, :]) / tau
    expected = np.einsum("ij,ij,ijk->ik", z, g, derivative) / N
    _, gradient = value_and_gradient(OUTCOMES, SCORES, lam, temperature=tau)
    np.testing.assert_allclose(-np.asarray(gradient.r), expected, rtol=1e-10, atol=1e-16)
    np.testing.assert_allclose(gradient.c, lam * expected, rtol=1e-10, atol=1e-16)
