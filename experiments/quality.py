"""What each method gains in true value over two-stage learning, in several regimes of simulated trials."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, NamedTuple

import jax
from jax import Array

from dfcl_jax import METHODS, constants, methods, scores
from dfcl_jax.data import simulate, sources
from dfcl_jax.data.simulate import Simulation
from dfcl_jax.errors import refuse
from dfcl_jax.methods import Method
from dfcl_jax.report import DRAWS, RunConfig, command, run_simulated
from dfcl_jax.study import StudyConfig


class Regime(NamedTuple):
    """A population, how many people of it are seen, and what predicts."""

    parts: tuple[int, int, int]  # people for training, validation and test
    hidden: tuple[int, ...] = (64, 32, 32)
    base_spread: float | None = 1.0  # of simulate.marketing; None: simulate.criteo_like


REGIMES = {
    "default": Regime((200_000, 50_000, 100_000)),
    "large": Regime((800_000, 200_000, 100_000)),
    "wide": Regime((200_000, 50_000, 100_000), hidden=(256, 128)),
    "homogeneous": Regime((200_000, 50_000, 100_000), base_spread=0.0),
    "criteo": Regime((1_200_000, 200_000, 600_000), base_spread=None),
}


PL, IFD = methods.entropy_regularised, methods.finite_difference
CENTRED, OWN = scores.centred, methods.centred_in_own_units
METHODS_STUDIED = {
    **{
        f"{name}-published": METHODS[name]._replace(constants=lambda *_: constants.published("marketing"), pace=pace)
        for name, pace in {"DFCL-PL": 1.0, "DFCL-MER": 0.1, "DFCL-IFD": 1.0}.items()
    },
    **METHODS,
    "PPL": Method(methods.raw, methods.primal_policy_learning),
    "PIFD": Method(methods.raw, methods.primal_finite_difference),
    "PPL-priced-AIPW": Method(scores.aipw, partial(methods.primal_policy_learning, priced=True)),
    "PIFD-priced-AIPW": Method(scores.aipw, partial(methods.primal_finite_difference, priced=True)),
    "IFD-centred": Method(CENTRED, IFD),
    "PL-AIPW": Method(scores.aipw, PL),
    "PL-winsorised": Method(methods.centred_winsorised, PL),
    "PL-centred-tracked": Method(CENTRED, PL, tracked=True),
    "PL-own-units-frozen": Method(OWN, PL),
    "IFD-own-units": Method(OWN, IFD),
    "TSM-own-units": Method(methods.raw_by_precision, methods.weighted_squares),
}


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Compare the published losses and their successors on simulated trials whose truth is known.

    Learning rates were chosen by --first-seed 100 --seeds 3 --parts 100000 25000 50000 --paces 0.1 0.3 1.
    """

    regime: Literal["default", "large", "wide", "homogeneous", "criteo"] = "default"
    seeds: int = 10
    parts: tuple[int, int, int] | None = None
    """People for training, validation and test instead of the regime's."""
    methods: tuple[str, ...] = ()
    """Names of some methods; all if not given."""
    paces: tuple[float, ...] = ()
    """Train every method at each of these learning rates, in multiples of the decision stage's: to choose them by."""


def main(config: Config) -> None:
    """Simulate, train, compare, report."""
    for name in config.methods:
        if name not in METHODS_STUDIED:
            refuse("method", found=name, expected=", ".join(METHODS_STUDIED))
    regime = REGIMES[config.regime]
    chosen = {name: METHODS_STUDIED[name] for name in config.methods or METHODS_STUDIED}
    if config.paces:
        chosen = {
            f"{name} at {pace:g}": method._replace(pace=pace)
            for name, method in chosen.items()
            for pace in config.paces
        }
    config = replace(config, study=_study(config.study, regime))
    draw, arms = _population(regime)
    run_simulated("quality", config, draw, config.parts or regime.parts, chosen, arms=arms)


def _study(study: StudyConfig, regime: Regime) -> StudyConfig:
    if regime.base_spread is not None:
        return replace(study, network=replace(study.network, hidden=regime.hidden))
    network = replace(study.network, hidden=regime.hidden, link="sigmoid")
    return replace(study, network=network, prediction="cross_entropy")


def _population(regime: Regime) -> tuple[Callable[[Array, int], Simulation], tuple[str, ...]]:
    if regime.base_spread is None:
        return DRAWS["criteo"], sources.CRITEO.arms
    draw = partial(simulate.marketing, base_spread=regime.base_spread)
    return jax.jit(draw, static_argnums=1), tuple(f"{discount:.0%}" for discount in simulate.DISCOUNTS)


if __name__ == "__main__":
    command(main, Config)
