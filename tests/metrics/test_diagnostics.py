import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError, Outcomes, Trial, scores
from dfcl_jax.data import simulate
from dfcl_jax.metrics import diagnostics, eom

P = np.array([0.5, 0.3, 0.2])


def trial_of(*columns) -> Trial:
    return Trial(*map(jnp.asarray, columns))


def randomised(seed: int, n: int = 500) -> Trial:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    return trial_of(np.column_stack([x, x[:, 0] - x[:, 1]]), rng.choice(3, n, p=P), rng.random(n), rng.random(n), P)


@pytest.mark.parametrize("test", [diagnostics.arm_shares, diagnostics.balance])
def test_of_randomised_trials_one_in_twenty_is_doubted(test):
    p_values = np.array([test(randomised(seed))[1].p_value for seed in range(400)])
    # Four standard errors of a share of .05 over 400 trials.
    assert abs((p_values < 0.05).mean() - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 400)
    assert abs(p_values.mean() - 0.5) < 4 / np.sqrt(12 * 400)


def test_a_feature_that_repeats_others_does_not_count():
    # Three free columns of four, at two treatments beside the first.
    assert diagnostics.balance(randomised(0))[1].freedom == 6


def test_targeting_is_found_and_named():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 2))
    t = (x[:, 1] + rng.normal(size=2000) > 0).astype(int)
    trial = trial_of(x, t, np.ones(2000), np.ones(2000), np.array([0.5, 0.5]))
    rows, test = diagnostics.balance(trial, names=["age", "visits"])
    assert test.p_value < 1e-10
    far = rows[rows.difference.abs() > 5 * rows.error]
    assert set(far.feature) == {"visits"}
    # E[x | t = 1] of a probit of x is sqrt(2 / pi) / sqrt(2); four standard errors.
    one = rows[(rows.feature == "visits") & (rows.treatment == 1)].iloc[0]
    assert abs(one.difference - 1 / np.sqrt(np.pi)) < 4 * one.error


def test_wrong_propensities_are_found():
    trial = randomised(0)._replace(p=jnp.array([0.4, 0.4, 0.2]))
    shares, test = diagnostics.arm_shares(trial)
    assert test.p_value < 1e-3
    np.testing.assert_allclose(shares.design, trial.p)
    assert shares["count"].sum() == 500


def test_with_known_propensities_of_every_person_targeting_is_balanced():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 1))
    p = 1 / (1 + np.exp(-x))
    t = (rng.random((4000, 1)) < p).astype(int)[:, 0]
    trial = trial_of(x, t, np.ones(4000), np.ones(4000), np.hstack([1 - p, p]))
    rows, test = diagnostics.balance(trial)
    assert test.p_value > 0.01
    assert (rows.difference.abs() < 4 * rows.error).all()


def test_effective_sizes_by_hand():
    p = np.array([[0.5, 0.5], [0.25, 0.75], [0.5, 0.5]])
    trial = trial_of(np.zeros((3, 1)), np.array([0, 0, 1]), np.ones(3), np.ones(3), p)
    frame = diagnostics.overlap(trial)
    # Weights 2 and 4: 36 / 20.
    np.testing.assert_allclose(frame.effective_size, [36 / 20, 1])
    np.testing.assert_allclose(frame.largest_weight, [4, 2])
    np.testing.assert_allclose(frame.least_propensity, [0.25, 0.5])


def test_matched_people_are_those_who_had_what_the_policy_gives():
    truth = Outcomes(jnp.array([[0.0, 1.0], [0.0, 2.0], [0.0, 3.0]]), jnp.tile(jnp.array([[0.0, 1.0]]), (3, 1)))
    trial = trial_of(jnp.zeros((3, 1)), jnp.array([1, 1, 1]), jnp.ones(3), jnp.ones(3), jnp.array([0.5, 0.5]))
    # Scores of cost that are the truth, so that 2/3 of a person's cost treats the last two people.
    settling = scores.ipw(trial)._replace(c=truth.c)
    lam = eom(truth, settling, jnp.array([0.5])).lam
    frame = diagnostics.matched(truth, settling, lam)
    assert frame.matched.tolist() == [1]
    assert frame.effective_size.tolist() == [1.0]


@pytest.mark.thorough
def test_the_truth_is_calibrated_and_a_doubled_prediction_is_not():
    simulation = simulate.marketing(jax.random.key(0), 20_000)
    surfaces = scores.ipw(simulation.trial)
    right = diagnostics.calibration(simulation.truth, surfaces)
    # A treatment that costs nothing is predicted without error, and all its people are in one bin.
    free = right[(right.outcome == "cost") & (right.treatment == 0)]
    assert free[["people", "predicted", "estimated"]].to_numpy().tolist() == [[20_000, 0, 0]]
    right = right.drop(free.index)
    off = ((right.predicted - right.estimated) / right.error).to_numpy()
    # Of 90 standardised differences the mean square is near 1: four standard errors of heavy-tailed terms.
    assert abs((off**2).mean() - 1) < 4 * np.std(off**2) / np.sqrt(len(off))
    double = Outcomes(2 * simulation.truth.r, 2 * simulation.truth.c)
    wrong = diagnostics.calibration(double, surfaces)
    assert ((wrong.predicted - wrong.estimated) / wrong.error)[wrong.outcome == "revenue"].mean() > 4
    assert right.people.eq(2000).all()
    uplift = diagnostics.calibration(simulation.truth, surfaces, control=0)
    assert set(uplift.treatment) == {1, 2, 3, 4}


def test_prediction_losses_by_hand():
    trial = trial_of(
        np.zeros((2, 1)), np.array([0, 1]), np.array([1.0, 0.0]), np.array([3.0, 1.0]), np.array([0.5, 0.5])
    )
    outcomes = Outcomes(jnp.array([[0.8, 0.0], [0.0, 0.4]]), jnp.array([[2.0, 0.0], [0.0, 1.0]]))
    quality = diagnostics.prediction_quality(outcomes, trial)
    assert quality.mse_r == pytest.approx((0.04 + 0.16) / 2)
    assert quality.mse_c == pytest.approx(0.5)
    assert quality.logloss_r == pytest.approx(-(np.log(0.8) + np.log(0.6)) / 2)
    assert np.isnan(quality.logloss_c)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"t": np.array([0, 1, 3])}, "trial, treatment of unit 2: found 3, expected a whole number of 0..2"),
        ({"r": np.array([0, np.nan, 1])}, "trial, revenue of unit 1: found nan, expected a finite number"),
        (
            {"p": np.array([0.5, 0.4, 0.2])},
            r"trial, propensities of row 0: found \[0.5, 0.4, 0.2\], expected a sum of 1",
        ),
        ({"p": np.array([0.5, 0.5, 0.0])}, "expected numbers above 0"),
        ({"c": np.zeros(2)}, r"trial, c: found shape \(2,\), expected \[3\]"),
    ],
)
def test_trials_that_cannot_be_are_named(change, message):
    trial = trial_of(np.zeros((3, 1)), np.array([0, 1, 2]), np.zeros(3), np.zeros(3), P)
    with pytest.raises(InputError, match=message):
        diagnostics.arm_shares(trial._replace(**change))
