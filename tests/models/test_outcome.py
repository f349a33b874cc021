from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax.models import NetworkConfig, mlp, shared_trunk

X = np.random.default_rng(0).normal(size=(7, 12)).astype(np.float32)


@cache
def initialised(make, m=3, **options):
    """A model and parameters of it, for rows like `X`."""
    model = make(m, **options)
    return model, jax.jit(model.init)(jax.random.key(1), X)


@pytest.mark.parametrize("m", [2, 3, 5])
@pytest.mark.parametrize("make", [mlp, shared_trunk])
def test_outcomes_are_n_by_m(make, m):
    model = make(m)
    outcomes = jax.eval_shape(lambda key: model.apply(model.init(key, X), X), jax.random.key(1))
    assert outcomes.r.shape == outcomes.c.shape == (7, m)


@pytest.mark.parametrize(
    ("link", "low", "high"), [("identity", -np.inf, np.inf), ("softplus", 0, np.inf), ("sigmoid", 0, 1)]
)
@pytest.mark.parametrize("make", [mlp, shared_trunk])
def test_link_bounds_the_outcomes(make, link, low, high):
    model, params = initialised(make, link=link)
    for surface in jax.jit(model.apply)(params, 10 * X):
        assert (np.asarray(surface) >= low).all()
        assert (np.asarray(surface) <= high).all()


@pytest.mark.parametrize("make", [mlp, shared_trunk])
def test_same_key_same_parameters(make):
    model, one = initialised(make)
    other = jax.jit(model.init)(jax.random.key(1), X)
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize("make", [mlp, shared_trunk])
def test_rows_do_not_see_each_other(make):
    model, params = initialised(make)
    together, alone = (jax.jit(model.apply)(params, rows) for rows in (X, X[2:3]))
    # Float32 products in another blocking.
    np.testing.assert_allclose(np.asarray(together.r)[2:3], alone.r, rtol=1e-5, atol=1e-6)


def test_shared_trunk_is_one_network_for_each_head_on_a_common_trunk():
    m = 2
    model, params = initialised(shared_trunk, m, trunk=(6,), head=(4, 3), link="identity")
    weights = jax.tree.map(np.asarray, params["params"])
    trunk = np.maximum(np.asarray(X) @ weights["Dense_0"]["kernel"] + weights["Dense_0"]["bias"], 0)
    outcomes = jax.tree.map(np.asarray, jax.jit(model.apply)(params, X))
    for head in range(2 * m):
        columns = slice(4 * head, 4 * (head + 1))
        h = trunk @ weights["heads_0"]["kernel"][:, columns] + weights["heads_0"]["bias"][columns]
        for layer in ("heads_1", "heads_2"):
            h = np.maximum(h, 0) @ weights[layer]["kernel"][head] + weights[layer]["bias"][head]
        ours = outcomes.r[:, head] if head < m else outcomes.c[:, head - m]
        # Float32 products in another order.
        np.testing.assert_allclose(ours, h[:, 0], rtol=1e-4, atol=1e-5)


def test_configuration_builds_the_published_networks():
    def shapes_of(model):
        return jax.tree.map(jnp.shape, jax.eval_shape(model.init, jax.random.key(0), X))["params"]

    shapes = shapes_of(NetworkConfig(hidden=(64, 32, 32)).build(5))
    assert shapes["Dense_3"]["kernel"] == (32, 10)
    shapes = shapes_of(NetworkConfig("shared_trunk", hidden=(127,), head=(64,), link="sigmoid").build(2))
    assert shapes["Dense_0"]["kernel"] == (12, 127)
    assert shapes["heads_0"]["kernel"] == (127, 4 * 64)
    assert shapes["heads_1"]["kernel"] == (4, 64, 1)


@pytest.mark.parametrize("head", [(4,), (4, 3)])
def test_surfaces_apart_are_those_of_the_shared_trunk_and_share_its_parameters(head):
    model, params = initialised(shared_trunk, trunk=(6,), head=head)
    assert model.apart is not None
    for one, other in zip(jax.jit(model.apart)(params, X), jax.jit(model.apply)(params, X), strict=True):
        # Float32 products in another blocking.
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
