"""Methods: ways from a task to a policy."""

from dfcl_jax.methods.bilevel import BiLevel
from dfcl_jax.methods.boosted import Boosted
from dfcl_jax.methods.catalogue import CHEAPEST, METHODS, OF_TWO, TWO_STAGE, decisions, rivals, standard
from dfcl_jax.methods.cheapest import CheapestArm
from dfcl_jax.methods.decision import Decision
from dfcl_jax.methods.direct import Direct
from dfcl_jax.methods.distilled import Distilled
from dfcl_jax.methods.dr_learner import DRLearner
from dfcl_jax.methods.ensemble import Ensemble
from dfcl_jax.methods.forest import CausalForest
from dfcl_jax.methods.identity import describe, rebuild
from dfcl_jax.methods.method import SILENT, Log, ManySeeds, Method, fit_each, learns_together, one_program_each
from dfcl_jax.methods.mixture import Mixture
from dfcl_jax.methods.policy import Policy
from dfcl_jax.methods.pooled import Pooled
from dfcl_jax.methods.r_learner import RLearner
from dfcl_jax.methods.saved import load_policy, save_policy
from dfcl_jax.methods.two_headed import TwoHeaded
from dfcl_jax.methods.two_stage import TwoStage
from dfcl_jax.methods.weighted import WeightedTwoStage
from dfcl_jax.methods.x_learner import XLearner

__all__ = [
    "CHEAPEST",
    "METHODS",
    "OF_TWO",
    "SILENT",
    "TWO_STAGE",
    "BiLevel",
    "Boosted",
    "CausalForest",
    "CheapestArm",
    "DRLearner",
    "Decision",
    "Direct",
    "Distilled",
    "Ensemble",
    "Log",
    "ManySeeds",
    "Method",
    "Mixture",
    "Policy",
    "Pooled",
    "RLearner",
    "TwoHeaded",
    "TwoStage",
    "WeightedTwoStage",
    "XLearner",
    "decisions",
    "describe",
    "fit_each",
    "learns_together",
    "load_policy",
    "one_program_each",
    "rebuild",
    "rivals",
    "save_policy",
    "standard",
]
