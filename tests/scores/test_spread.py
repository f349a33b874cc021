import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import Outcomes, Trial, scores
from dfcl_jax.data import simulate
from dfcl_jax.solvers import hard

SIMULATE = jax.jit(simulate.marketing, static_argnums=1)
TRIAL, TRUTH = SIMULATE(jax.random.key(1), 10_000)


def test_the_scale_is_the_base_with_a_floor():
    outcomes = Outcomes(jnp.array([[3.0, 5.0], [0.0, 0.0]]), jnp.zeros((2, 2)))
    np.testing.assert_allclose(scores.outcome_scale(outcomes, floor=0.5), [np.hypot(4, 1), 1])


def test_where_nothing_is_expected_of_anybody_money_keeps_its_unit():
    np.testing.assert_array_equal(scores.outcome_scale(Outcomes(jnp.zeros((3, 2)), jnp.zeros((3, 2)))), 1)


def test_own_units_leave_everybody_their_best_decision():
    own = scores.in_own_units(scores.truth(TRUTH), scores.outcome_scale(TRUTH))
    for lam in (0.0, 0.3, 2.0):
        np.testing.assert_array_equal(hard(Outcomes(own.r, own.c), lam), hard(TRUTH, lam))
    np.testing.assert_array_equal(own.w, 1)


def test_own_units_make_heavy_tails_equally_noisy():
    centred = scores.centred(TRIAL, TRUTH)
    own = scores.in_own_units(centred, scores.outcome_scale(TRUTH))

    def share_of_the_largest(surface) -> float:
        noise = np.sort((np.asarray(surface) ** 2).sum(axis=1))
        return float(noise[-100:].sum() / noise.sum())

    # One person in a hundred: three tenths of the noise in money, half of that in own units.
    assert share_of_the_largest(centred.r) > 0.3
    assert share_of_the_largest(own.r) < 0.17


def test_in_root_units_counts_are_equally_noisy_whoever_is_likely_to_have_them():
    """Poisson counts of mean b have variance b, and so b / s^2 = mean b for all in the unit s = sqrt(b mean b)."""
    n = 40_000
    b = np.repeat([0.4, 1.6], n // 2)
    hat = Outcomes(jnp.asarray(b)[:, None], jnp.asarray(b)[:, None])
    count = jnp.asarray(np.random.default_rng(0).poisson(b).astype(float))
    trial = Trial(jnp.zeros((n, 1)), jnp.zeros(n, int), count, count, jnp.ones(1))
    np.testing.assert_allclose(scores.outcome_scale(hat, floor=0.0, power=0.5), np.sqrt(b))
    noise = np.asarray(scores.aipw_in_root_units(trial, hat).r)[:, 0] - b / np.sqrt(b)
    # The floor takes off 3% where b is 0.4; the variance of 20,000 counts has a standard error of 1.5%.
    assert noise[: n // 2].var() == pytest.approx(noise[n // 2 :].var(), rel=0.1)


def test_winsorising_cuts_both_tails_of_both_outcomes():
    r, c = jnp.array([-100.0, -1.0, 1.0, 2.0, 4.0]), jnp.array([0.0, 0.0, 0.0, 1.0, 9.0])
    trial = Trial(jnp.zeros((5, 1)), jnp.zeros(5, int), r, c, jnp.array([1.0, 0.0]))
    cut = scores.winsorised(trial, quantile=0.75)
    np.testing.assert_allclose(cut.r, [-4, -1, 1, 2, 4])
    np.testing.assert_allclose(cut.c, [0, 0, 0, 1, 1])


def test_the_bias_of_winsorised_outcomes_is_what_lies_beyond_the_cut():
    n = 200_000
    y = np.random.default_rng(2).exponential(size=n)
    columns = np.zeros((n, 1)), np.zeros(n, int), y, y, np.array([1.0, 0.0])
    trial = Trial(*(jnp.asarray(column) for column in columns))
    cut = np.asarray(scores.ipw(scores.winsorised(trial, quantile=0.9)).r)[:, 0]
    # E (y - q)^+ = P(y > q) = 0.1 for an exponential outcome; the estimate's standard error is 0.1 %.
    assert (y - cut).mean() == pytest.approx(0.1, abs=0.005)
    assert cut.var() < 0.6 * y.var()
