"""Methods: ways from a task to a policy."""

from dfcl_jax.methods.bilevel import BiLevel
from dfcl_jax.methods.catalogue import CHEAPEST, METHODS, TWO_STAGE, decisions, standard
from dfcl_jax.methods.cheapest import CheapestArm
from dfcl_jax.methods.decision import Decision
from dfcl_jax.methods.identity import describe, rebuild
from dfcl_jax.methods.method import SILENT, Log, ManySeeds, Method, fit_each, learns_together
from dfcl_jax.methods.policy import Policy
from dfcl_jax.methods.pooled import Pooled
from dfcl_jax.methods.saved import load_policy, save_policy
from dfcl_jax.methods.two_stage import TwoStage

__all__ = [
    "CHEAPEST",
    "METHODS",
    "SILENT",
    "TWO_STAGE",
    "BiLevel",
    "CheapestArm",
    "Decision",
    "Log",
    "ManySeeds",
    "Method",
    "Policy",
    "Pooled",
    "TwoStage",
    "decisions",
    "describe",
    "fit_each",
    "learns_together",
    "load_policy",
    "rebuild",
    "save_policy",
    "standard",
]
