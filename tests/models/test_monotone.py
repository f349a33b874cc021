import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax.models import Link, NetworkConfig

M = 5
# Far off what any network was trained on, too.
X = np.concatenate([scale * np.random.default_rng(0).normal(size=(200, 3)) for scale in (1, 30, 1000)])


def surfaces(shape, link: Link = "identity"):
    model = NetworkConfig(shape, hidden=(8,), link=link).build(M)
    params = model.init(jax.random.key(1), jnp.asarray(X))
    return jax.jit(model.apply)(params, X)


@pytest.mark.parametrize("shape", ["monotone", "concave"])
@pytest.mark.parametrize("link", ["identity", "softplus", "sigmoid"])
def test_revenue_and_cost_rise_with_the_treatment_everywhere(shape, link):
    for surface in surfaces(shape, link):
        assert (np.diff(surface, axis=1) >= 0).all()
    near = np.diff(surfaces(shape, link).r[:200], axis=1)
    assert (near > 0).all()


def test_steps_of_revenue_fall_in_a_concave_network_and_those_of_cost_are_free():
    r, c = (np.diff(surface, n=2, axis=1) for surface in surfaces("concave"))
    # Steps are differences of sums of order 1,000 in float64.
    assert (r <= 1e-9).all()
    assert (c > 1e-3).any()
    assert (np.diff(surfaces("monotone").r, n=2, axis=1) > 1e-3).any()


def test_a_network_for_each_treatment_shares_nothing():
    model = NetworkConfig("per_arm", hidden=(8,)).build(M)
    params = model.init(jax.random.key(1), jnp.asarray(X))

    def of_arm(params, arm):
        r, c = model.apply(params, jnp.asarray(X[:200]))
        return (r + c)[:, arm].sum()

    gradient = jax.jit(jax.grad(of_arm))(params, 2)
    for leaf in jax.tree.leaves(gradient):
        moved = np.abs(np.asarray(leaf)).reshape(M, -1).sum(axis=1) > 0
        assert moved.tolist() == [False, False, True, False, False]
