import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError, Trial, scores
from dfcl_jax.metrics import contrasts, qini, qini_area, untargeted, value_steps, with_control

# Three people, two treatments beside a free control; published path of maq: spend 1, 2, 4, 5 and the gains below.
EXAMPLE = with_control(np.array([[30.0, 10], [40, 50], [10, 55]]), np.array([3.0, 6]))
SPENDS, GAINS = np.array([1.0, 2, 4, 5]), np.array([40 / 3, 70 / 3, 125 / 3, 45])


def test_known_path():
    steps = value_steps(EXAMPLE, scores.truth(EXAMPLE))
    np.testing.assert_allclose(qini(steps, SPENDS), GAINS, rtol=1e-12)
    # Between vertices the curve is straight: halfway up the last step.
    np.testing.assert_allclose(qini(steps, np.array([4.5])), [(125 / 3 + 45) / 2], rtol=1e-12)


@pytest.mark.parametrize("budget", [0.5, 1.0, 3.3, 5.0, 7.0])
def test_the_area_is_the_integral_of_the_curve(budget):
    steps = value_steps(EXAMPLE, scores.truth(EXAMPLE))
    inner = SPENDS[budget > SPENDS]
    x = np.concatenate([[0.0], inner, [budget]])
    np.testing.assert_allclose(qini_area(steps, budget), np.trapezoid(qini(steps, x), x), rtol=1e-12)


def test_without_targeting_the_curve_is_that_of_mean_outcomes():
    steps = untargeted(EXAMPLE, scores.truth(EXAMPLE))
    # Means (80 / 3 at 3, 115 / 3 at 6): two chords, everybody moving at random along them.
    np.testing.assert_allclose(qini(steps, np.array([1.5, 3, 6])), [40 / 3, 80 / 3, 115 / 3], rtol=1e-12)


def test_gain_is_over_the_control():
    shifted = EXAMPLE._replace(r=EXAMPLE.r + 7)
    steps = value_steps(EXAMPLE, scores.truth(shifted))
    np.testing.assert_allclose(qini(steps, SPENDS), GAINS, rtol=1e-12)


def test_random_predictions_gain_what_no_targeting_gains():
    rng = np.random.default_rng(0)
    n, repeats = 400, 200
    outcomes = with_control(rng.uniform(0, 1, (n, 1)), np.array([1.0]))
    settling = scores.truth(outcomes)
    line = float(qini_area(untargeted(outcomes, settling), 1.0))
    areas = [
        float(qini_area(value_steps(with_control(rng.uniform(0, 1, (n, 1)), np.array([1.0])), settling), 1.0))
        for _ in range(repeats)
    ]
    # Four standard errors of the mean of the repeats.
    assert abs(np.mean(areas) - line) < 4 * np.std(areas) / np.sqrt(repeats)


def test_contrasts_and_back():
    back = contrasts(EXAMPLE)
    np.testing.assert_array_equal(with_control(*back).r, EXAMPLE.r)
    assert back.r.shape == (3, 2)
    np.testing.assert_array_equal(contrasts(EXAMPLE, control=1).r[:, 0], -EXAMPLE.r[:, 1])


def test_published_contrasts_of_weighted_means():
    # Of a published example: treatments of equal chance, outcome +-42 and a uniform number.
    rng = np.random.RandomState(42)
    w = rng.choice([0, 1, 2], 2000)
    y = 42.0 * (w == 1) - 42 * (w == 2) + rng.rand(2000)
    trial = Trial(*map(jnp.asarray, (np.zeros((2000, 1)), w, y, np.zeros(2000), np.full(3, 1 / 3))))
    means = np.asarray(scores.ipw(trial).r.mean(axis=0))
    np.testing.assert_allclose(means[1:] - means[0], [41.51013928, -41.09905001], rtol=1e-8)


def test_shapes_that_disagree_are_named():
    with pytest.raises(InputError, match=r"contrasts: found \(3, 2\) and \(3,\)"):
        with_control(np.ones((3, 2)), np.ones(3))
