"""Outcome models as pure `(init, apply)` pairs."""

from dfcl_jax.models.config import PUBLISHED_CRITEO, NetworkConfig
from dfcl_jax.models.outcome import (
    Compute,
    Link,
    Model,
    Params,
    Represented,
    Through,
    ensemble,
    in_precision,
    mlp,
    monotone,
    per_arm,
    represented,
    shared_trunk,
    through_revenue,
)

__all__ = [
    "PUBLISHED_CRITEO",
    "Compute",
    "Link",
    "Model",
    "NetworkConfig",
    "Params",
    "Represented",
    "Through",
    "ensemble",
    "in_precision",
    "mlp",
    "monotone",
    "per_arm",
    "represented",
    "shared_trunk",
    "through_revenue",
]
