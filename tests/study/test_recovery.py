"""Does training on decisions move the true value of the policy, and does money's unit not matter?"""

from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest

from dfcl_jax import METHODS, Method, constants, methods, scores
from dfcl_jax.data import Split, simulate, split_simulation
from dfcl_jax.metrics import paired_interval
from dfcl_jax.models import NetworkConfig
from dfcl_jax.report.summary import lifts
from dfcl_jax.study import StudyConfig, compare
from dfcl_jax.train import FitConfig
from dfcl_jax.types import in_units

# A network of eight units cannot fit these surfaces: what it is fitted for decides where it is right.
CONFIG = StudyConfig(
    network=NetworkConfig(hidden=(8,)),
    warm=FitConfig(epochs=10, batch_size=256, learning_rate=1e-2),
    decision=FitConfig(epochs=6, batch_size=1024, learning_rate=1e-2),
)
SEEDS = 10
BUDGETS = (0.03, 0.06, 0.1)
DRAW = jax.jit(partial(simulate.marketing, d=8), static_argnums=1)
# Learning rates and a window were chosen on other seeds. Budgets need the level of cost: doubly robust scores have it.
CENTRED = {
    **{name: METHODS[name] for name in ("PL-centred", "PL-own-units")},
    "IFD-centred": Method(scores.centred, methods.finite_difference, pace=0.3),
    "IFD-softmax-centred": Method(scores.centred, partial(methods.dual_finite_difference, flips="nearest")),
    "DIFD-centred": Method(scores.centred, methods.dual_finite_difference),
    "PPL-priced-AIPW": Method(scores.aipw, partial(methods.primal_policy_learning, priced=True)),
}
# What gains less than ten trials can tell from nothing is reported, not asserted.
REPORTED = {
    "perturbed-centred": Method(scores.centred, methods.perturbed),
    "PIFD-priced-AIPW": Method(
        scores.aipw,
        partial(methods.primal_finite_difference, priced=True),
        pace=0.3,
        constants=partial(constants.fitted, window_in_spreads=0.5),
    ),
    **{
        name: METHODS[name]._replace(constants=lambda outcomes, budgets: constants.published("marketing"))
        for name in ("DFCL-PL", "DFCL-MER", "DFCL-IFD")
    },
}


def in_money(split: Split, unit: float) -> Split:
    """The same trial counted in smaller coins."""
    train, valid, test = (in_units(part, 1 / unit) for part in (split.train, split.valid, split.test))
    truth = jax.tree.map(lambda surface: unit * surface, split.truth)
    return split._replace(train=train, valid=valid, test=test, truth=truth)


@pytest.fixture(scope="module")
def gains():
    """% of true value over two-stage learning, a row for each seed, in float32 as it is used."""
    with jax.enable_x64(False), jax.numpy_rank_promotion("allow"):
        splits = [split_simulation(DRAW(jax.random.key(seed), 50_000), 20_000, 10_000) for seed in range(SEEDS)]
        return lifts(compare(jax.random.key(0), splits, BUDGETS, CENTRED | REPORTED, CONFIG))


@pytest.mark.slow
@pytest.mark.parametrize("method", CENTRED)
def test_centred_scores_move_the_true_value_up_from_a_misspecified_start(gains, method):
    interval = paired_interval(gains[method].to_numpy())
    others = {name: f"{gains[name].mean():+.2f}%" for name in REPORTED}
    message = f"{method}: {interval.mean:+.2f}% of value, 95% [{interval.low:+.2f}, {interval.high:+.2f}]; {others}"
    print(message)
    assert interval.low > 0, message


@pytest.mark.slow
def test_the_unit_of_money_does_not_change_what_is_decided():
    config = replace(CONFIG, warm=replace(CONFIG.warm, epochs=1), decision=replace(CONFIG.decision, epochs=2))
    both = {name: METHODS[name] for name in ("DFCL-IFD", "PL-own-units")}
    split = split_simulation(DRAW(jax.random.key(0), 4000), 2000, 1000)
    one, other = (
        compare(jax.random.key(0), [in_money(split, unit)], [unit * b for b in BUDGETS], both, config)
        for unit in (1.0, 1000.0)
    )
    # Each study counts in its own mean revenue, in float32; a person at the edge of a budget may change sides.
    np.testing.assert_allclose(other.values.revenue, 1000 * one.values.revenue, rtol=1e-4)
    np.testing.assert_allclose(other.history.loss, one.history.loss, rtol=1e-3)
