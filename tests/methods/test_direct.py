from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError, Policy, Trial, load_policy, metrics, save_policy, scores
from dfcl_jax.data import Task
from dfcl_jax.methods import SILENT, Direct
from dfcl_jax.models import NetworkConfig
from dfcl_jax.train import FitConfig

KEY = jax.random.key(0)
GROUPS = 3
RETURN = np.array([[1.5, 0.5], [3.0, 1.0], [0.8, 1.2]])  # of each step up, by group: marginal revenue over cost
RUN = np.array([0.5, 0.25])  # cost of each step
NOISE = 0.1


def people(n: int, seed: int, m: int, order: tuple[int, ...] = (0, 1, 2)) -> Trial:
    """Three groups, in each of which each treatment has as many people, costs as much and brings `RETURN` for it.

    Treatments are called so that those in the order of cost are order[0], order[1], ...
    """
    rng = np.random.default_rng(seed)
    group, arm = np.arange(n) % GROUPS, np.arange(n) // GROUPS % m
    c = np.concatenate([[0], np.cumsum(RUN)])[arm] + NOISE * rng.normal(size=n)
    climb = np.concatenate([np.zeros((GROUPS, 1)), np.cumsum(RETURN * RUN, axis=1)], axis=1)
    r = 0.5 + climb[group, arm] + NOISE * rng.normal(size=n)
    called = np.asarray(order)[arm]
    return Trial(*map(jnp.asarray, (np.eye(GROUPS)[group], called, r, c, np.full(m, 1 / m))))


N = 3600
X = jnp.eye(GROUPS)
TRAINING = FitConfig(epochs=15, batch_size=300, learning_rate=0.05, weight_decay=0.0)
# A linear network of three indicators can give each group any return.
METHOD = Direct("marginal_utility", NetworkConfig(hidden=()), TRAINING)


def task(m: int, order: tuple[int, ...] = (0, 1, 2)) -> Task:
    return Task(people(N, 0, m, order), people(900, 1, m, order), (0.2,))


def returns(method: Direct, task: Task) -> np.ndarray:
    return np.asarray(metrics.marginal_roi_score(method.predict(method.fit(KEY, task, SILENT), X)))


# The return of a group, a ratio of two differences of means of n / 9 people each, has a standard error of about
# noise sqrt(2 (1 + return^2) / (n / 9)) / run: at most 0.045. Three of these, and as much again for the choice of a
# checkpoint by the validation part, which has a quarter of the people.
WITHIN = 0.27


def test_marginal_utility_is_marginal_revenue_over_marginal_cost():
    np.testing.assert_allclose(returns(METHOD, task(3)), RETURN, atol=WITHIN)


def test_return_on_investment_is_the_ratio_of_uplifts():
    np.testing.assert_allclose(returns(replace(METHOD, kind="roi"), task(2)), RETURN[:, :1], atol=WITHIN)


def test_uplift_rank_puts_groups_in_the_order_of_their_uplift():
    found = returns(replace(METHOD, kind="uplift_rank"), task(2))
    # The step costs all groups the same.
    assert np.argsort(found[:, 0]).tolist() == np.argsort(RETURN[:, 0]).tolist()


def test_direct_rank_puts_the_group_of_the_largest_return_first():
    found = returns(replace(METHOD, kind="direct_rank"), task(2))[:, 0]
    # It pushes all others down alike, so that their order means nothing.
    assert found.argmax() == RETURN[:, 0].argmax()
    assert found.max() > 1.5 * np.sort(found)[-2]


def test_treatments_are_put_in_the_order_of_their_cost():
    """The cheapest is called 2, the dearest 1."""
    method, trial = METHOD, task(3, order=(2, 0, 1))
    params = method.fit(KEY, trial, SILENT)
    surfaces, plain = method.predict(params, X), method.predict(METHOD.fit(KEY, task(3), SILENT), X)
    np.testing.assert_array_equal(params["rank"], [1, 2, 0])
    for named, usual in zip(surfaces, plain, strict=True):
        # The same people in the same batches: sums over treatments in another order.
        np.testing.assert_allclose(named, np.asarray(usual)[:, [1, 2, 0]], rtol=1e-9)


def test_money_in_other_units_ranks_alike():
    trial = task(3)

    def scaled(part: Trial) -> Trial:
        return part._replace(r=1024 * part.r, c=part.c / 64)

    other = trial._replace(train=scaled(people(N, 0, 3)), valid=scaled(trial.valid))
    # By powers of two, which no float rounds but where a mean is divided by.
    np.testing.assert_allclose(returns(METHOD, other), 1024 * 64 * returns(METHOD, trial), rtol=1e-9)


def test_a_saved_rank_decides_alike_and_is_no_money(tmp_path):
    params = METHOD.fit(KEY, task(3), SILENT)
    test = people(500, 2, 3)
    curve = metrics.spend_curve(METHOD.predict(params, test.x), scores.ipw(test))
    policy = Policy(METHOD, params, None, ("a", "b", "c"), curve)
    save_policy(policy, tmp_path / "policy")
    loaded = load_policy(tmp_path / "policy")
    assert not loaded.method.money
    decided = policy(test.x, 0.38)
    assert len(set(decided)) == 3
    np.testing.assert_array_equal(loaded(test.x, 0.38), decided)


def test_what_cannot_be_learned_is_refused():
    with pytest.raises(InputError, match="roi method: found 3 treatments, expected 2"):
        replace(METHOD, kind="roi").fit(KEY, task(3), SILENT)
    with pytest.raises(InputError, match="kind: found 'uplift'"):
        Direct("uplift")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="most: found 0"):
        Direct(most=0)
