import numpy as np
import pytest

from dfcl_jax.metrics import normal_interval, paired_interval, per_cent, seeds_interval


def test_known_answer():
    # t_{2, .975} = 4.302653 and the standard error of 1, 2, 3 is 1 / sqrt(3).
    interval = paired_interval(np.array([1.0, 2.0, 3.0]))
    assert interval.mean == pytest.approx(2.0)
    assert interval.high - interval.mean == pytest.approx(4.302652729911275 / np.sqrt(3))
    assert interval.mean - interval.low == pytest.approx(interval.high - interval.mean)


@pytest.mark.parametrize("seeds", [3, 10])
def test_independent_differences_are_covered_95_percent_of_the_time(seeds):
    rng = np.random.default_rng(0)
    covered = 0
    for differences in rng.normal(0.3, 2.0, (4000, seeds)):
        interval = paired_interval(differences)
        covered += interval.low <= 0.3 <= interval.high
    # Three standard errors of a share of .95 over 4,000 draws.
    assert abs(covered / 4000 - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 4000)


def test_overlapping_splits_widen_the_interval():
    differences = np.array([1.0, 2.0, 4.0, 3.0])
    plain, corrected = paired_interval(differences), paired_interval(differences, test_share=0.5)
    ratio = (corrected.high - corrected.mean) / (plain.high - plain.mean)
    assert ratio == pytest.approx(np.sqrt((1 / 4 + 0.5) / (1 / 4)))


def test_one_seed_gives_no_interval():
    interval = paired_interval(np.array([1.5]))
    assert interval.mean == 1.5
    assert np.isnan(interval.low)
    assert np.isnan(interval.high)


def test_seeds_on_one_test_part_share_its_error():
    estimates = np.array([1.0, 2.0, 3.0])
    # Without any error of the test part it is Student's interval over seeds.
    alone, paired = seeds_interval(estimates, 0.0), paired_interval(estimates)
    np.testing.assert_allclose(alone, paired, rtol=1e-12)
    # With seeds that agree it is the normal interval of the test part.
    agreed = seeds_interval(np.ones(3), 0.5)
    assert agreed.high - 1 == pytest.approx(1.959963984540054 * 0.5, rel=1e-6)


def test_seeds_on_one_test_part_are_covered_95_percent_of_the_time():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(4000):
        shared = rng.normal(0, 0.5)
        interval = seeds_interval(0.3 + shared + rng.normal(0, 1, 5), 0.5)
        covered += interval.low <= 0.3 <= interval.high
    # Three standard errors of a share of .95 over 4,000 draws, and 1% for Satterthwaite's approximation.
    assert abs(covered / 4000 - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 4000) + 0.01


def test_a_normal_interval_by_hand():
    # Mean 2, standard deviation 1, of three people.
    interval = normal_interval(np.array([1.0, 2, 3]))
    np.testing.assert_allclose([interval.low, interval.high], 2 + np.array([-1, 1]) * 1.959963984540054 / np.sqrt(3))


def test_per_cent_is_of_a_base_that_is_clearly_above_zero():
    base, error = np.array([2.0, 2.0, 0.0, -2.0, np.nan]), np.array([0.5, 1.0, 0.0, 0.1, 0.1])
    # Four standard errors above 0; two, which is not more than two; 0; below 0; missing.
    np.testing.assert_array_equal(per_cent(0.5, base, error), [25, np.nan, np.nan, np.nan, np.nan])
    # The worse of two methods never has a positive percentage.
    assert per_cent(-1.0, 4.0, 0.1) == -25
    assert np.isnan(per_cent(-1.0, -4.0, 0.1))
