"""The value of policies trained on other folds: its parts, their errors, and the coverage of its intervals."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import Outcomes, Scores, Trial, scores
from dfcl_jax.metrics import (
    Fold,
    Replicates,
    bootstrap,
    by_cluster,
    eom,
    fold_statistic,
    fold_value,
    inflation,
    parts_interval,
    standard_error,
)
from dfcl_jax.metrics.intervals import z_score

# People are of so many types; a population with their shares is then known exactly.
TYPES, M, K = 300, 2, 5


class World(NamedTuple):
    """Types of people, all equally frequent: features, and expected revenue and cost of each treatment."""

    x: np.ndarray  # [TYPES, 4]
    truth: Outcomes  # [TYPES, m] each

    def budgets(self) -> np.ndarray:
        return np.array([0.25, 0.5, 0.8]) * float(self.truth.c[:, -1].mean())


def world(m: int = M) -> World:
    x = np.random.default_rng(0).standard_normal((TYPES, 4)).astype(np.float32)
    dose = np.arange(m) / (m - 1)
    sensitive = 1 / (1 + np.exp(-x[:, 1] + 0.5 * x[:, 2]))
    revenue = np.exp(0.5 * x[:, :1]) * (1 + 0.8 * sensitive[:, None] * np.sqrt(dose))
    return World(x, Outcomes(jnp.asarray(revenue, jnp.float32), jnp.asarray(0.3 * dose * revenue, jnp.float32)))


def least_squares(x: np.ndarray, t: np.ndarray, y: np.ndarray, m: int) -> np.ndarray:
    """Coefficients of each treatment, [1 + d, m]."""
    x = np.c_[np.ones(len(x)), x]
    return np.stack(
        [np.linalg.solve(x[t == j].T @ x[t == j] + np.eye(x.shape[1]), x[t == j].T @ y[t == j]) for j in range(m)],
        axis=1,
    )


class Drawn(NamedTuple):
    """A trial in folds, each with what two learners say of its people, and the learners' true values."""

    poor: list[Fold]  # knows base demand alone: its decisions are little more than noise
    rich: list[Fold]
    values: np.ndarray  # [2, b] mean true values of the folds' policies
    clusters: np.ndarray  # [n] of each person, in the order of the folds


def drawn(seed: int, n: int, m: int = M, *, heavy: bool = False, size: int = 1, together: bool = False) -> Drawn:
    """A trial in folds, in clusters of `size` people who share their luck and mostly their type.

    With `together` a cluster has one treatment; else everybody has their own.
    """
    x, truth = world(m)
    budgets, rng = world(m).budgets(), np.random.default_rng(1000 + seed)
    i, t = rng.integers(0, TYPES, n), rng.integers(0, m, n)
    luck = rng.lognormal(-0.5, 1.0, n) if heavy else rng.gamma(1, 1, n)
    cluster = np.arange(n) // size
    if size > 1:
        luck = luck * rng.lognormal(-0.18, 0.6, n // size)[cluster]  # of mean 1
        i = np.where(rng.random(n) < 0.8, rng.integers(0, TYPES, n // size)[cluster], i)
        t = rng.integers(0, m, n // size)[cluster] if together else t
    r, c = (np.asarray(surface)[i, t] * luck for surface in truth)
    known = Scores(jnp.asarray(truth.r), jnp.asarray(truth.c), jnp.ones((TYPES, m)))
    fold = cluster % K

    def learned(columns: slice, k: int) -> Outcomes:
        own = fold != k
        hats = (
            np.c_[np.ones(TYPES), x[:, columns]] @ least_squares(x[i[own], columns], t[own], y[own], m) for y in (r, c)
        )
        revenue, cost = (hat.astype(np.float32) for hat in hats)
        return Outcomes(revenue, np.maximum(cost, 0))

    def of_people(outcomes: Outcomes, k: int) -> Outcomes:
        return Outcomes(*(jnp.asarray(surface[i[fold == k]]) for surface in outcomes))

    everything = [learned(slice(0, 4), k) for k in range(K)]
    settling = []
    for k in range(K):
        own = fold == k
        trial = Trial(
            *map(
                jnp.asarray,
                (x[i[own]], t[own], r[own].astype(np.float32), c[own].astype(np.float32), np.full(m, 1 / m)),
            )
        )
        settling.append(scores.aipw(trial, of_people(everything[k], k)))
    folds, values = [], []
    for learner in ([learned(slice(0, 1), k) for k in range(K)], everything):
        others = [tuple(of_people(learner[other], k) for other in range(K) if other != k) for k in range(K)]
        folds.append([Fold(of_people(learner[k], k), settling[k], None, others[k]) for k in range(K)])
        true = [eom(Outcomes(*map(jnp.asarray, learner[k])), known, budgets).revenue for k in range(K)]
        values.append(np.mean(np.asarray(true), axis=0))
    in_folds = np.concatenate([cluster[fold == k] for k in range(K)])
    return Drawn(folds[0], folds[1], np.stack(values), in_folds)


DRAWN = drawn(0, 2000)
BUDGETS = world().budgets()


def test_the_value_is_the_mean_of_the_folds_own_values():
    value = fold_value(DRAWN.rich, BUDGETS)
    each = np.stack([np.asarray(eom(f.outcomes, f.scores, BUDGETS).revenue) for f in DRAWN.rich])
    # Float32 sums of 400 numbers in another order.
    np.testing.assert_allclose(value.revenue, each.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(value.by_fold, each, rtol=1e-5)
    np.testing.assert_allclose(value.cost, BUDGETS, rtol=1e-5)


def test_parts_are_0_on_average_in_every_fold_and_for_every_model():
    parts = fold_value(DRAWN.rich, BUDGETS).parts
    assert parts.shape == (K, 2000, 3)
    # Parts are of order 1 and kept in float32.
    np.testing.assert_allclose(parts.reshape(K, K, 400, 3).mean(axis=2), 0, atol=1e-5)


def test_a_row_that_stands_for_two_people_is_two_rows():
    (fold,) = DRAWN.rich[:1]
    fold = fold._replace(others=())
    twice = jax.tree.map(lambda leaf: jnp.repeat(leaf, 2, axis=0), fold)
    weighted = fold_value([fold._replace(weights=jnp.full(400, 2.0))], BUDGETS)
    doubled = fold_value([twice], BUDGETS)
    np.testing.assert_allclose(weighted.revenue, doubled.revenue, rtol=1e-5)
    np.testing.assert_allclose(np.repeat(weighted.parts, 2, axis=1), doubled.parts, atol=1e-4)


def test_a_budget_that_binds_nobody_has_no_price_and_parts_of_a_plain_mean():
    (fold,) = DRAWN.rich[:1]
    value = fold_value([fold._replace(others=())], [10.0])
    assert value.slope[0] == 0
    best = np.asarray(fold.scores.r)[np.arange(400), np.argmax(np.asarray(fold.outcomes.r), axis=1)]
    np.testing.assert_allclose(value.parts[0, :, 0], best - best.mean(), atol=1e-5)


def test_a_budget_below_the_cheapest_treatment_has_no_value():
    (fold,) = DRAWN.rich[:1]
    dear = fold._replace(scores=fold.scores._replace(c=fold.scores.c + 1), others=())
    value = fold_value([dear], [0.5, 2.0])
    assert np.isnan(value.revenue[0])
    assert np.isfinite(value.revenue[1])


def test_parts_are_the_derivative_of_the_value_by_weights():
    folds = [fold._replace(others=()) for fold in drawn(0, 20_000).rich]
    value = fold_value(folds, BUDGETS)
    statistic, data = fold_statistic(folds, BUDGETS)
    rng, step = np.random.default_rng(0), 0.2
    found, expected = [], []
    for _ in range(20):
        direction = rng.choice([-1.0, 1.0], 20_000)
        up, down = (np.asarray(statistic(data, jnp.asarray(1 + s * direction))).sum(axis=0) for s in (step, -step))
        found.append((up - down) / (2 * step))
        expected.append(value.parts[0].T @ direction / 20_000)
    slope = (np.array(found) * expected).sum() / np.square(expected).sum()
    # People of 300 types tie, so the curve has corners: a step crosses some of them, and a chord many.
    assert slope == pytest.approx(1, abs=0.1)
    assert np.corrcoef(np.ravel(found), np.ravel(expected))[0, 1] > 0.9


@pytest.mark.thorough
def test_the_error_is_that_of_the_bootstrap_over_people_and_over_clusters():
    folds = [fold._replace(others=()) for fold in drawn(0, 20_000).rich]
    parts = fold_value(folds, BUDGETS).parts
    for clusters in (None, np.arange(20_000) // 4):
        people = 20_000 if clusters is None else 5000
        statistic, data = fold_statistic(folds, BUDGETS, clusters)
        boot = over_folds(bootstrap(statistic, data, people, key=jax.random.key(0), replicates=300))
        np.testing.assert_allclose(boot.estimate, fold_value(folds, BUDGETS).revenue, rtol=1e-5)
        error = standard_error(by_cluster(parts, clusters), 20_000, folds=K)
        # A standard deviation of 300 draws is known to 4%; the chord's slope adds some per cent.
        np.testing.assert_allclose(error, boot.error, rtol=0.15)


def over_folds(boot: Replicates) -> Replicates:
    return Replicates(boot.estimate.sum(axis=0), boot.draws.sum(axis=1))


@pytest.mark.slow
@pytest.mark.parametrize("heavy", [False, True])
def test_intervals_of_the_bootstrap_cover(heavy):
    """2,000 people, of two treatments: 100 trials, 200 draws of each."""
    covered, trials, budgets = [], 100, world(2).budgets()
    for seed in range(trials):
        trial = drawn(seed, 2000, 2, heavy=heavy)
        parts, draws = [], []
        for folds in (trial.poor, trial.rich):
            parts.append(fold_value(folds, budgets).parts)
            statistic, data = fold_statistic(folds, budgets)
            draws.append(over_folds(bootstrap(statistic, data, 2000, key=jax.random.key(seed), replicates=200)))
        (poor, rich), (less, more) = draws, parts
        lift = Replicates(rich.estimate - poor.estimate, rich.draws - poor.draws)
        row = []
        for boot, own, true in ((rich, more, trial.values[1]), (lift, more - less, trial.values[1] - trial.values[0])):
            reach = z_score(0.95) * boot.error * np.sqrt(inflation(own))
            row.append(np.abs(boot.estimate - true) <= reach)
        covered.append(row)
    # As intervals by parts at this size, less three standard errors of a share.
    assert np.mean(covered, axis=0).min() > 0.9 - 3 * np.sqrt(0.9 * 0.1 / trials), np.mean(covered, axis=0)


@pytest.mark.slow
@pytest.mark.parametrize("together", [False, True])
def test_intervals_by_cluster_cover_where_people_of_a_cluster_are_alike(together):
    """200 trials of 10,000 people in 1,000 clusters, who share their luck and mostly their type."""
    trials, budgets, covered, naive = 200, world().budgets(), [], []
    for seed in range(trials):
        trial = drawn(seed, 10_000, size=10, together=together)
        poor, rich = fold_value(trial.poor, budgets), fold_value(trial.rich, budgets)
        for clusters, into in ((trial.clusters, covered), (None, naive)):
            row = []
            for estimate, parts, true in (
                (rich.revenue, rich.parts, trial.values[1]),
                (rich.revenue - poor.revenue, rich.parts - poor.parts, trial.values[1] - trial.values[0]),
            ):
                interval = parts_interval(estimate, by_cluster(parts, clusters), 10_000, folds=K)
                row.append((interval.low <= true) & (true <= interval.high))
            into.append(row)
    share, without = np.mean(covered, axis=0), np.mean(naive, axis=0)
    print(f"together {together}: {share.tolist()}, as if all were alone {without.tolist()}")
    # Three standard errors of a share: 95% +-4.6%.
    assert share.min() > 0.95 - 3 * np.sqrt(0.95 * 0.05 / trials), share
    assert without[0].max() < 0.9, without


@pytest.mark.slow
@pytest.mark.parametrize("heavy", [False, True])
# Folds of 400 people, 80 of each of five treatments, are few for what is true to first order.
@pytest.mark.parametrize(
    ("n", "m", "trials", "least"),
    [(20_000, 2, 200, 0.93), (20_000, 5, 200, 0.92), (2000, 2, 500, 0.9), (2000, 5, 500, 0.87)],
)
def test_intervals_of_values_and_paired_differences_cover(n, m, trials, least, heavy):
    budgets = world(m).budgets()
    covered = []
    for seed in range(trials):
        trial = drawn(seed, n, m, heavy=heavy)
        poor, rich = fold_value(trial.poor, budgets), fold_value(trial.rich, budgets)
        row = []
        for estimate, parts, true in (
            (rich.revenue, rich.parts, trial.values[1]),
            (rich.revenue - poor.revenue, rich.parts - poor.parts, trial.values[1] - trial.values[0]),
        ):
            estimates = np.append(estimate, estimate.mean())
            parts = np.concatenate([parts, parts.mean(axis=2, keepdims=True)], axis=2)
            interval = parts_interval(estimates, parts, n, folds=K)
            at = np.append(true, true.mean())
            row.append((interval.low <= at) & (at <= interval.high))
        covered.append(row)
    share = np.mean(covered, axis=0)
    # Three standard errors of a share.
    error = 3 * np.sqrt(least * (1 - least) / trials)
    assert share.min() > least - error, share
    # Values are of one learner each; of differences the part of models that disagree is the larger.
    assert share[0].max() < 0.97 + error, share
