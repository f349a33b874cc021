"""Methods that learn from logs of a policy, alone or beside a trial, by name."""

from dataclasses import replace
from functools import partial

from dfcl_jax import losses, scores
from dfcl_jax.losses import decision
from dfcl_jax.methods.bilevel import TRAINING, BiLevel
from dfcl_jax.methods.catalogue import decisions
from dfcl_jax.methods.cfr import CFR
from dfcl_jax.methods.decision import Decision
from dfcl_jax.methods.distilled import Distilled
from dfcl_jax.methods.dragonnet import DragonNet
from dfcl_jax.methods.joint import JointDR
from dfcl_jax.methods.method import Method
from dfcl_jax.methods.pooled import Pooled
from dfcl_jax.methods.two_stage import TwoStage
from dfcl_jax.methods.weighted import WeightedTwoStage
from dfcl_jax.models import NetworkConfig
from dfcl_jax.train import FitConfig, Hypergradient

# Those that a command trains where none is asked for by name.
USUAL = ("TSM-SL on both", "PL-both on both", "Bi-PPL")


def with_logs(
    start: TwoStage,
    training: FitConfig,
    bilevel: FitConfig = TRAINING,
    how: Hypergradient = Hypergradient(),  # noqa: B008  frozen
) -> dict[str, Method]:
    """The rows of Bi-DFCL's table that see logs, its ladder of ablations, and what uses logs otherwise.

    Args:
        start: two-stage learning, whose network, loss and training the others share.
        training: of the stages that start from it.
        bilevel: of the target network, epochs over the logs.
        how: the hypergradient of bi-level training.
    """
    of = partial(Decision, start=start, training=training)
    ppl, pifd = of(scores.raw, decision.primal_policy_learning), of(scores.raw, decision.primal_finite_difference)
    own, squares = decisions(start, training)["PL-own-units"], of(scores.raw, decision.weighted_squares)
    both = replace(own, scores=scores.aipw_in_own_units, start=WeightedTwoStage(start, training))
    explicit = replace(how, kind="explicit")
    two_level = partial(BiLevel, training=bilevel, hypergradient=how)
    pooled = partial(Pooled, propensities="learned")
    alike = {"network": start.network, "training": start.training}
    linear = NetworkConfig(hidden=(), link="identity")
    return {
        "TSM-SL on logs": Pooled(start, "observed"),
        "DR-JT": pooled(JointDR(**alike), "observed"),
        "CFR-MMD": Pooled(CFR(**alike), "observed"),
        "DragonNet": Pooled(DragonNet(**alike), "observed"),
        "TSM-SL on both": Pooled(start),
        "KD-Label": two_level(ppl, gate=1.0),
        "LTD-DR": two_level(squares, losses.doubly_robust_label_loss, hypergradient=explicit),
        "AutoDebias": two_level(
            squares, losses.auto_debias_loss, hypergradient=explicit, bridge=linear, outputs=3, bridge_pace=10.0
        ),
        "weights": two_level(ppl, losses.gated_factual_loss, hypergradient=explicit),
        "pseudo-labels": two_level(ppl, hypergradient=explicit),
        "Bi-PPL": two_level(ppl),
        "Bi-PIFD": two_level(pifd),
        "Bi-PL-own-units": two_level(own),
        "TSM-SL on both, weighted": pooled(start),
        "PL-own-units on both": pooled(own),
        "PL-both on both": pooled(both),
        # Unbiased whatever the logs say: they are where the network begins, and the base of its scores.
        "PL-own-units from both": replace(own, start=Distilled(Pooled(start), start)),
        "PL-both from both": replace(both, start=Distilled(pooled(both.start), start)),
    }  # fmt: skip
