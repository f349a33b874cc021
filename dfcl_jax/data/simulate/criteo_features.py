"""Features with the marginals of CRITEO-UPLIFT v2.1, as measured on its first thousand rows."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.scipy.special import ndtr

from dfcl_jax.data.simulate.features import normal_features


class Feature(NamedTuple):
    """One repeated value, and another distribution for the people who do not have it."""

    mode: float  # the repeated value
    share: float  # share of people who have it
    scale: float = 0.0  # for counts: mode + scale log(1 + k / 2) for a count k = 1, 2, ...
    size: float = 0.0  # for counts: k = 1 + floor(size (u^(-1/tail) - 1)), u uniform: Pareto
    tail: float = 1.0
    quantiles: tuple[float, ...] = ()  # of the other values at LEVELS, if these are continuous
    partner: int | None = None  # the feature that has its mode for the same people


LEVELS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
LARGEST_COUNT = 3000.0

# Values, shares and quantiles are those of the first thousand rows; sizes and tails are fitted to the counts by eye.
FEATURES = (
    Feature(12.616365, 0.295, quantiles=(12.63, 15.75, 21.77, 23.74, 25.33, 26.19, 26.72), partner=6),
    Feature(10.059654, 0.992, scale=1.5286, size=0.6, tail=1.5),
    Feature(8.214383, 0.531, quantiles=(8.214, 8.320, 8.507, 8.745, 8.913, 9.002, 9.052), partner=8),
    Feature(4.679882, 0.859, scale=-1.9044, size=6.0, tail=1.5),
    Feature(10.280525, 0.953, scale=1.8475, size=1.5, tail=1.2),
    Feature(4.115453, 0.961, scale=-2.7188, size=1.0, tail=2.0),
    Feature(0.294443, 0.295, scale=-3.903, size=4.5, tail=1.0),
    Feature(4.833815, 0.961, quantiles=(5.61, 7.20, 9.77, 10.64, 11.36, 11.74, 11.95), partner=5),
    Feature(3.971858, 0.531, scale=-0.0407, size=5.5, tail=0.8),
    Feature(13.190056, 0.804, scale=7.488, size=6.0, tail=1.0),
    Feature(5.300375, 0.953, quantiles=(5.40, 5.62, 6.01, 6.22, 6.32, 6.43, 6.47), partner=4),
    Feature(-0.168679, 0.992, scale=-0.2434, size=2.0, tail=1.5),
)


def published_features(key: Array, n: int) -> Array:
    """Draw f0..f11 of n people, in the units of the file, [n, 12].

    Each feature matches the file's repeated value and its share, and for the other values their grid (affine in
    log(1 + k / 2) for counts k) or their quantiles. As in the file, f0 and f6, f2 and f8, f4 and f10, f5 and f7 have
    their repeated value for the same people. All other dependence is that of normal variables with correlation 0.2.
    """
    u = ndtr(normal_features(key, n, len(FEATURES))[0])
    return jnp.stack([_feature(k, u) for k in range(len(FEATURES))], axis=1)


def _feature(k: int, u: Array) -> Array:
    feature = FEATURES[k]
    if feature.partner is not None:
        rest = u[:, feature.partner] > feature.share
        values = jnp.interp(u[:, k], jnp.array(LEVELS), jnp.array(feature.quantiles))
        return jnp.where(rest, values, feature.mode)
    # Among people beyond the share of the mode, 1 - their rank is uniform.
    left = jnp.clip((1 - u[:, k]) / (1 - feature.share), 1e-6, 1)
    count = jnp.clip(1 + jnp.floor(feature.size * (left ** (-1 / feature.tail) - 1)), 1, LARGEST_COUNT)
    values = feature.mode + feature.scale * jnp.log1p(count / 2)
    return jnp.where(u[:, k] > feature.share, values, feature.mode)
