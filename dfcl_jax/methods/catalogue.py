"""The methods that experiments compare, by name."""

from dataclasses import replace
from functools import partial

from dfcl_jax import scores
from dfcl_jax.losses import decision as losses
from dfcl_jax.methods.cheapest import CheapestArm
from dfcl_jax.methods.decision import TRAINING, Decision
from dfcl_jax.methods.method import Method
from dfcl_jax.methods.two_stage import TwoStage
from dfcl_jax.train import FitConfig

TWO_STAGE = "TSM-SL"
CHEAPEST = "cheapest arm"


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


METHODS = standard()
