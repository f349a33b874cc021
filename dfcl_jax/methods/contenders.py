"""The contenders of the quality study, by group and name."""

from dataclasses import replace
from functools import partial

from dfcl_jax import scores
from dfcl_jax.losses import constants
from dfcl_jax.losses import decision as losses
from dfcl_jax.methods.boosted import Boosted
from dfcl_jax.methods.catalogue import RANDOM, TWO_STAGE, decisions, rivals
from dfcl_jax.methods.decision import Decision
from dfcl_jax.methods.distilled import Distilled
from dfcl_jax.methods.dr_learner import DRLearner
from dfcl_jax.methods.ensemble import Ensemble
from dfcl_jax.methods.forest import CausalForest
from dfcl_jax.methods.method import Method
from dfcl_jax.methods.r_learner import RLearner
from dfcl_jax.methods.two_headed import TwoHeaded
from dfcl_jax.methods.two_stage import TwoStage
from dfcl_jax.methods.weighted import WeightedTwoStage
from dfcl_jax.methods.x_learner import XLearner
from dfcl_jax.models import NetworkConfig
from dfcl_jax.train import FitConfig

Group = dict[str, Method]


def contenders(start: TwoStage, training: FitConfig) -> dict[str, Group]:
    """Every contender but two-stage learning and the cheapest treatment, by group and name.

    Args:
        start: two-stage learning, whose network, loss and training the others share.
        training: of the stages that start from it.
    """
    groups: dict[str, Group] = {
        "published": published(start, training),
        "scores": of_scores(start, training),
        "rivals": without_decisions(start, training),
        "ensembles": ensembles(start, training),
        "gains": gains(start, training),
        "trees": {
            "boosted S": Boosted(),
            "boosted S monotone": Boosted(monotone=True),
            "TSM-CF": CausalForest(),
        },
    }
    # A random mix has nothing to choose.
    known = {RANDOM}.union(*groups.values())
    field = {name: method for name, method in rivals(start, training).items() if name not in known}
    return groups | {"field": field}


def every_contender(start: TwoStage, training: FitConfig) -> Group:
    """The contenders of all groups by name."""
    return {name: method for of in contenders(start, training).values() for name, method in of.items()}


def published(start: TwoStage, training: FitConfig) -> Group:
    """The papers' losses, at their own constants and at fitted ones."""
    usual = decisions(start, training)
    paces = {"DFCL-PL": 1.0, "DFCL-MER": 0.1, "DFCL-IFD": 1.0}
    of = partial(Decision, start=start, training=training)
    as_published: Group = {
        f"{name}-published": at_pace(replace(usual[name], constants=constants.published_marketing), training, pace)
        for name, pace in paces.items()
    }
    return as_published | {name: usual[name] for name in paces} | {
        "PPL": of(scores.raw, losses.primal_policy_learning),
        "PIFD": of(scores.raw, losses.primal_finite_difference),
        "DIFD": of(scores.raw, losses.dual_finite_difference),
        "naive": of(scores.raw, losses.naive_finite_difference),
    }  # fmt: skip


def of_scores(start: TwoStage, training: FitConfig) -> Group:
    """The same losses on scores of less variance."""
    usual = decisions(start, training)
    of = partial(Decision, start=start, training=training)
    sides = {
        name: replace(usual["PL-centred"], loss=loss, by_rows=False)
        for name, loss in (
            ("PG", losses.directional),
            ("PG forward", partial(losses.directional, side="forward")),
            ("PG backward", partial(losses.directional, side="backward")),
        )
    }
    pl, ifd, own = losses.entropy_regularised, losses.finite_difference, scores.centred_in_own_units
    return {
        "PL-centred": usual["PL-centred"],
        "PL-own-units": usual["PL-own-units"],
        "PPL-priced-AIPW": of(scores.aipw, partial(losses.primal_policy_learning, priced=True)),
        "PIFD-priced-AIPW": of(scores.aipw, partial(losses.primal_finite_difference, priced=True)),
        "IFD-centred": of(scores.centred, ifd),
        "PL-AIPW": of(scores.aipw, pl),
        "PL-winsorised": of(scores.centred_winsorised, pl),
        "PL-centred-tracked": of(scores.centred, pl, tracked=True),
        "PL-own-units-frozen": of(own, pl),
        "IFD-own-units": of(own, ifd),
        **sides,
    }


def without_decisions(start: TwoStage, training: FitConfig) -> Group:
    """What predicts money as well as it can, without a decision in its loss."""
    network = start.network
    # Effects may be negative, whatever outcomes are.
    known = {"nuisance": start, "network": replace(network, link="identity"), "training": start.training}
    learners = {"X-learner": XLearner, "R-learner": RLearner, "DR-learner": DRLearner}
    wide = replace(network, hidden=tuple(2 * width for width in network.hidden))
    long = replace(start.training, epochs=2 * start.training.epochs, weight_decay=1e-2)
    return {
        "TSM-own-units": WeightedTwoStage(start, training),
        "TSM-wide": replace(start, network=wide),
        "TSM-long": replace(start, training=long),
        "TSM-TL": replace(start, network=replace(network, shape="per_arm")),
        "CN": replace(start, network=replace(network, shape="monotone")),
        "CN-concave": replace(start, network=_concave(start)),
        "CN-concave-own-units": WeightedTwoStage(replace(start, network=_concave(start)), training),
        **{name: of(**known) for name, of in learners.items()},
        **{f"{name}-own-units": of(**known, own_units=True) for name, of in learners.items()},
    }


def ensembles(start: TwoStage, training: FitConfig, members: int = 5) -> Group:
    """Ensembles of the best of each kind: a gain over one network may be owed to averaging alone."""
    known = {"nuisance": start, "network": replace(start.network, link="identity"), "training": start.training}
    usual = decisions(start, training)
    of: Group = {
        TWO_STAGE: start,
        "TSM-own-units": WeightedTwoStage(start, training),
        "CN-concave-own-units": WeightedTwoStage(replace(start, network=_concave(start)), training),
        "DR-learner-own-units": DRLearner(**known, own_units=True),
        "PL-centred": usual["PL-centred"],
        "PL-own-units": usual["PL-own-units"],
    }
    resplit: Group = {
        f"{name} resplit x{members}": Ensemble(of[name], members, resplit=True)
        for name in (TWO_STAGE, "TSM-own-units", "CN-concave-own-units")
    }
    distilled = {"TSM-own-units resplit distilled": _distilled(WeightedTwoStage(start, training), members)}
    return {f"{name} x{members}": Ensemble(method, members) for name, method in of.items()} | resplit | distilled


def gains(start: TwoStage, training: FitConfig, members: int = 5) -> Group:
    """What was tried to gain more than `PL-own-units`, from its parts to their sum.

    Each is that method with doubly robust scores in own units ("DR") or in their roots ("root"), begun from weighted
    two-stage learning ("weighted"), or with the first and the last ("both"), and one thing more. "concave" ones have a
    network whose revenue rises from treatment to treatment in ever smaller steps; so have rivals without decisions.
    """
    doubly = partial(replace, replace(decisions(start, training)["PL-own-units"], scores=scores.aipw_in_own_units))
    weighted = WeightedTwoStage(start, training)
    both = doubly(start=weighted)
    rising = replace(start, network=_concave(start))
    concave = replace(both, start=replace(weighted, start=rising))
    of: Group = {
        "PL-DR": doubly(),
        "PL-root": doubly(scores=scores.aipw_in_root_units),
        f"PL-root x{members}": Ensemble(doubly(scores=scores.aipw_in_root_units), members),
        "PL-weighted": replace(both, scores=scores.centred_in_own_units),
        "PL-both": both,
        "PL-both crossfitted": replace(both, folds=2),
        "PL-both averaged": replace(both, training=replace(training, average=0.99)),
        # Steps grow as the root of the batch, as those of Adam should.
        "PL-both large batches": replace(both, training=_batches(training, 4)),
        "PL-both concave": concave,
        "PL-both from distilled": replace(both, start=_distilled(weighted, members)),
        "PL-both concave from distilled": replace(concave, start=_distilled(replace(weighted, start=rising), members)),
        f"PL-both x{members}": Ensemble(both, members),
        f"PL-both resplit x{members}": Ensemble(both, members, resplit=True),
        f"PL-both concave x{members}": Ensemble(concave, members),
        f"PL-both concave resplit x{members}": Ensemble(concave, members, resplit=True),
        "PL-both distilled": Distilled(Ensemble(both, members), weighted, start.training),
        "PL-both concave resplit distilled": Distilled(
            Ensemble(concave, members, resplit=True), replace(weighted, start=rising), start.training
        ),
    }
    if start.network.shape == "mlp":
        of["PL-both two-headed"] = TwoHeaded(both)
    return of


def _distilled(weighted: WeightedTwoStage, members: int) -> Distilled:
    """One network that predicts what an ensemble of weighted two-stage learning does."""
    return Distilled(Ensemble(weighted, members, resplit=True), weighted, weighted.start.training)


def _concave(start: TwoStage) -> NetworkConfig:
    return replace(start.network, shape="concave")


def _batches(training: FitConfig, times: int) -> FitConfig:
    return replace(training, batch_size=times * training.batch_size, learning_rate=times**0.5 * training.learning_rate)


def at_pace(method: Decision, training: FitConfig, pace: float) -> Decision:
    """A method at a multiple of a training's learning rate."""
    return replace(method, training=replace(training, learning_rate=training.learning_rate * pace))
