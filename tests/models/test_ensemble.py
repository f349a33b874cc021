import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError
from dfcl_jax.models import NetworkConfig, ensemble, mlp

X = jnp.asarray(np.random.default_rng(0).normal(size=(7, 3)))


def test_an_ensemble_predicts_the_mean_of_members_that_start_apart():
    one = mlp(2, hidden=(4,))
    model = ensemble(one, 3)
    params = jax.jit(model.init)(jax.random.key(0), X)
    apply = jax.jit(one.apply)
    alone = [apply(jax.tree.map(lambda leaf, k=k: np.asarray(leaf)[k], params), X) for k in range(3)]
    assert model.members is not None
    for predicted, members, parts in zip(
        jax.jit(model.apply)(params, X), jax.jit(model.members)(params, X), zip(*alone, strict=True), strict=True
    ):
        np.testing.assert_allclose(members, np.stack(parts), rtol=1e-6)
        np.testing.assert_allclose(predicted, np.mean(parts, axis=0), rtol=1e-6)
        assert np.ptp(np.stack(parts), axis=0).min() > 0


def test_one_member_is_the_model_itself():
    assert NetworkConfig(members=1).build(2).members is None
    assert NetworkConfig(members=2).build(2).members is not None


def test_an_ensemble_of_nobody_is_refused():
    with pytest.raises(InputError, match="members: found 0"):
        NetworkConfig(members=0)
