import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax.losses import mmd

RNG = np.random.default_rng(0)
H = jnp.asarray(RNG.normal(size=(8, 3)))


def test_groups_that_are_alike_lie_nowhere_apart():
    """Each group has the same people; in float64 what is left is rounding."""
    assert mmd(jnp.tile(H, (3, 1)), jnp.repeat(jnp.arange(3), 8), 3) == pytest.approx(0, abs=1e-15)


def test_it_is_the_sum_over_pairs_of_people():
    t = jnp.asarray([0, 0, 1, 1, 1, 2, 2, 0])
    kernel = np.array([[np.exp(-float(((a - b) ** 2).sum()) / 2.5) for b in H] for a in H])
    expected = 0.0
    for arm in (1, 2):
        here, there = np.flatnonzero(t == arm), np.flatnonzero(t == 0)
        pairs = [kernel[np.ix_(a, b)].mean() for a, b in ((here, here), (there, there), (here, there))]
        expected += pairs[0] + pairs[1] - 2 * pairs[2]
    assert mmd(H, t, 3, bandwidth=2.5) == pytest.approx(expected, rel=1e-12)


def test_it_grows_with_the_distance_and_its_gradient_brings_groups_together():
    t = jnp.repeat(jnp.arange(2), 8)

    def at(shift):
        return mmd(jnp.concatenate([H, H + shift]), t, 2, bandwidth=4.0)

    values = [at(shift) for shift in (0.0, 0.3, 1.0)]
    assert values[0] < values[1] < values[2]
    assert jax.grad(at)(0.5) > 0


def test_it_does_not_matter_where_all_people_lie():
    t = jnp.asarray([0, 1, 0, 1, 1, 0, 0, 1])
    near = H.astype(jnp.float32)
    # Float32 numbers beside 1,000 are exact to 3e-5, of distances of about 1.
    assert mmd(near + 1000, t, 2) == pytest.approx(float(mmd(near, t, 2)), rel=1e-3)


def test_a_treatment_without_people_counts_nothing():
    t = jnp.repeat(jnp.arange(2), 4)
    assert mmd(H, t, 3, bandwidth=1.0) == mmd(H, t, 2, bandwidth=1.0)
    assert mmd(H, t + 1, 3, bandwidth=1.0) == 0
