"""A value rests on the people who had what the policy gives; with too few of them it has no interval."""

import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError, Outcomes, Trial, scores
from dfcl_jax.metrics import diagnostics, eom, rests_on, trustworthy, why_areas_withheld, why_withheld


def trial_of(t, r, c, p) -> Trial:
    return Trial(jnp.zeros((len(t), 1)), *map(jnp.asarray, (t, r, c, p)))


def rising(n, lift) -> Outcomes:
    """Predictions of which treatment 1 lifts revenue by `lift` [n] for a cost of 1."""
    zero = jnp.zeros(n)
    return Outcomes(jnp.stack([zero, jnp.asarray(lift)], axis=1), jnp.stack([zero, zero + 1], axis=1))


def six_of_two_thousand():
    """Six people are treated at random; the model gives the treatment to the fifteenth that gains most."""
    rng = np.random.default_rng(5)
    n = 2000
    t, x = np.zeros(n, int), rng.random(n)
    t[rng.choice(n, 6, replace=False)] = 1
    trial = trial_of(t, 1 + 2 * x * t, t * 0.75, np.array([1994, 6]) / n)
    return trial, rising(n, 20 * x)


def test_a_value_that_rests_on_nobody_has_no_interval():
    trial, outcomes = six_of_two_thousand()
    settling = scores.aipw(trial, outcomes)
    rests = rests_on(outcomes, settling, eom(outcomes, settling, jnp.array([0.05, 0.5])).rule, revenue=trial.r)
    treated = rests[rests.treatment == 1]
    assert (treated.matched <= 6).all()
    assert (treated.effective_size <= 6).all()
    assert not trustworthy(rests).any()
    assert all("given 'coupon', but only" in str(why) for why in why_withheld(rests, ["none", "coupon"]))


def test_effective_sizes_by_hand():
    # The multiplier 1.5 treats those whose lift is 2 and 3; of the four, persons 1 and 2 had what they are given.
    p = np.array([[0.5, 0.5], [0.5, 0.5], [0.75, 0.25], [0.5, 0.5]])
    trial = trial_of(np.array([1, 0, 1, 1]), np.array([1.0, 0, 4, 0]), np.zeros(4), p)
    outcomes = rising(4, np.array([1.0, 1, 2, 3]))
    rests = rests_on(outcomes, scores.ipw(trial), np.array([1.5]), revenue=trial.r)
    assert rests.share.tolist() == [0.5, 0.5]
    assert rests.matched.tolist() == [1, 2]
    # Weights 2, and 4 and 2: (4 + 2)^2 / (16 + 4).
    np.testing.assert_allclose(rests.effective_size, [1, 36 / 20])
    assert rests.conversions.tolist() == [0, 1]
    # Half of the four people brought revenue.
    np.testing.assert_allclose(rests.expected, [0.5, 18 / 20])


def test_at_multipliers_people_are_those_whom_diagnostics_match():
    rng = np.random.default_rng(0)
    t = rng.integers(0, 2, 500)
    trial = trial_of(t, rng.random(500), t * 1.0, np.array([0.5, 0.5]))
    outcomes, lams = rising(500, rng.random(500)), np.array([0.2, 0.5, 0.9])
    rests = rests_on(outcomes, scores.ipw(trial), lams)
    counted = diagnostics.matched(outcomes, scores.ipw(trial), lams)
    assert rests.groupby("budget").matched.sum().tolist() == counted.matched.tolist()
    assert rests.conversions.isna().all()


def test_people_who_tie_are_given_both_treatments_in_parts():
    n = 400
    t = np.arange(n) % 2
    trial = trial_of(t, np.ones(n), t * 1.0, np.array([0.5, 0.5]))
    outcomes = rising(n, np.ones(n))
    settling = scores.ipw(trial)
    rests = rests_on(outcomes, settling, eom(outcomes, settling, jnp.array([0.25])).rule)
    # A quarter of the people, all of whom tie, is treated: no treated person counts more than another.
    np.testing.assert_allclose(rests.share, [0.75, 0.25])
    np.testing.assert_allclose(rests.effective_size, [200, 200])


@pytest.mark.parametrize(
    ("n", "rate", "enough"),
    [
        (400, 0.5, True),
        # Four in a thousand of 400 people are fewer than ten conversions.
        (400, 0.004, False),
        (50, 0.5, False),
    ],
)
def test_thirty_people_and_ten_conversions_are_enough(n, rate, enough):
    t = np.arange(n) % 2
    r = (np.arange(n) < rate * n).astype(float)
    trial = trial_of(t, r, t * 1.0, np.array([0.5, 0.5]))
    rests = rests_on(rising(n, np.ones(n)), scores.ipw(trial), np.array([0.5]), revenue=r)
    assert trustworthy(rests).tolist() == [enough]
    assert (why_withheld(rests)[0] is None) == enough


def test_a_treatment_that_brings_nothing_is_known_once_many_had_it():
    # Nobody of 200 who were given the control brought revenue where 100 of 200 others did.
    t = np.arange(400) % 2
    r = ((t == 1) & (np.arange(400) < 200)).astype(float)
    trial = trial_of(t, r, t * 1.0, np.array([0.5, 0.5]))
    rests = rests_on(rising(400, np.arange(400.0)), scores.ipw(trial), np.array([200.5]), revenue=r)
    assert rests.conversions.tolist()[0] == 0
    assert rests.expected.tolist()[0] == pytest.approx(0.25 * 101, abs=1)
    assert trustworthy(rests).tolist() == [True]


def test_treatments_that_hardly_anybody_gets_are_not_asked_for():
    # One person in 400 is treated; 0.25% is less than 1%.
    t = np.arange(400) % 2
    trial = trial_of(t, np.ones(400), t * 1.0, np.array([0.5, 0.5]))
    rests = rests_on(rising(400, np.arange(400.0)), scores.ipw(trial), np.array([398.5]), revenue=trial.r)
    assert rests.matched.tolist()[1] == 1
    assert trustworthy(rests).tolist() == [True]


def test_revenue_that_is_none_is_named():
    trial, outcomes = six_of_two_thousand()
    with pytest.raises(InputError, match=r"revenue: found shape \(3,\), expected one for each of 2000 units"):
        rests_on(outcomes, scores.ipw(trial), np.array([0.1]), revenue=np.ones(3))


@pytest.mark.parametrize(
    ("n", "rate", "why"),
    [
        (400, 0.5, None),
        (58, 0.5, "No interval of an area: treatment 0 was given to only 29 people."),
        (400, 0.02, "No interval of an area: of 200 people given treatment 0 only 4 brought any revenue."),
    ],
)
def test_areas_rest_on_all_people_of_every_treatment(n, rate, why):
    t, r = np.arange(n) % 2, (np.arange(n) < rate * n).astype(float)
    assert why_areas_withheld(trial_of(t, r, t * 1.0, np.array([0.5, 0.5]))) == why
