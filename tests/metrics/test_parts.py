import numpy as np
import pytest

from dfcl_jax.metrics.parts import by_cluster, instability, largest_t, parts_interval, standard_error


def test_the_error_of_a_mean_is_that_of_the_textbook():
    y = np.random.default_rng(0).standard_normal(50)
    error = standard_error((y - y.mean())[None], 50, folds=1)
    assert error == pytest.approx(y.std(ddof=1) / np.sqrt(50))


def test_people_who_are_copies_of_each_other_are_one_cluster():
    y = np.random.default_rng(0).standard_normal(40)
    parts = (y - y.mean())[None]
    twice, clusters = np.repeat(parts, 2, axis=1), np.repeat(np.arange(40), 2)
    alone = standard_error(parts, 40)
    assert standard_error(by_cluster(twice, clusters), 80) == pytest.approx(alone)
    assert standard_error(twice, 80) < 0.75 * alone


def test_models_that_agree_leave_the_error_as_it_is_and_models_that_do_not_widen_it():
    own = np.random.default_rng(0).standard_normal(1000)
    agreeing = np.stack([own] * 5)
    at_odds = np.stack([own, -own, -own, -own, -own])
    assert standard_error(agreeing, 1000) == pytest.approx(standard_error(own[None], 1000))
    # rho is not taken below 0.
    assert standard_error(at_odds, 1000) == pytest.approx(np.sqrt(1 + instability(5)) * standard_error(own[None], 1000))


@pytest.mark.parametrize(("folds", "kappa"), [(2, 0.637), (5, 1.50), (10, 3.16)])
def test_policies_chosen_by_noise_alone_lack_the_variance_that_is_added(folds, kappa):
    # The error of 5 folds that step by the sign of the others' sum, simulated: 200,000 draws give F to 0.3%, three
    # times over, and rho to 0.005.
    assert instability(folds) == pytest.approx(kappa, rel=0.03)
    z = np.random.default_rng(1).standard_normal((200_000, folds))
    signs = np.sign(z.sum(axis=1, keepdims=True) - z)
    rho = (signs[:, :1] * signs[:, 1:] * z[:, :1] ** 2).mean()
    assert (signs * z).sum(axis=1).var() / folds == pytest.approx(1 + instability(folds) * (1 - rho), rel=0.02)


def test_the_interval_of_few_clusters_is_students():
    parts = np.array([[1.0, -1.0, 2.0, -2.0]])
    interval = parts_interval(3.0, parts, 4, folds=1)
    # t of 3 degrees of freedom is 3.1824.
    assert interval.high - 3 == pytest.approx(3.182446 * np.sqrt(10 * 4 / 3) / 4)


def test_the_largest_of_one_estimate_is_the_normal_quantile_and_of_many_independent_ones_sidaks():
    rng = np.random.default_rng(0)
    one = rng.standard_normal((500, 1))
    # The quantile of 20,000 draws has a standard error of .01 at 1.96, and of .02 at 2.57.
    assert largest_t(one) == pytest.approx(1.960, abs=0.04)
    assert largest_t(np.repeat(one, 5, axis=1)) == pytest.approx(1.960, abs=0.04)
    assert largest_t(np.eye(5)) == pytest.approx(2.569, abs=0.06)
