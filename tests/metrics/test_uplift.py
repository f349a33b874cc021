import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError, Trial
from dfcl_jax.metrics import causalml_auuc, causalml_qini, sklift_auuc, sklift_qini, uplift_at_k

ALL = [causalml_auuc, causalml_qini, sklift_auuc, sklift_qini]


def trial_of(t, r) -> Trial:
    t, r = np.asarray(t, int), np.asarray(r, float)
    return Trial(jnp.zeros((len(t), 1)), jnp.asarray(t), jnp.asarray(r), jnp.zeros(len(t)), jnp.array([0.5, 0.5]))


def example() -> tuple[np.ndarray, Trial]:
    rng = np.random.default_rng(0)
    x = rng.random(2000)
    t = rng.random(2000) < 0.5
    return x, trial_of(t, rng.random(2000) < 0.1 + 0.2 * x * t)


def test_published_figures_of_ten_people():
    score = np.array([0.1, 0.3, 0.5, 0.7, 0.9, 0.2, 0.4, 0.6, 0.8, 1.0])
    trial = trial_of([0] * 5 + [1] * 5, [0, 0, 0, 0, 1, 0, 0, 1, 1, 1])
    assert float(causalml_qini(score, trial)) == pytest.approx(0.0416666667, abs=1e-10)
    assert float(causalml_auuc(score, trial)) == pytest.approx(0.5128787879, abs=1e-10)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        # CausalML 0.18.0 and scikit-uplift 0.5.1 on the same 2,000 people.
        (causalml_auuc, 0.6638266545440432),
        (causalml_qini, 0.1633597767705973),
        (sklift_auuc, 0.062199345988426594),
        (sklift_qini, 0.1115352560972914),
    ],
)
def test_figures_of_the_packages(metric, expected):
    score, trial = example()
    # Sums of 2,000 float64 numbers in another order.
    assert float(metric(score, trial)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("metric", "expected"), [(sklift_auuc, 0.06259690868819989), (sklift_qini, 0.11182924433537797)]
)
def test_figures_of_the_package_where_scores_tie(metric, expected):
    score, trial = example()
    assert float(metric(score.round(1), trial)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", ALL)
def test_nothing_depends_on_the_order_of_rows_or_the_scale_of_scores(metric):
    score, trial = example()
    score = score.round(2)
    order = np.random.default_rng(1).permutation(2000)
    shuffled = trial._replace(t=trial.t[order], r=trial.r[order])
    value = float(metric(score, trial))
    assert float(metric(score[order], shuffled)) == pytest.approx(value, rel=1e-9)
    assert float(metric(np.exp(3 * score), trial)) == value


@pytest.mark.parametrize("metric", [causalml_qini, sklift_auuc, sklift_qini])
def test_random_rankings_have_a_qini_of_zero(metric):
    _, trial = example()
    rng = np.random.default_rng(0)
    values = [float(metric(rng.random(2000), trial)) for _ in range(200)]
    # Four standard errors of the mean; below both curves lie ratios, whose bias is of the order of 1 / n.
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(200) + 1 / 2000


@pytest.mark.parametrize("metric", ALL)
def test_a_row_of_weight_two_is_two_rows(metric):
    score, trial = example()
    weights = np.arange(2000) % 3
    copies = np.repeat(np.arange(2000), weights)
    copied = metric(score[copies], trial_of(trial.t[copies], trial.r[copies]))
    # Copies tie, and within a tie the packages' curves are those of a straight line.
    assert float(metric(score, trial, weights=weights)) == pytest.approx(float(copied), rel=2e-3)


def test_other_outcomes_than_0_and_1_are_named():
    score, trial = example()
    with pytest.raises(InputError, match="trial, revenue: found other numbers, expected 0 and 1"):
        sklift_qini(score, trial._replace(r=trial.r + 0.5))
    with pytest.raises(InputError, match=r"score: found shape \(1999,\), expected one for each of 2000 units"):
        causalml_auuc(score[1:], trial)


def test_uplift_at_k_by_hand():
    # In falling score: treated 1, control 3, treated 5, treated 0, control 2, control 0.
    trial, score = trial_of([1, 0, 1, 1, 0, 0], [1, 3, 5, 0, 2, 0]), -np.arange(6.0)
    assert float(uplift_at_k(score, trial, 3)) == (1 + 5) / 2 - 3
    assert float(uplift_at_k(score, trial, 0.5)) == (1 + 5) / 2 - 3
    # A third of three people of a group is one.
    assert float(uplift_at_k(score, trial, 0.34, strategy="by_group")) == 1 - 3
    assert float(uplift_at_k(score, trial, 2, strategy="by_group")) == (1 + 5) / 2 - (3 + 2) / 2
    assert np.isnan(float(uplift_at_k(score, trial, 1)))


@pytest.mark.parametrize("strategy", ["overall", "by_group"])
def test_people_of_equal_score_count_by_their_part(strategy):
    # All tie, so the first of them are people like all others.
    trial = trial_of([1, 0, 1, 0], [4, 1, 2, 0])
    for k in (0.5, 1, 2):
        assert float(uplift_at_k(np.zeros(4), trial, k, strategy=strategy)) == pytest.approx(3 - 0.5, rel=1e-12)


@pytest.mark.thorough
@pytest.mark.parametrize("strategy", ["overall", "by_group"])
def test_uplift_at_k_of_weights_is_that_of_copies(strategy):
    score, trial = example()
    weights = np.arange(2000) % 3
    copies = np.repeat(np.arange(2000), weights)
    copied = uplift_at_k(score[copies], trial_of(trial.t[copies], trial.r[copies]), 0.3, strategy=strategy)
    assert float(uplift_at_k(score, trial, 0.3, strategy=strategy, weights=weights)) == pytest.approx(
        float(copied), rel=1e-9
    )


@pytest.mark.parametrize(
    ("k", "strategy", "message"),
    [
        (0, "overall", "k: found 0, expected 1 to 3 people"),
        (4, "overall", "k: found 4, expected 1 to 3 people"),
        (3, "by_group", "k: found 3, expected 1 to 2 people, of the treated"),
        (1.0, "overall", r"k: found 1\.0, expected a share above 0 and below 1"),
        (float("nan"), "overall", "k: found nan, expected a share"),
        (0.5, "each", "strategy: found 'each', expected 'overall' or 'by_group'"),
    ],
)
def test_a_k_that_is_none_is_named(k, strategy, message):
    with pytest.raises(InputError, match=message):
        uplift_at_k(np.arange(4.0), trial_of([0, 1, 0, 1], [0, 1, 0, 1]), k, strategy=strategy)
