"""Does training on decisions move the true value of the policy, and does money's unit not matter?"""

from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest

from dfcl_jax import METHODS, Outcomes, constants
from dfcl_jax.data import simulate, split_simulation
from dfcl_jax.methods import TWO_STAGE
from dfcl_jax.metrics import paired_interval
from dfcl_jax.models import NetworkConfig
from dfcl_jax.report.summary import lifts
from dfcl_jax.study import StudyConfig, compare
from dfcl_jax.train import FitConfig

# A network of four units cannot fit these surfaces: what it is fitted for decides where it is right.
CONFIG = StudyConfig(
    network=NetworkConfig(hidden=(4,)),
    warm=FitConfig(epochs=10, batch_size=256, learning_rate=1e-2),
    decision=FitConfig(epochs=5, batch_size=1024, learning_rate=5e-3),
)
SEEDS = 10
BUDGETS = (0.02, 0.05, 0.08, 0.12)
DRAW = jax.jit(partial(simulate.marketing, d=8), static_argnums=1)
CENTRED = {name: METHODS[name] for name in ("PL-centred", "PL-own-units")}
RAW = {
    name: METHODS[name]._replace(constants=lambda outcomes, budgets: constants.published("marketing"))
    for name in ("DFCL-PL", "DFCL-MER", "DFCL-IFD")
}


def splits(seeds: int, n: int, unit: float = 1.0):
    drawn = [split_simulation(DRAW(jax.random.key(seed), 2 * n), n, n // 4) for seed in range(seeds)]
    return [
        split._replace(
            **{
                part: getattr(split, part)._replace(r=unit * getattr(split, part).r, c=unit * getattr(split, part).c)
                for part in ("train", "valid", "test")
            },
            truth=Outcomes(unit * split.truth.r, unit * split.truth.c),
        )
        for split in drawn
        if split.truth is not None
    ]


@pytest.fixture(scope="module")
def gains():
    """% of true value over two-stage learning, a row for each seed, in float32 as it is used."""
    with jax.enable_x64(False), jax.numpy_rank_promotion("allow"):
        return lifts(compare(jax.random.key(0), splits(SEEDS, 20_000), BUDGETS, CENTRED | RAW, CONFIG))


@pytest.mark.parametrize("method", CENTRED)
def test_centred_scores_move_the_true_value_up_from_a_misspecified_start(gains, method):
    interval = paired_interval(gains[method].to_numpy())
    raw = {name: f"{gains[name].mean():+.2f}%" for name in RAW}
    message = f"{method}: {interval.mean:+.2f}% of value, 95% [{interval.low:+.2f}, {interval.high:+.2f}]; {raw}"
    print(message)
    assert interval.low > 0, message


def test_the_unit_of_money_does_not_change_what_is_decided():
    config = replace(CONFIG, warm=replace(CONFIG.warm, epochs=2), decision=replace(CONFIG.decision, epochs=2))
    both = [
        compare(jax.random.key(0), splits(2, 2000, unit), [unit * budget for budget in BUDGETS], METHODS, config)
        for unit in (1.0, 1000.0)
    ]
    one, other = (study.values.set_index(["seed", "method", "budget"]) for study in both)
    assert set(one.index.get_level_values("method")) >= {TWO_STAGE, *METHODS}
    # The overshoot of finite differences, 1e-6, has a unit, but that of money is taken out before: rounding is left.
    np.testing.assert_allclose(other.revenue.to_numpy(), 1000 * one.revenue.to_numpy(), rtol=1e-5)
