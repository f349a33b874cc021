import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax.sums import Double, exact_cumsum, exact_sum


@pytest.fixture(params=["cpu", "gpu"])
def _branch(request, monkeypatch):
    """As it is compiled for either kind of device; the arithmetic is the same on both."""
    monkeypatch.setattr(jax, "default_backend", lambda: request.param)


@pytest.mark.thorough
@pytest.mark.usefixtures("_branch")
@pytest.mark.parametrize("n", [1, 17, 100_003])
def test_float32_sums_are_those_of_float64(n):
    """Numbers of both signs and many sizes, whose plain sum in float32 is off by 1e-7 of their absolute sum."""
    x = (np.random.default_rng(n).normal(size=n) * 10.0 ** np.random.default_rng(0).uniform(-3, 3, n)).astype(
        np.float32
    )
    exact = np.cumsum(x.astype(np.longdouble))
    tolerance = 1e-12 * float(np.abs(x).sum(dtype=np.float64)) + 1e-30  # doubled precision is 2^-48, 4e-15, a step
    total = exact_sum(jnp.asarray(x))
    assert abs(float(total.hi) + float(total.lo) - float(exact[-1])) <= tolerance
    running = exact_cumsum(Double(jnp.asarray(x), jnp.zeros(n, jnp.float32)))
    assert np.abs(np.float64(running.hi) + np.float64(running.lo) - np.float64(exact)).max() <= tolerance


@pytest.mark.usefixtures("_branch")
def test_sums_may_be_vmapped():
    x = np.random.default_rng(1).normal(size=(3, 40)).astype(np.float32)
    total = jax.vmap(exact_sum)(jnp.asarray(x))
    np.testing.assert_allclose(
        np.float64(total.hi) + np.float64(total.lo), x.astype(np.float64).sum(axis=1), atol=1e-13
    )
