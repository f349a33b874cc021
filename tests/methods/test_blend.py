"""Convex combinations of methods' scores, in units that all share."""

import jax
import numpy as np
import pytest

from dfcl_jax import Decision, InputError, TwoStage, scores
from dfcl_jax.data import simulate, split_simulation
from dfcl_jax.losses.decision import entropy_regularised
from dfcl_jax.methods import SILENT, Blend, CheapestArm
from dfcl_jax.methods.blend import with_blends
from dfcl_jax.models import NetworkConfig
from dfcl_jax.train import FitConfig

KEY = jax.random.key(0)
TRAINING = FitConfig(epochs=2, batch_size=100, learning_rate=1e-2)
MONEY = TwoStage(NetworkConfig(hidden=(8,)), training=TRAINING)
DECIDES = Decision(scores.centred, entropy_regularised, MONEY, TRAINING)
SPLIT = split_simulation(jax.jit(simulate.marketing, static_argnums=1)(KEY, 700), 300, 300, budgets=(0.03, 0.06))
X = SPLIT.exam.test.x


def test_a_blend_of_a_method_with_itself_decides_as_the_method():
    alone = MONEY.predict(MONEY.fit(KEY, SPLIT.task, SILENT), X)
    both = Blend((MONEY, MONEY), (0.3, 0.7))
    blended = both.predict(both.fit(KEY, SPLIT.task, SILENT), X)
    for y, again in zip(alone, blended, strict=True):
        np.testing.assert_allclose(y, again, rtol=1e-9)


def test_a_blend_is_between_its_methods_in_proportion_to_their_shares():
    """Units are found on the same people whatever the shares are."""
    fitted = {share: Blend((MONEY, DECIDES), (share, 1 - share)) for share in (0.2, 0.5, 0.8)}
    at = {share: blend.predict(blend.fit(KEY, SPLIT.task, SILENT), X) for share, blend in fitted.items()}
    for low, middle, high in zip(at[0.2], at[0.5], at[0.8], strict=True):
        np.testing.assert_allclose(middle, (low + high) / 2, rtol=1e-9, atol=1e-12)


def test_the_base_is_blended_with_each_rival_and_all_with_each_other():
    methods = {"base": MONEY, "one": DECIDES, "two": Decision(scores.raw, entropy_regularised), "none": CheapestArm()}
    blends = with_blends(methods, "base", "none")
    assert list(blends) == [*methods, "base + one", "base + two", "mean of all"]
    assert blends["mean of all"].of == (MONEY, DECIDES, methods["two"])


@pytest.mark.parametrize("shares", [(0.5, 0.6), (1.0, 0.0), (1.0,)])
def test_shares_that_are_no_shares_are_refused(shares):
    with pytest.raises(InputError, match="shares of a blend"):
        Blend((MONEY, DECIDES), shares)


def test_one_method_is_no_blend():
    with pytest.raises(InputError, match="methods of a blend: found 1, expected at least 2"):
        Blend((MONEY,))
