"""The parts that features are made of."""

import jax
import jax.numpy as jnp
from jax import Array


def normal_features(key: Array, n: int, d: int, more: int = 0) -> tuple[Array, Array]:
    """Draw z ~ N(0, 0.2 11' + 0.8 I), [n, d], and further independent columns ~ N(0, I), [n, more]."""
    common, own = jax.random.split(key)
    own_part = jax.random.normal(own, (n, d + more))
    z = jnp.sqrt(0.2) * jax.random.normal(common, (n, 1)) + jnp.sqrt(0.8) * own_part[:, :d]
    return z, own_part[:, d:]


def mixed(z: Array) -> Array:
    """Exponentiate a third of the columns of z [n, d] (skewed), round a third, and leave a third as they are."""
    d = z.shape[1]
    third = jnp.arange(d)[None, :] * 3 // d
    return jnp.where(third == 0, jnp.exp(z), jnp.where(third == 1, jnp.round(z), z))
