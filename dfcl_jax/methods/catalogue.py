"""The methods that experiments compare, by name."""

from dataclasses import replace
from functools import partial

from dfcl_jax import scores
from dfcl_jax.losses import decision as losses
from dfcl_jax.methods.boosted import Boosted
from dfcl_jax.methods.cheapest import CheapestArm
from dfcl_jax.methods.decision import TRAINING, Decision
from dfcl_jax.methods.direct import Direct
from dfcl_jax.methods.dr_learner import DRLearner
from dfcl_jax.methods.ensemble import Ensemble
from dfcl_jax.methods.forest import CausalForest
from dfcl_jax.methods.method import Method
from dfcl_jax.methods.policy_net import PolicyNet
from dfcl_jax.methods.r_learner import RLearner
from dfcl_jax.methods.random_mix import RandomMix
from dfcl_jax.methods.rank_learner import RankLearner
from dfcl_jax.methods.risk_averse import RiskAverse
from dfcl_jax.methods.segments import Segments
from dfcl_jax.methods.two_stage import TwoStage
from dfcl_jax.methods.x_learner import XLearner
from dfcl_jax.methods.zero_inflated import ZeroInflated
from dfcl_jax.train import FitConfig

TWO_STAGE = "TSM-SL"
CHEAPEST = "cheapest arm"
RANDOM = "random mix"
# Rivals that take two treatments only.
OF_TWO = ("DRP", "Direct Rank", "uplift rank")
# Rivals for money, not for outcomes of 0 and 1, of two treatments; DPM's form of two treatments is DRP.
OF_MONEY = ("DPM", "TSM-ZILN")


def decisions(start: TwoStage | None = None, training: FitConfig | None = None) -> dict[str, Decision]:
    """The decision methods, each with its own learning rate as a multiple of that of `training`.

    Args:
        start: two-stage learning that they start from.
        training: of the decision stage.
    """
    base = Decision(scores.raw, losses.entropy_regularised, start or TwoStage())
    training = training or TRAINING

    def paced(pace: float) -> FitConfig:
        return replace(training, learning_rate=training.learning_rate * pace)

    of = partial(replace, base)
    own = scores.centred_in_own_units
    return {
        "DFCL-PL": of(loss=losses.policy_learning, by_rows=True, training=paced(0.1)),
        "DFCL-MER": of(by_rows=True, training=training),
        "DFCL-IFD": of(loss=losses.finite_difference, training=paced(0.3)),
        "PL-centred": of(scores=scores.centred, by_rows=True, training=training),
        "PL-own-units": of(scores=own, by_rows=True, tracked=True, training=training),
    }


def standard(start: TwoStage | None = None, training: FitConfig | None = None) -> dict[str, Method]:
    """Two-stage learning, the decision methods, and the cheapest treatment for everybody, by name."""
    start = start or TwoStage()
    return {TWO_STAGE: start, **decisions(start, training), CHEAPEST: CheapestArm()}


def rivals(start: TwoStage | None = None, training: FitConfig | None = None) -> dict[str, Method]:
    """What decision methods are compared with beside TSM-SL, by the papers' names where they have one.

    Args:
        start: two-stage learning, whose network, loss and training the rivals with networks share.
        training: of the decision stage of those that have one.
    """
    start, training = start or TwoStage(), training or TRAINING
    network = start.network
    cn = replace(start, network=replace(network, shape="monotone"))
    # Effects may be negative, whatever outcomes are.
    effects = replace(network, link="identity")
    known = {"nuisance": start, "network": effects, "training": start.training}
    published = decisions(cn, training)["DFCL-PL"]
    pg = decisions(start, training)["PL-centred"]
    return {
        "TSM-TL": replace(start, network=replace(network, shape="per_arm")),
        "TSM-CF": CausalForest(),
        "TSM-SL x5": Ensemble(start, members=5),
        "X-learner": XLearner(**known),
        "R-learner": RLearner(**known),
        "DR-learner": DRLearner(**known),
        "boosted S": Boosted(),
        "boosted S monotone": Boosted(monotone=True),
        "boosted T": Boosted("per_arm"),
        "DPM": Direct("marginal_utility"),
        "DRP": Direct("roi"),
        "Direct Rank": Direct("direct_rank"),
        "uplift rank": Direct("uplift_rank"),
        "CN": cn,
        "CN + DFCL-PL": replace(published, alpha=1.0),
        "PG": replace(pg, loss=losses.directional, by_rows=False),
        "TSM-ZILN": ZeroInflated(replace(effects, shape="mlp"), start.training),
        "segments": Segments(start),
        "risk-averse": RiskAverse(start),
        "Rank-Learner": RankLearner(**known),
        "policy net": PolicyNet(**known),
        RANDOM: RandomMix(),
    }


METHODS = standard() | rivals()
