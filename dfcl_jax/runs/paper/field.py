"""The field: every method of the paper and beside it, as a table has them."""

from collections.abc import Collection
from dataclasses import replace
from functools import partial

from dfcl_jax import scores
from dfcl_jax.losses import constants
from dfcl_jax.losses import decision as losses
from dfcl_jax.methods import Boosted, CausalForest, Decision, Method, TwoStage, rivals, standard
from dfcl_jax.methods.contenders import every_contender
from dfcl_jax.methods.extras import installed
from dfcl_jax.train import FitConfig

# Doubly robust scores in own units, and in root units for rare outcomes; one network and five.
OURS = ("PL-both", "PL-root", "PL-both x5", "PL-root x5")


def field_of(
    start: TwoStage, decision: FitConfig, *, left_out: Collection[str] = (), criteo: bool = False, quick: bool = False
) -> tuple[dict[str, Method], list[str]]:
    """Methods by name, and a sentence for each that is left out for lack of its package.

    Args:
        start: two-stage learning.
        decision: training of the decision methods.
        left_out: names of methods that are not for this population.
        criteo: whether the published losses have the constants of the paper's Criteo experiment.
        quick: whether trees are few and trainings short.
    """
    known = every_contender(start, decision)
    every = standard(start, decision) | {name: known[name] for name in OURS} | rivals(start, decision)
    methods, missing = installed({name: method for name, method in every.items() if name not in left_out})
    for name, method in methods.items():
        method = as_published_on_criteo(method) if criteo and name.startswith(("DFCL", "CN")) else method
        methods[name] = _brief(method) if quick else method
    return methods, missing


def as_published_on_criteo(method: Method) -> Method:
    """A decision method with the constants of the paper's Criteo experiment."""
    return replace(method, constants=constants.published_criteo) if isinstance(method, Decision) else method


def _brief(method: Method) -> Method:
    if isinstance(method, Boosted | CausalForest):
        return replace(method, trees=8)
    training = getattr(method, "training", None)
    if training is not None and not isinstance(method, TwoStage | Decision):
        return replace(method, training=replace(training, epochs=2))  # pyright: ignore[reportArgumentType]
    return method


def from_pl_to_ifd(start: TwoStage, decision: FitConfig) -> dict[str, Decision]:
    """What tells IFD from PL on Criteo, a step at a time: weights, the policy's own value taken off, the hard decision.

    With the published window every step of IFD is inside it, so that it is a linear loss; if the hard decision matters
    beyond that, the last two rows differ.
    """
    of = partial(Decision, start=start, training=decision, constants=constants.published_criteo)
    revenue = replace(decision, through="revenue")
    return {
        "PL without weights": of(scores.unweighted, losses.entropy_regularised, by_rows=True),
        "PL": of(scores.raw, losses.entropy_regularised, by_rows=True),
        "PL less own value": of(scores.raw, losses.above_own_value),
        "PL less own value, r_hat alone": of(scores.raw, losses.above_own_value, training=revenue),
        "IFD, r_hat alone": of(scores.raw, losses.finite_difference, training=revenue),
        "IFD": of(scores.raw, losses.finite_difference),
    }
