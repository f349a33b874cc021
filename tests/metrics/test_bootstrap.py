"""Coverage: an interval of 95% holds the truth in 93% to 97% of trials that are drawn anew."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError, Outcomes, Trial, metrics, scores
from dfcl_jax.types import pick

TRIALS, REPLICATES, N = 500, 150, 250
P = jnp.array([0.4, 0.3, 0.3])
BUDGETS = jnp.array([0.1, 0.3])


class People(NamedTuple):
    x: jax.Array
    truth: Outcomes
    one: Outcomes  # predictions of one model
    other: Outcomes  # and of another


def people(key, n) -> People:
    x = jax.random.uniform(key, (n, 3))
    lift = jnp.stack([jnp.zeros(n), x[:, 0], 0.5 * x[:, 0] + x[:, 1]], axis=1)
    cost = jnp.stack([jnp.zeros(n), 0.2 + 0.2 * x[:, 2], 0.5 + 0.3 * x[:, 0]], axis=1)
    truth = Outcomes(1 + x[:, 1:2] + lift, cost)
    one = Outcomes(truth.r + 0.3 * jnp.sin(9 * x), truth.c * (1 + 0.2 * jnp.cos(7 * x)))
    return People(x, truth, one, Outcomes(truth.r + 0.6 * jnp.cos(11 * x), truth.c))


def trial_of(key, group: People) -> Trial:
    n = group.x.shape[0]
    t_key, r_key, c_key = jax.random.split(key, 3)
    t = jax.random.choice(t_key, 3, (n,), p=P)
    r = pick(group.truth.r, t) * jax.random.gamma(r_key, 2.0, (n,)) / 2
    return Trial(group.x, t, r, pick(group.truth.c, t) * jax.random.uniform(c_key, (n,), minval=0.5, maxval=1.5), P)


def all_steps(key):
    who, what = jax.random.split(key)
    group = people(who, N)
    trial = trial_of(what, group)
    raw = scores.ipw(trial)
    # A nuisance model that is wrong by a fifth.
    robust = scores.aipw(trial, Outcomes(0.8 * group.one.r, 1.1 * group.one.c))
    pairs = ((group.one, raw), (group.one, robust), (group.other, robust))
    return tuple(metrics.value_steps(outcomes, settling) for outcomes, settling in pairs)


def values(every_trial, weights):
    def of_one(steps):
        raw, robust, rival = steps
        value = robust.at(BUDGETS, weights=weights).revenue
        return {
            "ipw": raw.at(BUDGETS, weights=weights).revenue,
            "ipw, matched": raw.at(BUDGETS, weights=weights, normalise="matched").revenue,
            "aipw": value,
            "aipw, matched": robust.at(BUDGETS, weights=weights, normalise="matched").revenue,
            "paired difference": value - rival.at(BUDGETS, weights=weights).revenue,
            "Qini area": metrics.qini_area(robust, BUDGETS[1], weights=weights)[None],
        }

    return jax.lax.map(of_one, every_trial, batch_size=100)


def assert_covered(intervals: dict[str, metrics.Interval], truths: dict) -> None:
    # An area is not defined where treatment brings less than control in too many replicates: it has no interval then.
    given = {name: np.isfinite(i.low) for name, i in intervals.items()}
    least = min(each.mean(axis=0).min() for each in given.values())
    assert least > 0.95, least
    shares = {
        name: ((i.low <= truths[name]) & (truths[name] <= i.high)).sum(axis=0) / given[name].sum(axis=0)
        for name, i in intervals.items()
    }
    # Two binomial standard errors of 500 trials of which 95% are covered: 0.93 to 0.97. The keys are fixed.
    band = 2 * np.sqrt(0.95 * 0.05 / TRIALS)
    assert all((abs(share - 0.95) <= band).all() for share in shares.values()), shares


@pytest.mark.slow
def test_values_and_qini_areas_are_covered():
    steps = jax.jit(jax.vmap(all_steps))(jax.random.split(jax.random.key(1), TRIALS))
    boot = metrics.bootstrap(values, steps, N, key=jax.random.key(2), replicates=REPLICATES)
    # The whole population, as nearly as 400,000 people are it: a tenth of the standard error of 250 people is theirs.
    whole = people(jax.random.key(9), 400_000)
    exact = [metrics.value_steps(outcomes, scores.truth(whole.truth)) for outcomes in (whole.one, whole.other)]
    one, other = (np.asarray(steps.at(BUDGETS).revenue) for steps in exact)
    truths = dict.fromkeys(("ipw", "ipw, matched", "aipw", "aipw, matched"), one) | {
        "paired difference": one - other,
        "Qini area": np.asarray(metrics.qini_area(exact[0], BUDGETS[1])),
    }
    assert_covered(boot.interval(), truths)


def cost_curve_trial(key, n=N):
    keys = jax.random.split(key, 5)
    x = jax.random.uniform(keys[0], (n,))
    t = jax.random.bernoulli(keys[1], 0.5, (n,)).astype(int)
    r = jax.random.bernoulli(keys[2], 0.2 + 0.4 * x * t, (n,)).astype(float)
    c = jax.random.bernoulli(keys[3], 0.2 + 0.5 * t, (n,)).astype(float)
    trial = Trial(x[:, None], t, r, c, jnp.array([0.5, 0.5]))
    return x + 0.3 * jnp.sin(40 * x), jax.random.uniform(keys[4], (n,)), trial


def areas(every_trial, weights):
    def of_one(score, at_random, trial):
        of = {name: partial(metric, trial=trial, weights=weights) for name, metric in CURVES.items()}
        return (
            {name: area(score) for name, area in of.items()}
            | {f"{name} at random": area(at_random) for name, area in of.items()}
            | {"paired difference": of["AUCC"](score) - of["AUCC"](at_random)}
        )

    return jax.vmap(of_one)(*every_trial)


CURVES = {"AUCC": metrics.aucc, "Qini": metrics.causalml_qini}


@pytest.mark.slow
def test_areas_of_cost_curves_are_covered():
    trials = jax.vmap(cost_curve_trial)(jax.random.split(jax.random.key(3), TRIALS))
    boot = metrics.bootstrap(areas, trials, N, key=jax.random.key(4), replicates=REPLICATES)
    whole = jax.tree.map(lambda leaf: leaf[None], cost_curve_trial(jax.random.key(10), 400_000))
    truths = jax.tree.map(np.asarray, areas(whole, jnp.ones(400_000)))
    # Of random scores the truth is known.
    truths |= {"AUCC at random": 0.5, "Qini at random": 0.0}
    truths["paired difference"] = truths["AUCC"] - 0.5
    assert_covered(boot.interval(), truths)


@pytest.mark.thorough
def test_influence_covers_the_value_of_a_fixed_policy():
    whole = people(jax.random.key(9), 400_000)

    def policy(x):
        return jnp.where(x[:, 1] > 0.5, 2, jnp.where(x[:, 0] > 0.5, 1, 0))

    def parts(key):
        who, what = jax.random.split(key)
        group = people(who, N)
        raw = scores.ipw(trial_of(what, group))
        arm, nobody = policy(group.x), jnp.zeros(N, int)
        both = [metrics.influence(arm, raw, normalise=normalise).r for normalise in ("sample", "matched")]
        return jnp.stack([*both, both[1] - metrics.influence(nobody, raw, normalise="matched").r])

    every = np.asarray(jax.vmap(parts)(jax.random.split(jax.random.key(5), TRIALS)))
    value = float(metrics.policy_value(policy(whole.x), scores.truth(whole.truth))[0])
    truth = np.array([value, value, value - float(whole.truth.r[:, 0].mean())])
    intervals = metrics.normal_interval(np.moveaxis(every, 2, 0))
    assert_covered({"sample, matched, difference": intervals}, {"sample, matched, difference": truth})


@pytest.mark.parametrize("sampling", ["poisson", "half"])
def test_weights_have_mean_and_variance_one(sampling):
    weights = np.asarray(metrics.draw_weights(jax.random.key(0), 200_000, sampling))
    # Four standard errors: of a mean, and of a variance whose fourth central moment is 4 (Poisson) or 1.
    assert abs(weights.mean() - 1) < 4 / np.sqrt(200_000)
    assert abs(weights.var() - 1) < 4 * np.sqrt(3 / 200_000)


def test_differences_of_areas_are_paired():
    score, _, trial = cost_curve_trial(jax.random.key(0))
    rankings = (score, jnp.exp(score), score + 0.01 * jax.random.normal(jax.random.key(1), score.shape))
    boot = metrics.bootstrap(three_areas, (rankings, trial), N, key=jax.random.key(2), replicates=50)
    one, transformed, near = boot.draws.T
    np.testing.assert_array_equal(one, transformed)
    # Of nearly the same ranking an area has nearly the same error: their difference has a tenth of it.
    assert (one - near).std() < 0.2 * one.std()


def three_areas(data, weights):
    rankings, trial = data
    return jnp.stack([metrics.aucc(score, trial, weights=weights) for score in rankings])


def mean(data, weights):
    return weights @ data / weights.sum()


@pytest.mark.parametrize("sampling", ["poisson", "half"])
def test_the_error_of_a_mean_is_that_of_the_textbook(sampling):
    data = jax.random.normal(jax.random.key(0), (2000,))
    boot = metrics.bootstrap(mean, data, 2000, key=jax.random.key(1), replicates=2000, sampling=sampling)
    expected = float(data.std()) / np.sqrt(2000)
    # The standard error of a standard deviation of k draws is 1 / sqrt(2 k) of it: four of them.
    assert float(boot.error) == pytest.approx(expected, rel=4 / np.sqrt(2 * 2000))
    assert float(boot.estimate) == pytest.approx(float(data.mean()))
    assert boot.draws.shape == (2000,)


def test_the_same_key_gives_the_same_replicates():
    data = jnp.arange(50.0)
    one, other = (metrics.bootstrap(mean, data, 50, key=jax.random.key(1), replicates=20).draws for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_one_replicate_is_refused():
    with pytest.raises(InputError, match="replicates: found 1, expected at least 2"):
        metrics.bootstrap(mean, jnp.ones(3), 3, key=jax.random.key(0), replicates=1)
