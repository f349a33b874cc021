"""Losses: pure functions of predicted outcomes, per person."""

from dfcl_jax.losses.dual import dual_loss
from dfcl_jax.losses.finite_difference import finite_difference_loss
from dfcl_jax.losses.perturbed import fenchel_young_loss, perturbed_loss
from dfcl_jax.losses.policy_learning import policy_learning_loss
from dfcl_jax.losses.prediction import prediction_loss

__all__ = [
    "dual_loss",
    "fenchel_young_loss",
    "finite_difference_loss",
    "perturbed_loss",
    "policy_learning_loss",
    "prediction_loss",
]
