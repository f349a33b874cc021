import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

from dfcl_jax import InputError, metrics, scores
from dfcl_jax.data import simulate
from dfcl_jax.data.simulate.population import REFERENCE
from dfcl_jax.types import take

pytestmark = pytest.mark.thorough

KEY = jax.random.key(0)
# As many as tell a population what is usual in it: one program draws both.
N = REFERENCE


@pytest.fixture(scope="module")
def population():
    return simulate.marketing_population(KEY)


@pytest.fixture(scope="module")
def confounded(population):
    return simulate.confounded(population, jax.random.key(1), N, N)


@pytest.fixture(scope="module")
def criteo_population():
    return simulate.criteo_population(KEY)


@pytest.fixture(scope="module")
def criteo(criteo_population):
    return simulate.draw(criteo_population, jax.random.key(1), N)


def errors(estimates, expected):
    """How many standard errors the means of estimates [n, m] are off those of `expected` [n, m]."""
    difference = np.asarray(estimates) - np.asarray(expected)
    return difference.mean(axis=0) / (difference.std(axis=0) / np.sqrt(len(difference)) + 1e-12)


def naive(trial):
    r, t = np.asarray(trial.r), np.asarray(trial.t)
    return np.array([r[t == j].mean() for j in range(trial.p.shape[-1])])


def test_naive_means_of_targeted_data_are_biased_and_weighted_ones_are_not(confounded):
    (obs, truth), (rct, rct_truth) = confounded
    # Weights reach 1 / min p, some hundreds, so the errors are far from normal only in the tails: 4.5 of them.
    assert np.abs(errors(scores.ipw(obs).r, truth.r)).max() < 4.5
    assert np.abs(errors(scores.ipw(obs).c, truth.c)).max() < 4.5
    true = np.asarray(truth.r).mean(axis=0)
    biased = naive(obs) / true - 1
    assert biased[0] < -0.3
    assert biased[-1] > 0.3
    # Means of about 13,000 people each whose outcomes have a deviation of about 2.5 means.
    assert np.abs(naive(rct) / np.asarray(rct_truth.r).mean(axis=0) - 1).max() < 4.5 * 2.5 / np.sqrt(N / 5)


def test_propensities_are_the_shares_of_those_who_have_them(confounded):
    trial, _ = confounded.obs
    np.testing.assert_allclose(np.asarray(trial.p).sum(axis=1), 1, rtol=1e-9)
    given, p = np.eye(5)[np.asarray(trial.t)], np.asarray(trial.p)
    for bin_ in np.array_split(np.argsort(p[:, -1]), 10):
        assert np.abs(errors(given[bin_], p[bin_])).max() < 4.5


@pytest.mark.parametrize("name", ["population", "criteo_population"])
def test_without_strength_the_policy_is_the_design(name, request, confounded, criteo):
    whom = request.getfixturevalue(name)
    truth = (confounded.rct if name == "population" else criteo).truth
    p = simulate.targeted(whom, KEY, strength=0.0).propensities(truth)
    np.testing.assert_allclose(p, jnp.broadcast_to(whom.propensities(truth), p.shape), rtol=1e-6)


def test_without_strength_the_trial_looks_randomised_and_with_it_not(population):
    for strength, randomised in ((0.0, True), (1.0, False)):
        whom = simulate.targeted(population, KEY, strength=strength)
        trial = simulate.draw(whom, jax.random.key(3), N).trial
        as_designed = take(trial, jnp.arange(20_000))._replace(p=np.full(5, 0.2))
        _, test = metrics.diagnostics.balance(as_designed)
        assert (test.p_value > 1e-4) == randomised


def test_the_stronger_the_policy_the_larger_the_bias(population):
    gaps = []
    for strength in (0.0, 0.3, 1.0):
        whom = simulate.targeted(population, KEY, strength=strength)
        trial, truth = simulate.draw(whom, jax.random.key(4), N)
        gaps.append(naive(trial)[-1] / np.asarray(truth.r)[:, -1].mean() - 1)
    # Errors of 0.03 each.
    assert gaps[0] + 0.1 < gaps[1] < gaps[2] - 0.1


def test_people_who_agree_with_a_policy_have_the_propensities_stated(criteo):
    trial, truth = criteo
    chance = expit(np.asarray(trial.x[:, 0]))
    q = np.stack([1 - chance, chance], axis=1)
    kept = simulate.agreeing(KEY, trial, q)
    # Kept are sum_k p_k q_k of people.
    assert abs(errors((np.isin(np.arange(N), kept.rows))[:, None], (q @ np.asarray(trial.p))[:, None])[0]) < 4.5
    logged = take(trial, jnp.asarray(kept.rows))._replace(p=kept.p)
    assert np.abs(errors(scores.ipw(logged).c, np.asarray(truth.c)[kept.rows])).max() < 4.5
    assert np.abs(errors(np.eye(2)[np.asarray(logged.t)], logged.p)).max() < 4.5


def test_a_policy_without_chance_leaves_no_propensities(criteo):
    q = np.eye(2)[(np.asarray(criteo.trial.x[:, 0]) > 0).astype(int)]
    kept = simulate.agreeing(KEY, criteo.trial, q)
    t = np.asarray(criteo.trial.t)
    np.testing.assert_array_equal(kept.rows, np.flatnonzero(t == q.argmax(axis=1)))
    np.testing.assert_allclose(kept.p, np.bincount(t[kept.rows]) / len(kept.rows))


def test_probabilities_that_are_none_are_refused(criteo):
    trial = take(criteo.trial, jnp.arange(10))
    with pytest.raises(InputError, match=r"policy: found shape \(10, 3\)"):
        simulate.agreeing(KEY, trial, np.ones((10, 3)) / 3)
    with pytest.raises(InputError, match="policy, row 0"):
        simulate.agreeing(KEY, trial, np.ones((10, 2)))


def test_the_hybrid_has_the_parts_of_the_paper(criteo):
    trial = take(criteo.trial, jnp.arange(60_000))
    taught = []

    def fit(part):
        taught.append(len(part.t))
        # A linear model of visits at each treatment; the half with the larger effect is treated.
        t, c = np.asarray(part.t), np.asarray(part.c)
        design = np.c_[np.ones(len(t)), part.x]
        betas = [np.linalg.lstsq(design[t == j], c[t == j])[0] for j in (0, 1)]

        def policy(x):
            effect = np.c_[np.ones(len(x)), x] @ (betas[1] - betas[0])
            # By rank: many people are alike, and so are their effects.
            return np.eye(2)[(effect.argsort().argsort() >= len(x) // 2).astype(int)]

        return policy

    made = simulate.hybrid(KEY, trial, fit)
    assert taught == [3000]
    assert [len(part.t) for part in made[1:4]] == [3000, 6000, 18_000]
    # Half are treated by the policy: .5 (.85 + .15) of 30,000 agree, as 3,498,294 of 6,989,796 did.
    assert len(made.obs.t) == pytest.approx(15_000, abs=5 * np.sqrt(30_000 / 4))
    rows = np.concatenate(made.rows)
    assert len(np.unique(rows)) == len(rows)
    for part, which in zip(made[:4], made.rows, strict=True):
        np.testing.assert_array_equal(part.x, np.asarray(trial.x)[which])
        np.testing.assert_array_equal(part.t, np.asarray(trial.t)[which])
    # The randomised part is as it was; in the logged one the treated are others than the untreated.
    _, randomised = metrics.diagnostics.balance(made.test)
    _, logged = metrics.diagnostics.balance(made.obs)
    assert randomised.p_value > 1e-4
    assert logged.p_value < 1e-12
