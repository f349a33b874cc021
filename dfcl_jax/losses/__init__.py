"""Losses per person, as pure functions of predictions."""

from dfcl_jax.losses import constants, decision
from dfcl_jax.losses.chunks import in_chunks
from dfcl_jax.losses.constants import Constants
from dfcl_jax.losses.direct import direct_rank_loss, marginal_utility_loss, roi_loss, uplift_rank_loss
from dfcl_jax.losses.directional import directional_loss
from dfcl_jax.losses.dual import dual_loss
from dfcl_jax.losses.finite_difference import dual_finite_difference_loss, finite_difference_loss
from dfcl_jax.losses.naive import naive_finite_difference_loss
from dfcl_jax.losses.perturbed import fenchel_young_loss, perturbed_loss
from dfcl_jax.losses.policy_learning import policy_learning_loss
from dfcl_jax.losses.prediction import prediction_loss, surface_loss
from dfcl_jax.losses.primal import lams_at_budgets, primal_finite_difference_loss, primal_policy_learning_loss
from dfcl_jax.losses.pseudo_labels import (
    LowerLoss,
    auto_debias_loss,
    doubly_robust_label_loss,
    gated_factual_loss,
    pseudo_label_loss,
    pseudo_labels,
)
from dfcl_jax.losses.representation import mmd

__all__ = [
    "Constants",
    "LowerLoss",
    "auto_debias_loss",
    "constants",
    "decision",
    "direct_rank_loss",
    "directional_loss",
    "doubly_robust_label_loss",
    "dual_finite_difference_loss",
    "dual_loss",
    "fenchel_young_loss",
    "finite_difference_loss",
    "gated_factual_loss",
    "in_chunks",
    "lams_at_budgets",
    "marginal_utility_loss",
    "mmd",
    "naive_finite_difference_loss",
    "perturbed_loss",
    "policy_learning_loss",
    "prediction_loss",
    "primal_finite_difference_loss",
    "primal_policy_learning_loss",
    "pseudo_label_loss",
    "pseudo_labels",
    "roi_loss",
    "surface_loss",
    "uplift_rank_loss",
]
