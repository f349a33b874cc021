"""Rivals that are simple to say, on three groups of people whose best treatments are known."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError, Outcomes, Trial, TwoStage, metrics, scores
from dfcl_jax.data import Task
from dfcl_jax.methods import (
    SILENT,
    PolicyNet,
    RandomMix,
    RankLearner,
    RiskAverse,
    Segments,
    ZeroInflated,
)
from dfcl_jax.methods.rank_learner import Returns, pairs_loss
from dfcl_jax.methods.zero_inflated import zero_inflated_loss
from dfcl_jax.models import NetworkConfig
from dfcl_jax.train import FitConfig

pytestmark = pytest.mark.thorough

KEY = jax.random.key(0)
# Of three groups under three treatments.
R = np.array([[1.0, 1.5, 1.7], [1.0, 2.0, 2.6], [1.0, 1.1, 2.5]])
C = np.array([0.0, 0.5, 1.0])
# Marginal revenue over marginal cost of each step.
RETURN = np.diff(R, axis=1) / np.diff(C)
NOISE = 0.1
N = 3600
X = jnp.eye(3)
LINEAR = NetworkConfig(hidden=())
TRAINING = FitConfig(epochs=15, batch_size=300, learning_rate=0.05, weight_decay=0.0)
START = TwoStage(LINEAR, training=TRAINING)
GIVEN = {"nuisance": START, "network": LINEAR, "training": TRAINING}


def people(n: int, seed: int) -> Trial:
    """Each treatment has as many people of each group."""
    rng = np.random.default_rng(seed)
    group, arm = np.arange(n) % 3, np.arange(n) // 3 % 3
    r, c = (surface + NOISE * rng.normal(size=n) for surface in (R[group, arm], C[arm]))
    return Trial(*map(jnp.asarray, (np.eye(3)[group], arm, r, c, np.full(3, 1 / 3))))


TRAIN = people(N, 0)
TASK = Task(TRAIN, people(900, 1), (0.2, 0.5))
METHODS = {
    "segments": Segments(START, groups=3, prior=0.0),
    "risk-averse": RiskAverse(START, members=3),
    "Rank-Learner": RankLearner(**GIVEN),
    # Many steps, for a softmax that is sure of itself early learns better slowly.
    "policy net": PolicyNet(
        START, LINEAR, FitConfig(epochs=30, batch_size=60, learning_rate=0.02, schedule="constant", weight_decay=0.01)
    ),
    "random mix": RandomMix(),
}


@pytest.fixture(scope="module")
def log():
    """Two-stage learning is trained once for the same task."""
    known: dict = {}

    def fitted(method, key, tasks):
        def one(task):
            name = (task.seed, task.train.rows, str(jax.random.key_data(key)))
            if name not in known:
                known[name] = method.fit(key, task, SILENT)
            return known[name]

        return [one(task) for task in tasks]

    return SILENT._replace(fitted=fitted)


@pytest.fixture(scope="module")
def fitted(log):
    return {name: method.fit(KEY, TASK, log) for name, method in METHODS.items()}


def predicted(name: str, fitted) -> Outcomes:
    return METHODS[name].predict(fitted[name], X)


def test_segments_without_a_prior_are_the_trials_own_means(fitted):
    """Everybody of a group is predicted alike, so the prediction cancels and the mean of what was seen is left."""
    trial = TRAIN
    group = np.asarray(trial.x).argmax(axis=1)
    for mine, y in zip(predicted("segments", fitted), (trial.r, trial.c), strict=True):
        own = [[np.asarray(y)[(group == g) & (np.asarray(trial.t) == j)].mean() for j in range(3)] for g in range(3)]
        np.testing.assert_allclose(mine, own, rtol=1e-9, atol=1e-12)


def test_segments_with_a_large_prior_are_the_prediction(fitted, log):
    large = replace(METHODS["segments"], prior=1e12)
    params = large.fit(KEY, TASK, log)
    hat = START.predict(params["start"], X)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9), large.predict(params, X), hat)


def test_a_random_mix_treats_everybody_alike_and_meets_the_budget(fitted):
    """The hull of means (0, 1), (.5, 23/15), (1, 34/15) leaves out the middle: at budget b it is worth 1 + b 19/15."""
    test = people(900, 2)
    group = np.asarray(test.x).argmax(axis=1)
    truth = scores.truth(Outcomes(jnp.asarray(R)[group], jnp.broadcast_to(jnp.asarray(C), (900, 3))))
    outcomes = METHODS["random mix"].predict(fitted["random mix"], test.x)
    assert float(jnp.ptp(outcomes.r, axis=0).max()) == 0
    value = metrics.eom(outcomes, truth, np.array([0.2, 0.5]))
    np.testing.assert_allclose(value.cost, [0.2, 0.5], rtol=1e-6)
    np.testing.assert_allclose(value.revenue, 1 + np.array([0.2, 0.5]) * 19 / 15, rtol=1e-6)


def test_orthogonal_ranking_puts_steps_in_the_order_of_their_return(fitted):
    found = np.asarray(metrics.marginal_roi_score(predicted("Rank-Learner", fitted)))
    assert np.argsort(found.ravel()).tolist() == np.argsort(RETURN.ravel()).tolist()


def test_labels_of_pairs_are_right_on_average_when_predicted_returns_are_not():
    """With labels that are not clipped the loss's slope at f is the error of sigmoid(f): at f equal to the predicted
    returns it is what corrections say, weighted by the sigmoid's slope."""
    rng = np.random.default_rng(0)
    tau, correction = rng.normal(size=(400, 1)), rng.normal(size=(400, 1))
    given = Returns(jnp.asarray(tau), jnp.asarray(correction))
    f = jnp.asarray(np.concatenate([np.zeros((400, 1)), tau], axis=1))

    def loss(f):
        return pairs_loss(Outcomes(f, jnp.zeros_like(f)), given, kappa=1.0, clip=False)

    apart, more = (np.asarray(y - np.roll(y, 1, axis=0))[:, 0] for y in (tau, correction))
    s = 1 / (1 + np.exp(-apart))
    pull = s * (1 - s) * more / 400
    np.testing.assert_allclose(jax.grad(loss)(f)[:, 1], -(pull - np.roll(pull, -1)), rtol=1e-9, atol=1e-12)


def test_a_policy_net_gives_everybody_what_is_best_at_its_price(fitted):
    """The trial's own return is 19/15, at which the best treatment of a group is at least .033 ahead of its
    second: with noise of .1 in 400 people each, five standard errors of a difference."""
    price = 19 / 15
    best = (R - price * C).argmax(axis=1)
    outcomes = predicted("policy net", fitted)
    assert np.asarray(outcomes.r).argmax(axis=1).tolist() == best.tolist()
    assert len(set(best.tolist())) > 1
    # No multiplier changes it.
    assert float(jnp.abs(outcomes.c).max()) == 0


def test_a_cautious_return_is_below_the_median_one(fitted):
    """Bounds of the members' own spread, which is about noise sqrt(2 / 400) = .007, around true effects."""
    cautious = predicted("risk-averse", fitted)
    median = replace(METHODS["risk-averse"], level=0.5).predict(fitted["risk-averse"], X)
    for j in (1, 2):
        assert ((cautious.r[:, j] - cautious.r[:, 0]) < (median.r[:, j] - median.r[:, 0])).all()
        assert ((cautious.c[:, j] - cautious.c[:, 0]) > (median.c[:, j] - median.c[:, 0])).all()
    # Five errors of .007, and as much for the choice of checkpoints.
    np.testing.assert_allclose(median.r - median.r[:, :1], R - R[:, :1], atol=0.07)


@pytest.mark.parametrize("name", ["segments", "risk-averse", "Rank-Learner"])
def test_a_saved_rival_decides_alike(name, fitted, decides_alike_once_saved):
    test = people(300, 3)
    group = np.asarray(test.x).argmax(axis=1)
    truth = Outcomes(jnp.asarray(R)[group], jnp.broadcast_to(jnp.asarray(C), (300, 3)))
    decides_alike_once_saved(METHODS[name], fitted[name], np.asarray(test.x), truth, 0.4)


@pytest.mark.parametrize("name", METHODS)
def test_the_same_key_gives_the_same_rival(name, fitted, log):
    jax.tree.map(np.testing.assert_array_equal, METHODS[name].fit(KEY, TASK, log), fitted[name])


S, ORDERS, TAIL = np.array([0.2, 0.5, 0.8]), np.array([[0.0, 0.3, 0.6]] * 3), 0.8


def rare(n: int, seed: int) -> Trial:
    """Group g orders with probability S[g]; ln revenue of those who do is normal of mean ORDERS and deviation TAIL."""
    trial, rng = people(n, seed), np.random.default_rng(seed)
    group, t = np.asarray(trial.x).argmax(axis=1), np.asarray(trial.t)
    r = (rng.random(n) < S[group]) * np.exp(ORDERS[group, t] + TAIL * rng.normal(size=n))
    return trial._replace(r=jnp.asarray(r))


def test_a_zero_inflated_head_predicts_the_mean_of_a_heavy_tail():
    """Means are S exp(mu + s^2 / 2). With n / 9 = 1,200 people in a cell a relative error is about sqrt((1 - S) / S
    + s^2 + s^4 / 2) / sqrt(1200) = .07 at most (S = .2, the head's own estimate); four of them."""
    method = ZeroInflated(LINEAR, replace(TRAINING, epochs=40))
    task = Task(rare(10_800, 4), rare(2700, 5), (0.2,))
    params = method.fit(KEY, task, SILENT)
    mean = S[:, None] * np.exp(ORDERS + TAIL**2 / 2)
    np.testing.assert_allclose(method.predict(params, X).r, mean, rtol=0.28)
    many = method.fit_many(KEY, [task, task._replace(seed=1)], SILENT)
    jax.tree.map(lambda one, both: np.testing.assert_allclose(one, both[0], rtol=1e-6, atol=1e-6), params, many)


def test_the_zero_inflated_loss_is_the_likelihood_of_a_log_normal():
    """At p, mu and s of two people, one of whom brings nothing."""
    logit, mu, wide = np.log(0.3 / 0.7), 0.4, np.arctanh(np.log(0.9) / 0.75)
    raw = Outcomes(jnp.asarray([[logit, mu]] * 2), jnp.asarray([[0.5, wide]] * 2))
    trial = Trial(jnp.zeros((2, 1)), jnp.zeros(2, int), jnp.asarray([0.0, 2.0]), jnp.full(2, 0.5), jnp.ones(1))
    seen = -np.log(0.3) + (np.log(2.0) - mu) ** 2 / (2 * 0.9**2) + np.log(0.9)
    assert float(zero_inflated_loss(raw, trial)) == pytest.approx((-np.log(0.7) + seen) / 2, rel=1e-9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Segments(groups=1), "groups: found 1"),
        (lambda: Segments(prior=-1.0), "prior: found -1"),
        (lambda: RiskAverse(members=1), "members: found 1"),
        (lambda: RiskAverse(level=0.7), "level: found 0.7"),
        (lambda: RankLearner(kappa=0.0), "kappa: found 0"),
        (lambda: PolicyNet(price=-1.0), "price: found -1"),
        (
            lambda: ZeroInflated(NetworkConfig(link="sigmoid")),
            "network of a zero-inflated head: found mlp, link sigmoid",
        ),
        (
            lambda: ZeroInflated(LINEAR, TRAINING).fit(KEY, TASK._replace(train=TRAIN._replace(r=-TRAIN.r)), SILENT),
            "revenue of a zero-inflated head: found values from",
        ),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
