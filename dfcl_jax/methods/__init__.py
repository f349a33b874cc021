"""Methods: ways from a task to a policy."""

from dfcl_jax.methods.bilevel import BiLevel
from dfcl_jax.methods.boosted import Boosted
from dfcl_jax.methods.catalogue import (
    CHEAPEST,
    METHODS,
    OF_MONEY,
    OF_TWO,
    RANDOM,
    TWO_STAGE,
    decisions,
    rivals,
    standard,
)
from dfcl_jax.methods.cfr import CFR
from dfcl_jax.methods.cheapest import CheapestArm
from dfcl_jax.methods.decision import Decision
from dfcl_jax.methods.direct import Direct
from dfcl_jax.methods.distilled import Distilled
from dfcl_jax.methods.dr_learner import DRLearner
from dfcl_jax.methods.dragonnet import DragonNet
from dfcl_jax.methods.ensemble import Ensemble
from dfcl_jax.methods.forest import CausalForest
from dfcl_jax.methods.identity import describe, rebuild
from dfcl_jax.methods.joint import JointDR
from dfcl_jax.methods.method import SILENT, Log, ManySeeds, Method, fit_each, learns_together, one_program_each
from dfcl_jax.methods.mixture import Mixture
from dfcl_jax.methods.policy import Policy
from dfcl_jax.methods.policy_net import PolicyNet
from dfcl_jax.methods.pooled import Pooled
from dfcl_jax.methods.propensities import with_learned_propensities
from dfcl_jax.methods.r_learner import RLearner
from dfcl_jax.methods.random_mix import RandomMix
from dfcl_jax.methods.rank_learner import RankLearner
from dfcl_jax.methods.risk_averse import RiskAverse
from dfcl_jax.methods.saved import load_policy, save_policy
from dfcl_jax.methods.segments import Segments
from dfcl_jax.methods.two_headed import TwoHeaded
from dfcl_jax.methods.two_stage import TwoStage
from dfcl_jax.methods.weighted import WeightedTwoStage
from dfcl_jax.methods.with_logs import with_logs
from dfcl_jax.methods.x_learner import XLearner
from dfcl_jax.methods.zero_inflated import ZeroInflated

__all__ = [
    "CFR",
    "CHEAPEST",
    "METHODS",
    "OF_MONEY",
    "OF_TWO",
    "RANDOM",
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
    "DragonNet",
    "Ensemble",
    "JointDR",
    "Log",
    "ManySeeds",
    "Method",
    "Mixture",
    "Policy",
    "PolicyNet",
    "Pooled",
    "RLearner",
    "RandomMix",
    "RankLearner",
    "RiskAverse",
    "Segments",
    "TwoHeaded",
    "TwoStage",
    "WeightedTwoStage",
    "XLearner",
    "ZeroInflated",
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
    "with_learned_propensities",
    "with_logs",
]
