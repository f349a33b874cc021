import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError, Outcomes, Scores
from dfcl_jax.losses import constants, directional_loss
from dfcl_jax.losses.constants import score_spread
from dfcl_jax.losses.decision import directional
from dfcl_jax.solvers import hard, priced

N, M = 40, 4
LAMS, STEPS, WEIGHTS = np.array([0.1, 1.0]), np.array([0.3, 0.05]), np.array([1.0, 2.0])
SIDES = {"central": (1, 1), "forward": (1, 0), "backward": (0, 1)}


def normal(seed: int, shape=(N, M)):
    return jax.random.normal(jax.random.key(seed), shape)


OUTCOMES = Outcomes(normal(0), normal(1))
SCORES = Scores(normal(2), normal(3), jnp.ones((N, M)))


def loss(outcomes, side, step=STEPS, weights=WEIGHTS):
    return directional_loss(outcomes, SCORES, LAMS, step=step, side=side, weights=weights)


value_and_gradient = jax.jit(jax.value_and_grad(loss), static_argnums=1)


def written_out(side):
    """Value and gradient by the formula, in NumPy."""
    above, below = SIDES[side]
    r, c, g_r, g_c = (np.asarray(surface) for surface in (*OUTCOMES, *SCORES[:2]))
    total, slope_r, slope_c = 0.0, np.zeros((N, M)), np.zeros((N, M))
    for lam, h, weight in zip(LAMS, STEPS, WEIGHTS, strict=True):
        a, g = r - lam * c, g_r - lam * g_c
        over, under, length = a + above * h * g, a - below * h * g, (above + below) * h
        total -= weight * (over.max(axis=1) - under.max(axis=1)).mean() / length
        difference = np.eye(M)[over.argmax(axis=1)] - np.eye(M)[under.argmax(axis=1)]
        slope_r -= weight * difference / (length * N)
        slope_c += lam * weight * difference / (length * N)
    return total, slope_r, slope_c


@pytest.mark.parametrize("side", SIDES)
def test_value_and_gradient_are_those_of_the_formula(side):
    value, gradient = value_and_gradient(OUTCOMES, side)
    total, slope_r, slope_c = written_out(side)
    assert np.abs(slope_r).sum() > 0
    # Float64 sums in another order.
    assert float(value) == pytest.approx(total, rel=1e-12)
    np.testing.assert_allclose(gradient.r, slope_r, rtol=1e-12, atol=1e-16)
    np.testing.assert_allclose(gradient.c, slope_c, rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("side", SIDES)
def test_gradient_agrees_with_finite_differences(side):
    direction = Outcomes(normal(4), normal(5))

    def along(step):
        moved = jax.tree.map(lambda leaf, d: np.asarray(leaf) + step * np.asarray(d), OUTCOMES, direction)
        return float(value_and_gradient(moved, side)[0])

    _, gradient = value_and_gradient(OUTCOMES, side)
    slope = sum((np.asarray(g) * np.asarray(d)).sum() for g, d in zip(gradient, direction, strict=True))
    h = 1e-7
    # The loss is linear as long as nobody's best treatment changes, so a difference errs by rounding over h alone.
    assert (along(h) - along(-h)) / (2 * h) == pytest.approx(slope, abs=1e-7)


@pytest.mark.parametrize("side", SIDES)
def test_a_short_step_gives_the_value_of_the_hard_decision(side):
    g_r, g_c = (np.asarray(surface) for surface in SCORES[:2])
    expected = -sum(
        weight * (g_r - lam * g_c)[np.arange(N), hard(OUTCOMES, lam)].mean()
        for lam, weight in zip(LAMS, WEIGHTS, strict=True)
    )
    # No decision changes within 1e-6 of a score; rounding over the step is 1e-10.
    assert float(loss(OUTCOMES, side, step=np.array([1e-6]))) == pytest.approx(expected, abs=1e-8)


def test_the_decision_loss_steps_by_the_window_in_spreads_of_the_gain():
    k = constants.given(OUTCOMES, jnp.zeros(2), lams=LAMS, window=jnp.array([0.2, 0.4]))
    spread = [float(score_spread(priced(Outcomes(*SCORES[:2]), lam))) for lam in LAMS]
    expected = directional_loss(OUTCOMES, SCORES, LAMS, step=np.array([0.2, 0.4]) / spread, side="forward")
    assert float(directional(OUTCOMES, SCORES, k, side="forward")) == pytest.approx(float(expected), rel=1e-12)


def test_an_unknown_side_is_refused():
    with pytest.raises(InputError, match="side: found 'left', expected 'central' or 'forward' or 'backward'"):
        loss(OUTCOMES, "left")
