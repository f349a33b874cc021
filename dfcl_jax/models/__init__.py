"""Outcome models as pure `(init, apply)` pairs."""

from dfcl_jax.models.config import NetworkConfig
from dfcl_jax.models.outcome import Link, Model, Params, ensemble, mlp, shared_trunk

__all__ = ["Link", "Model", "NetworkConfig", "Params", "ensemble", "mlp", "shared_trunk"]
