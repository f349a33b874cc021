from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import Decision, InputError, Trial, TwoStage, metrics, scores
from dfcl_jax.data import simulate, split_simulation
from dfcl_jax.losses.decision import entropy_regularised
from dfcl_jax.methods import SILENT, CheapestArm, Method
from dfcl_jax.models import NetworkConfig
from dfcl_jax.scores.surfaces import centred_in_own_units
from dfcl_jax.solvers import decide, dice
from dfcl_jax.train import FitConfig

TWO_STAGE = TwoStage(NetworkConfig(hidden=(8,)), training=FitConfig(epochs=2, batch_size=100, learning_rate=1e-3))
DECISION = Decision(
    centred_in_own_units,
    entropy_regularised,
    TWO_STAGE,
    FitConfig(epochs=2, batch_size=200, learning_rate=1e-3),
    by_rows=True,
)
KEY = jax.random.key(0)
SIMULATE = jax.jit(simulate.marketing, static_argnums=1)
SPLITS = [
    split_simulation(SIMULATE(jax.random.key(seed), 1200), 600, 300, budgets=(0.02, 0.08), seed=seed) for seed in (0, 1)
]


def counted_in(split, revenue: float, cost: float):
    """The same people with money in other units."""

    def scaled(trial):
        return trial._replace(r=trial.r * revenue, c=trial.c * cost)

    budgets = tuple(budget * cost for budget in split.task.budgets)
    task = split.task._replace(train=scaled(split.task.train), valid=scaled(split.task.valid), budgets=budgets)
    return split._replace(task=task, exam=split.exam._replace(test=scaled(split.exam.test)))


def decisions(method: Method, split) -> list[np.ndarray]:
    params = method.fit(KEY, split.task, SILENT)
    outcomes = method.predict(params, split.exam.test.x)
    curve = metrics.spend_curve(outcomes, scores.ipw(split.exam.test))
    rolled = dice(KEY, jnp.arange(split.exam.test.rows))
    return [np.asarray(decide(outcomes, curve.at(budget).rule, rolled)) for budget in split.task.budgets]


@cache
def decided(method: Method) -> list[np.ndarray]:
    return decisions(method, SPLITS[0])


@pytest.mark.thorough
@pytest.mark.parametrize("method", [TWO_STAGE, DECISION], ids=["two-stage", "decision"])
@pytest.mark.parametrize(("revenue", "cost"), [(2.0**13, 1.0), (1.0, 2.0**-13), (2.0**-13, 2.0**13)])
def test_decisions_do_not_depend_on_the_unit_of_revenue_or_of_cost(method, revenue, cost):
    """From 1e-4 to 1e4: by powers of two, which no float rounds, the decisions are the very same."""
    for one, other in zip(decided(method), decisions(method, counted_in(SPLITS[0], revenue, cost)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_free_control_costs_exactly_nothing():
    split = SPLITS[0]
    params = TWO_STAGE.fit(KEY, split.task, SILENT)
    outcomes = TWO_STAGE.predict(params, split.exam.test.x)
    np.testing.assert_array_equal(outcomes.c[:, 0], 0)
    np.testing.assert_array_equal(scores.aipw(split.exam.test, outcomes).c[:, 0], 0)


def test_predicted_cost_stays_within_what_the_trial_has_seen_of_each_treatment():
    train = SPLITS[0].task.train
    assert isinstance(train, Trial)
    params = TWO_STAGE.fit(KEY, SPLITS[0].task, SILENT)
    cost = np.asarray(TWO_STAGE.predict(params, 100 * SPLITS[0].exam.test.x).c)
    for arm in range(5):
        seen = np.asarray(train.c)[np.asarray(train.t) == arm]
        assert seen.min() <= cost[:, arm].min()
        assert cost[:, arm].max() <= seen.max()


def test_a_rising_network_predicts_rising_money_everywhere_and_refuses_treatments_out_of_order():
    rising = replace(TWO_STAGE, network=NetworkConfig("monotone", hidden=(8,)))
    task = SPLITS[0].task
    params = rising.fit(KEY, task, SILENT)
    for surface in rising.predict(params, 100 * SPLITS[0].exam.test.x):
        assert np.diff(surface, axis=1).min() >= 0
    train = task.train.sample(600)
    backwards = task._replace(train=train._replace(t=4 - train.t))
    with pytest.raises(InputError, match=r"mean costs of the treatments: found .*, expected rising ones"):
        rising.fit(KEY, backwards, SILENT)


def test_a_cost_that_is_known_by_design_is_predicted_for_everybody():
    task = SPLITS[0].task._replace(costs=(0.0, 0.05, float("nan"), float("nan"), float("nan")))
    params = TWO_STAGE.fit(KEY, task, SILENT)
    cost = TWO_STAGE.predict(params, SPLITS[0].exam.test.x).c
    np.testing.assert_allclose(cost[:, 1], 0.05, rtol=1e-6)  # the constant in float32
    assert np.ptp(np.asarray(cost[:, 2])) > 0


@pytest.mark.thorough
@pytest.mark.parametrize("method", [TWO_STAGE, DECISION], ids=["two-stage", "decision"])
def test_a_seed_alone_is_that_seed_among_others(method):
    tasks = [split.task for split in SPLITS]
    many = method.fit_many(KEY, tasks, SILENT)
    for k, task in enumerate(tasks):
        alone = method.fit(KEY, task, SILENT)
        # One program rounds as the other does but where its loops are fused otherwise.
        jax.tree.map(
            lambda one, all_, k=k: np.testing.assert_allclose(one, all_[k], rtol=1e-9, atol=1e-12), alone, many
        )


def test_everybody_gets_the_cheapest_treatment_at_any_budget():
    split, method = SPLITS[0], CheapestArm()
    params = method.fit(KEY, split.task, SILENT)
    truth = split.exam.truth
    assert truth is not None
    value = metrics.eom(method.predict(params, split.exam.test.x), scores.truth(truth), jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(value.revenue, truth.r[:, 0].mean(), rtol=1e-12)
    np.testing.assert_array_equal(value.cost, 0)


def test_what_cannot_be_learned_is_refused_when_it_is_made_or_before_training():
    with pytest.raises(
        InputError, match="link of a network trained by cross_entropy: found 'identity', expected 'sigmoid'"
    ):
        replace(TWO_STAGE, loss="cross_entropy")
    with pytest.raises(InputError, match=r"alpha: found -1\.0, expected a finite number of at least 0"):
        replace(DECISION, alpha=-1.0)
    money = replace(TWO_STAGE, network=NetworkConfig(hidden=(8,), link="sigmoid"), loss="cross_entropy")
    with pytest.raises(InputError, match=r"revenue for a sigmoid network: found values from .*, expected 0 to 1"):
        money.fit(KEY, SPLITS[0].task, SILENT)
    with pytest.raises(InputError, match="select: found 'aucc' with 5 treatments"):
        replace(TWO_STAGE, select="aucc").fit(KEY, SPLITS[0].task, SILENT)
