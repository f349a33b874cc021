import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from dfcl_jax import Trial
from dfcl_jax.errors import InputError
from dfcl_jax.losses import direct_rank_loss, marginal_utility_loss, roi_loss, uplift_rank_loss

N = 4000
BINARY = {"roi": roi_loss, "uplift rank": uplift_rank_loss, "direct rank": direct_rank_loss}


def grouped_trial(m: int) -> tuple[Trial, np.ndarray]:
    """Three groups of people, in the order of cost and of revenue for a cost; treatments not equally likely."""
    rng = np.random.default_rng(0)
    group = rng.integers(0, 3, N)
    p = np.array([0.3, 0.7]) if m == 2 else np.array([0.2, 0.5, 0.3])
    t = rng.choice(m, N, p=p)
    c = t * (1 + 0.2 * group) + rng.uniform(size=N)
    r = np.sqrt(t) * (0.3 + 0.2 * group) + rng.uniform(size=N)
    trial = Trial(*(jnp.asarray(a) for a in (np.zeros((N, 1)), t, r, c, p)))
    return trial, group


def uplift(trial: Trial, group: np.ndarray, g: int, low: int = 0) -> tuple[float, float]:
    """Sums over a group's people of revenue and cost, a share of each arm: the group's part of the uplift."""
    t = np.asarray(trial.t)
    here = [(t == arm) & (group == g) for arm in (low, low + 1)]
    return tuple(
        float(np.asarray(y)[here[1]].sum() / (t == low + 1).sum() - np.asarray(y)[here[0]].sum() / (t == low).sum())
        for y in (trial.r, trial.c)
    )  # type: ignore[return-value]


def assert_least_at(loss, table):
    """The gradient vanishes at `table` and the loss is higher around it."""
    function = jax.jit(jax.value_and_grad(loss))
    value, gradient = function(table)
    # Sums of 4,000 numbers of order 1 in float64.
    np.testing.assert_allclose(gradient, 0, atol=1e-12)
    for seed in range(5):
        assert function(table + 0.1 * np.random.default_rng(seed).normal(size=table.shape))[0] > value


def test_roi_is_the_ratio_of_uplifts():
    trial, group = grouped_trial(2)
    ratio = np.array([r / c for r, c in (uplift(trial, group, g) for g in range(3))])
    assert_least_at(lambda table: roi_loss(table[group], trial), np.log(ratio / (1 - ratio)))


def test_uplift_rank_gives_each_group_its_share_of_the_uplift():
    trial, group = grouped_trial(2)
    share = np.array([uplift(trial, group, g)[0] for g in range(3)]) / np.bincount(group)
    assert_least_at(lambda table: uplift_rank_loss(table[group], trial), np.log(share / share.sum()))


def test_direct_rank_of_equal_scores_is_the_ratio_of_all_and_falls_to_that_of_the_best_group():
    trial, group = grouped_trial(2)
    t = np.asarray(trial.t)

    def ratio(weight):
        def mean(y, arm):
            return np.average(np.asarray(y)[t == arm], weights=weight[t == arm])

        return float((mean(trial.c, 1) - mean(trial.c, 0)) / (mean(trial.r, 1) - mean(trial.r, 0)))

    function = jax.jit(jax.value_and_grad(lambda table: direct_rank_loss(table[group], trial)))

    def loss(table):
        return float(function(np.array(table))[0])

    assert loss([2.0, 2.0, 2.0]) == pytest.approx(ratio(np.ones(N)), rel=1e-12)
    # The last group has the most revenue for its cost: as far ahead of the others as tanh lets it be.
    assert loss([-20.0, -20.0, 20.0]) == pytest.approx(ratio(np.exp(np.where(group == 2, 1.0, -1.0))), rel=1e-12)
    descent = np.zeros(3)
    for _ in range(200):
        descent -= 5.0 * np.asarray(function(descent)[1])
    assert loss([-20.0, -20.0, 20.0]) <= loss(descent) < loss([0.0, 0.0, 0.0])
    assert int(descent.argmax()) == 2


def test_marginal_utility_is_marginal_revenue_over_marginal_cost():
    trial, group = grouped_trial(3)
    t, r, c = (np.asarray(a) for a in (trial.t, trial.r, trial.c))
    w = 1 / np.asarray(trial.p)[t]
    sums = [[[(w * y)[(group == g) & (t == j)].sum() for y in (r, c)] for j in range(3)] for g in range(3)]
    steps = np.diff(np.array(sums), axis=1)
    marginal_revenue, marginal_cost = np.array(steps[..., 0], float), np.array(steps[..., 1], float)
    assert_least_at(lambda table: marginal_utility_loss(table[group], trial), marginal_revenue / marginal_cost)


def first_people(m: int) -> Trial:
    trial, _ = grouped_trial(m)
    return trial._replace(**{name: getattr(trial, name)[:50] for name in ("x", "t", "r", "c")})


def assert_gradient_agrees_and_batches(loss, trial, scores):
    function = jax.jit(lambda s: loss(s, trial))
    gradient = jax.jit(jax.grad(function))
    # A central difference in float64.
    check_grads(function, (scores[0],), order=1, modes=["rev"], rtol=1e-5)
    together = jax.vmap(gradient)(scores)
    np.testing.assert_allclose(together[1], gradient(scores[1]), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", BINARY)
def test_binary_gradients_agree_with_finite_differences_and_hold_under_jit_and_vmap(name):
    assert_gradient_agrees_and_batches(BINARY[name], first_people(2), np.random.default_rng(0).normal(size=(2, 50)))


def test_marginal_utility_gradient_agrees_with_finite_differences_and_holds_under_jit_and_vmap():
    u = np.random.default_rng(0).normal(size=(2, 50, 2))
    assert_gradient_agrees_and_batches(marginal_utility_loss, first_people(3), u)


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_edge_cases_give_finite_values_and_gradients(name, dtype):
    trial, _ = grouped_trial(2)
    trial = jax.tree.map(lambda leaf: np.asarray(leaf, leaf.dtype if leaf.dtype == int else dtype), trial)
    function = jax.jit(jax.value_and_grad(BINARY[name]))
    zero, t = np.zeros(N, dtype), np.asarray(trial.t)
    for case, (s, given) in {
        "no treated": (zero, trial._replace(t=0 * t)),
        "no controls": (zero, trial._replace(t=0 * t + 1)),
        "huge scores": (np.where(t == 1, 1e6, -1e6).astype(dtype), trial),
        "no outcome": (zero, trial._replace(r=zero, c=zero)),
        "tiny propensity": (zero, trial._replace(p=np.array([1e-9, 1], dtype))),
    }.items():
        value, gradient = function(s, given)
        assert np.isfinite(value), case
        assert np.isfinite(gradient).all(), case


def test_marginal_utility_without_a_treatment_is_finite():
    trial, _ = grouped_trial(3)
    value, gradient = jax.jit(jax.value_and_grad(marginal_utility_loss))(
        np.zeros((N, 2)), trial._replace(t=np.where(trial.t == 1, 0, trial.t))
    )
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", BINARY)
def test_more_than_two_treatments_are_refused(name):
    trial, _ = grouped_trial(3)
    with pytest.raises(InputError, match="3 treatments"):
        BINARY[name](jnp.zeros(N), trial)
