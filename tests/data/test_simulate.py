from functools import partial

import jax
import numpy as np
import pytest

from dfcl_jax import metrics, scores
from dfcl_jax.data import simulate

KEY = jax.random.key(0)
# One number of people, for which each simulator is compiled once.
N = 50_000
MARKETING = jax.jit(simulate.marketing, static_argnums=1)
CRITEO_LIKE = jax.jit(simulate.criteo_like, static_argnums=1)


@pytest.mark.thorough
@pytest.mark.parametrize("make", [MARKETING, CRITEO_LIKE])
def test_same_key_same_trial(make):
    one, other = make(KEY, N), make(KEY, N)
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a == b).all()), one, other)))


@pytest.mark.parametrize("make", [MARKETING, CRITEO_LIKE])
def test_what_is_seen_is_the_truth_of_the_treatment_given_on_average(make):
    trial, truth = make(KEY, N)
    surfaces = scores.ipw(trial)
    for seen, expected in ((surfaces.r, truth.r), (surfaces.c, truth.c)):
        difference = np.asarray(seen - expected)
        # Ten means at most for each simulator: 4.5 standard errors, and the key is fixed.
        assert (np.abs(difference.mean(axis=0)) <= 4.5 * difference.std(axis=0) / np.sqrt(N) + 1e-12).all()


def test_marketing_pays_the_discount_on_every_order():
    trial, truth = MARKETING(KEY, N)
    discounts = np.array(simulate.DISCOUNTS)
    np.testing.assert_allclose(truth.c, discounts[None] * truth.r, rtol=1e-12)
    np.testing.assert_allclose(trial.c, discounts[trial.t] * trial.r, rtol=1e-12)


def test_marketing_revenue_rises_in_the_discount_with_falling_returns():
    _, truth = MARKETING(KEY, N)
    steps = np.diff(truth.r, axis=1)
    assert (steps >= 0).all()
    # The last step of two people is below the rounding of their revenue.
    assert (steps > 0).mean() > 0.9999
    assert (np.diff(steps, axis=1) < 0).all()


@pytest.mark.thorough
def test_marketing_base_demand_has_the_spread_asked_for():
    _, homogeneous = jax.jit(partial(simulate.marketing, base_spread=0.0), static_argnums=1)(KEY, N)
    np.testing.assert_allclose(homogeneous.r[:, 0], 1.0)
    _, spread = MARKETING(KEY, N)
    # log b has standard deviation 1 but for the clip at 3.5, which is rarely met.
    assert np.log(np.asarray(spread.r[:, 0])).std() == pytest.approx(1.0, abs=0.02)


def test_marketing_treatments_are_equally_likely():
    trial, _ = MARKETING(KEY, N)
    shares = np.bincount(trial.t, minlength=5) / N
    # Five standard errors of a share.
    assert (np.abs(shares - 0.2) < 5 * np.sqrt(0.2 * 0.8 / N)).all()


def test_features_are_standardised():
    x = np.asarray(MARKETING(KEY, N).trial.x)
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-10)
    np.testing.assert_allclose(x.std(axis=0), 1, rtol=1e-10)


@pytest.mark.thorough
def test_criteo_like_has_the_marginals_stated():
    rates = []
    for seed in range(20):
        trial, _ = CRITEO_LIKE(jax.random.key(seed), N)
        rates.append([float(trial.t.mean()), float(trial.c.mean()), float(trial.r.mean())])
    treated, visit, conversion = np.mean(rates, axis=0)
    assert treated == pytest.approx(0.85, abs=0.002)  # five standard errors
    # Four standard errors of a mean of 20 populations with the standard deviations stated.
    assert visit == pytest.approx(0.047, abs=4 * 0.003 / np.sqrt(20))
    assert conversion == pytest.approx(0.004, abs=4 * 0.0016 / np.sqrt(20))


def test_criteo_like_rewards_the_oracle():
    trial, truth = CRITEO_LIKE(KEY, N)
    # What is expected in place of what is seen, which at these rates takes a million people to tell from noise.
    rows = np.arange(N), np.asarray(trial.t)
    expected = trial._replace(r=np.asarray(truth.r)[rows], c=np.asarray(truth.c)[rows])
    assert float(metrics.aucc(metrics.roi_score(truth), expected)) > 0.6
    assert float(metrics.aucc(-metrics.roi_score(truth), expected)) < 0.4


@pytest.mark.slow
def test_criteo_like_rewards_the_oracle_by_what_is_seen():
    trial, truth = CRITEO_LIKE(KEY, 1_000_000)
    oracle = float(metrics.aucc(metrics.roi_score(truth), trial))
    backwards = float(metrics.aucc(-metrics.roi_score(truth), trial))
    # A million rows leave an AUCC a noise of about 0.02.
    assert oracle > 0.6
    assert backwards < 0.4
