from functools import partial
from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError, Outcomes, Trial
from dfcl_jax.metrics import aucc, exact_aucc, mt_aucc, roi_score, true_aucc


def trial_of(t, r, c) -> Trial:
    columns = [jnp.asarray(np.asarray(a, np.float64)) for a in (t, r, c)]
    return Trial(jnp.zeros((len(t), 1)), columns[0].astype(int), columns[1], columns[2], jnp.array([0.5, 0.5]))


@pytest.mark.parametrize("case", [0, 1])
def test_area_is_that_of_the_authors_code(reference, case):
    given = {name: reference[f"aucc{case}_{name}"] for name in ("t", "r", "c", "score", "quantile", "aucc")}
    trial = trial_of(given["t"], given["r"], given["c"])
    ours = aucc(jnp.asarray(given["score"]), trial, points=int(given["quantile"]))
    # Sums of a few thousand float64 numbers in another order.
    assert float(ours) == pytest.approx(float(given["aucc"]), abs=1e-9)


def published_example() -> tuple[np.ndarray, Trial]:
    rng = np.random.default_rng(0)
    x = rng.random(2000)
    t = rng.random(2000) < 0.5
    r = rng.random(2000) < 0.1 + 0.2 * x * t
    c = rng.random(2000) < 0.2 + 0.3 * t
    return x, trial_of(t, r, c)


@pytest.mark.parametrize(("sign", "expected"), [(1, 0.6818712896), (-1, 0.3173787419)])
def test_known_answers(sign, expected):
    x, trial = published_example()
    # The published figures have ten digits.
    assert float(aucc(sign * x, trial, points=20)) == pytest.approx(expected, abs=1e-10)


def test_a_monotone_transform_of_the_score_changes_nothing():
    x, trial = published_example()
    assert float(aucc(np.exp(3 * x), trial)) == float(aucc(x, trial))


def test_random_rankings_have_half_the_area():
    _, trial = published_example()
    areas = [float(aucc(np.random.default_rng(seed).random(2000), trial)) for seed in range(200)]
    # 4 standard errors of the mean; a curve of 200 points ends at 1 and counts 201, so half is 0.5 to 1/200.
    assert abs(np.mean(areas) - 0.5) < 4 * np.std(areas) / np.sqrt(200) + 1 / 200


def test_float32_agrees_with_float64():
    x, trial = published_example()
    single = jax.tree.map(lambda a: a.astype(jnp.float32) if a.dtype == jnp.float64 else a, trial)
    # A running sum of 2,000 float32 numbers near 1e-3 each errs by less than 1e-4 of its total.
    assert float(aucc(x.astype(np.float32), single)) == pytest.approx(float(aucc(x, trial)), rel=1e-3)


def test_roi_is_incremental_revenue_over_incremental_cost():
    outcomes = Outcomes(jnp.array([[1.0, 3.0], [2.0, 2.5]]), jnp.array([[0.0, 4.0], [1.0, 0.5]]))
    # A negative incremental cost counts as 1e-6.
    np.testing.assert_allclose(roi_score(outcomes), [0.5, 0.5 / 1e-6])


def test_more_than_two_treatments_have_no_cost_curve():
    trial = Trial(jnp.zeros((3, 1)), jnp.arange(3), jnp.ones(3), jnp.ones(3), jnp.full(3, 1 / 3))
    with pytest.raises(InputError, match="trial: found 3 treatments, expected 2"):
        aucc(jnp.zeros(3), trial)


def test_a_curve_by_hand():
    # Treated 1 and 3 and control 2 and 4 down the ranking; each counts by half, the number of people of its arm.
    trial = trial_of([1, 0, 1, 0], r=[4, 1, 2, 1], c=[2, 0, 2, 0])
    score = np.array([4.0, 3, 2, 1])
    # Cost 0, 1, 1, 2, 2 and revenue 0, 2, 1.5, 2.5, 2: trapezes of 1 and of (1.5 + 2.5) / 2, over 2 x 2.
    assert float(exact_aucc(score, trial)) == pytest.approx((1 + 2) / 4)
    # Cost reaches 1 at the first person; then the end: (2 + 2) / (2 x 3).
    assert float(aucc(score, trial, points=2)) == pytest.approx(4 / 6)


def test_the_exact_area_is_the_limit_of_points():
    x, trial = published_example()
    # 20,000 points on a curve whose steps are 1 / 1000 high: half a point's width, and the 1 in points + 1.
    assert float(aucc(x, trial, points=20_000)) == pytest.approx(float(exact_aucc(x, trial)), abs=2e-3)


def known_outcomes(n: int = 4000) -> Outcomes:
    rng = np.random.default_rng(5)
    base, effect = rng.uniform(size=(2, n)), rng.gamma(2.0, size=(2, n))
    return Outcomes(*(jnp.stack([one, one + more], axis=1) for one, more in zip(base, effect, strict=True)))


def test_with_known_outcomes_the_curve_adds_up_expected_effects():
    truth = known_outcomes()
    tau, gamma = (np.diff(np.asarray(surface))[:, 0] for surface in truth)
    score = np.random.default_rng(6).normal(size=len(tau)) + tau
    # Everybody is two observations of one score, which come in half and half.
    order = np.repeat(np.argsort(-score), 2)
    spend, gain = (np.cumsum(effect[order]) / (2 * effect.sum()) for effect in (gamma, tau))
    first = [np.argmax(spend >= k / 200) for k in range(1, 200)]
    # The sum of 201 shares; those of people are exact to 1e-15.
    assert float(true_aucc(score, truth)) == pytest.approx((gain[first].sum() + 1) / 201, abs=1e-12)


def test_with_known_outcomes_nobody_ranks_better_than_by_the_true_return():
    truth = known_outcomes()
    best = float(true_aucc(roi_score(truth), truth))
    rng = np.random.default_rng(7)
    noisy = [float(true_aucc(np.log(roi_score(truth)) + s * rng.normal(size=4000), truth)) for s in (0.1, 1.0, 100.0)]
    assert best > noisy[0] > noisy[1] > noisy[2]
    # 4,000 people in random order: the area's standard error is below 0.01.
    assert noisy[2] == pytest.approx(0.5, abs=0.03)


def test_area_of_a_trial_is_that_of_known_outcomes_on_average():
    truth, rng = known_outcomes(), np.random.default_rng(8)
    score = roi_score(truth)
    areas = []
    for _ in range(100):
        t = rng.integers(0, 2, 4000)
        seen = [np.asarray(surface)[np.arange(4000), t] + rng.normal(size=4000) for surface in truth]
        areas.append(float(aucc(score, trial_of(t, *seen))))
    error = float(np.std(areas, ddof=1)) / 10
    # Three standard errors of the mean of 100 trials, and a bias of ratios of the order of one variance.
    assert np.mean(areas) == pytest.approx(float(true_aucc(score, truth)), abs=3 * error + float(np.var(areas)))


@pytest.mark.parametrize(("of_r", "of_c"), [((5, 3), (5, 3)), ((5, 2), (4, 2)), ((5,), (5,))])
def test_known_outcomes_are_of_two_treatments(of_r, of_c):
    with pytest.raises(InputError, match=r"truth: found shapes .*, expected \(n, 2\) both"):
        true_aucc(jnp.zeros(5), Outcomes(jnp.ones(of_r), jnp.ones(of_c)))


def of_three(n: int = 300) -> tuple[np.ndarray, Trial]:
    rng = np.random.default_rng(1)
    t = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    r, c = rng.random(n) + 0.3 * t, 0.5 * t * rng.random(n)
    columns = (np.zeros((n, 1)), t, r, c, np.array([0.5, 0.3, 0.2]))
    return rng.normal(size=(n, 2)), Trial(*map(jnp.asarray, columns))


def mt_aucc_by_hand(score, trial, points):
    """Every person's two parts in a table, sorted, walked down row by row."""
    t, r, c = (np.asarray(part) for part in (trial.t, trial.r, trial.c))
    weight = len(t) / np.bincount(t)
    rows = [(score[i, t[i]], 0, weight[t[i]], r[i], c[i]) for i in range(len(t)) if t[i] < 2]
    rows += [(score[i, t[i] - 1], 1, weight[t[i]], r[i], c[i]) for i in range(len(t)) if t[i] > 0]
    _, treated, w, r, c = np.array(sorted(rows, key=lambda row: -row[0])).T
    sizes = [(w * (treated == k)).sum() for k in (0, 1)]
    part = w * np.where(treated == 1, 1 / sizes[1], -1 / sizes[0])
    cost, revenue = np.cumsum(part * c), np.cumsum(part * r)
    first = [int(np.argmax(cost >= cost[-1] * k / points)) for k in range(1, points)] + [len(cost) - 1]
    return revenue[first].sum() / (revenue[-1] * (points + 1))


def test_of_several_treatments_every_person_counts_at_the_step_above_and_below():
    score, trial = of_three()
    # Sums of 600 float64 numbers in another order.
    assert float(mt_aucc(score, trial, points=50)) == pytest.approx(mt_aucc_by_hand(score, trial, 50), rel=1e-9)


def test_with_two_treatments_it_is_the_area_of_the_one_step():
    x, trial = published_example()
    assert float(mt_aucc(x[:, None], trial)) == pytest.approx(float(aucc(x, trial)), rel=1e-12)
    assert float(mt_aucc(x[:, None], trial, points=0)) == pytest.approx(float(exact_aucc(x, trial)), rel=1e-12)


@pytest.mark.parametrize("metric", [aucc, exact_aucc])
def test_ties_do_not_depend_on_the_order_of_rows(metric):
    x, trial = published_example()
    x, order = x.round(1), np.random.default_rng(1).permutation(2000)
    shuffled = trial_of(trial.t[order], trial.r[order], trial.c[order])
    assert float(metric(x[order], shuffled)) == pytest.approx(float(metric(x, trial)), rel=1e-9)


def test_people_of_one_score_are_taken_at_the_mean_of_all_orders():
    trial = trial_of([1, 0, 1, 0, 1, 0], r=[4, 1, 2, 1, 3, 0], c=[2, 0, 2, 0, 1, 0])
    score = np.array([2.0, 2, 1, 1, 1, 1])
    orders = [[*head, *tail] for head in permutations([0, 1]) for tail in permutations([2, 3, 4, 5])]
    curves = np.mean([down(trial, order) for order in orders], axis=0)
    assert float(exact_aucc(score, trial)) == pytest.approx(np.trapezoid(curves[1], curves[0]) / curves[:, -1].prod())


def down(trial, order):
    sign = np.where(np.asarray(trial.t) == 1, 1, -1) / 3
    return [np.concatenate([[0], np.cumsum((sign * np.asarray(y))[order])]) for y in (trial.c, trial.r)]


@pytest.mark.parametrize("metric", [aucc, exact_aucc, partial(mt_aucc, points=100)])
def test_a_row_of_weight_two_is_two_rows(metric):
    x, trial = published_example()
    weights = np.arange(2000) % 3
    copies = np.repeat(np.arange(2000), weights)
    copied = trial_of(trial.t[copies], trial.r[copies], trial.c[copies])
    score = x[:, None] if isinstance(metric, partial) else x
    # Copies tie; within a tie the curve of copies is straight, where the weighed person is a single step.
    assert float(metric(score, trial, weights=weights)) == pytest.approx(float(metric(score[copies], copied)), abs=2e-3)


def test_bad_scores_and_weights_are_named():
    score, trial = of_three()
    with pytest.raises(InputError, match=r"score: found shape \(300, 1\), expected \(300, 2\), a step each"):
        mt_aucc(score[:, :1], trial)
    score[3, 1] = np.nan
    with pytest.raises(InputError, match="score of step 1 of unit 3: found nan, expected a finite number"):
        mt_aucc(score, trial)
    x, trial = published_example()
    with pytest.raises(InputError, match=r"weights of unit 0: found -1.0, expected a finite number of at least 0"):
        aucc(x, trial, weights=np.full(2000, -1.0))
