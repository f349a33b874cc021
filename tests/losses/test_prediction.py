import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError, Outcomes, Trial
from dfcl_jax.losses import prediction_loss

OUTCOMES = Outcomes(jnp.array([[0.2, 0.6], [0.5, 0.9]]), jnp.array([[0.1, 0.3], [0.4, 0.8]]))
TRIAL = Trial(
    x=jnp.zeros((2, 1)),
    t=jnp.array([1, 0]),
    r=jnp.array([1.0, 0.0]),
    c=jnp.array([0.0, 1.0]),
    p=jnp.array([0.25, 0.75]),
)


def test_squares_by_hand():
    first = ((1 - 0.6) ** 2 + (0 - 0.3) ** 2) / 0.75
    second = ((0 - 0.5) ** 2 + (1 - 0.4) ** 2) / 0.25
    assert float(prediction_loss(OUTCOMES, TRIAL)) == pytest.approx((first + second) / 2 / 2)


def test_cross_entropy_by_hand():
    first = -(np.log(0.6) + np.log(1 - 0.3)) / 0.75
    second = -(np.log(1 - 0.5) + np.log(0.4)) / 0.25
    assert float(prediction_loss(OUTCOMES, TRIAL, kind="cross_entropy")) == pytest.approx((first + second) / 2 / 2)


def test_cross_entropy_of_certain_and_wrong_predictions_is_finite():
    surface = jnp.array([[0.0, 0.0], [1.0, 1.0]], jnp.float32)
    certain = Outcomes(surface, 1 - surface)
    loss, gradient = jax.jit(jax.value_and_grad(lambda o: prediction_loss(o, TRIAL, kind="cross_entropy")))(certain)
    assert np.isfinite(loss)
    assert np.isfinite(gradient.r).all()


def test_an_unknown_kind_is_named():
    with pytest.raises(InputError, match="kind: found 'mse', expected 'squares' or 'cross_entropy'"):
        prediction_loss(OUTCOMES, TRIAL, kind="mse")  # type: ignore[arg-type]


def test_arm_shares_for_propensities_give_the_published_weights():
    rng = np.random.default_rng(0)
    n, m = 60, 3
    t = rng.integers(0, m, n)
    counts = np.bincount(t, minlength=m)
    r, c = rng.normal(size=(2, n))
    r_hat, c_hat = rng.normal(size=(2, n, m))
    trial = Trial(*(jnp.asarray(a) for a in (np.zeros((n, 1)), t, r, c, counts / n)))
    rows = np.arange(n)
    published = (((r - r_hat[rows, t]) ** 2 + (c - c_hat[rows, t]) ** 2) / counts[t]).sum() / m
    assert float(prediction_loss(Outcomes(jnp.asarray(r_hat), jnp.asarray(c_hat)), trial)) == pytest.approx(published)


def test_unbiased_for_the_loss_over_the_full_surfaces():
    n, m, repeats = 40, 3, 4000
    keys = jax.random.split(jax.random.key(0), 4)
    r, c, r_hat, c_hat = (jax.random.normal(key, (n, m)) for key in keys)
    p = jnp.array([0.2, 0.3, 0.5])
    full = float(((r - r_hat) ** 2 + (c - c_hat) ** 2).mean(axis=0).mean())

    def estimate(key):
        t = jax.random.choice(key, m, (n,), p=p)
        rows = jnp.arange(n)
        return prediction_loss(Outcomes(r_hat, c_hat), Trial(jnp.zeros((n, 1)), t, r[rows, t], c[rows, t], p))

    estimates = np.asarray(jax.jit(jax.vmap(estimate))(jax.random.split(jax.random.key(1), repeats)))
    # Four standard errors of the mean of the repeats; the key is fixed.
    assert abs(estimates.mean() - full) < 4 * estimates.std() / np.sqrt(repeats)
