"""What is built on decision methods to gain more."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import Decision, InputError, Outcomes, TwoStage, metrics, scores
from dfcl_jax.data import simulate, split_simulation
from dfcl_jax.losses.decision import entropy_regularised
from dfcl_jax.methods import SILENT, Distilled, TwoHeaded
from dfcl_jax.methods.distilled import Taught, teaching_loss
from dfcl_jax.models import NetworkConfig
from dfcl_jax.train import FitConfig

KEY = jax.random.key(0)
TRAINING = FitConfig(epochs=2, batch_size=100, learning_rate=1e-2)
TWO_STAGE = TwoStage(NetworkConfig(hidden=(8,)), training=TRAINING)
DECISION = Decision(scores.centred, entropy_regularised, TWO_STAGE, TRAINING, by_rows=True)
SIMULATE = jax.jit(simulate.marketing, static_argnums=1)
SPLIT = split_simulation(SIMULATE(jax.random.key(0), 1200), 600, 300, budgets=(0.03, 0.06))
X = SPLIT.exam.test.x
TAUGHT = FitConfig(epochs=60, batch_size=100, learning_rate=1e-2)


def test_a_lesson_learned_costs_nothing_and_levels_are_no_part_of_it():
    rng = np.random.default_rng(0)
    of = Outcomes(*(jnp.asarray(rng.normal(size=(20, 3))) for _ in range(2)))
    level = jnp.asarray(rng.normal(size=(20, 1)))
    weights = jnp.asarray(rng.uniform(1, 2, 20))
    moved = Outcomes(of.r + level, of.c - level)
    assert float(teaching_loss(moved, Taught(of, weights), level=False)) < 1e-28
    expected = float((weights * 2 * level[:, 0] ** 2).mean())
    assert float(teaching_loss(moved, Taught(of, weights))) == pytest.approx(expected, rel=1e-9)
    other = Outcomes(of.r.at[0, 1].add(3.0), of.c)
    # A difference of 3 at one of three treatments has squares 1, 4 and 1 about its mean.
    assert float(teaching_loss(other, Taught(of, weights), level=False)) == pytest.approx(float(weights[0]) * 2 / 20)


@pytest.mark.thorough
@pytest.mark.parametrize("decides", [False, True], ids=["money", "decisions"])
def test_a_distilled_network_comes_near_its_teacher(decides):
    """A teacher of the student's own shape: a tenth of what it distinguishes is not yet learned at most."""
    predicts = replace(TWO_STAGE, training=replace(TRAINING, epochs=30))
    teacher = replace(DECISION, start=predicts) if decides else predicts
    student = Distilled(teacher, TWO_STAGE, TAUGHT)
    taught = teacher.predict(teacher.fit(KEY, SPLIT.task, SILENT), X)
    learned = student.predict(student.fit(KEY, SPLIT.task, SILENT), X)
    assert student.money == teacher.money
    for mine, its in zip(learned, taught, strict=True):
        if decides:
            mine, its = (y - y.mean(axis=1, keepdims=True) for y in (mine, its))
        mine, its = (np.asarray(y).ravel() for y in (mine, its))
        assert np.corrcoef(mine, its)[0, 1] ** 2 > 0.9
        assert decides or np.mean((mine - its) ** 2) < 0.1 * its.var()


def test_decisions_are_not_learned_from_a_start_that_predicts_no_money():
    with pytest.raises(InputError, match="start of a decision method: found a method that predicts no money"):
        replace(DECISION, start=Distilled(DECISION, TWO_STAGE))


@pytest.fixture(scope="module")
def two_headed():
    method = TwoHeaded(DECISION)
    return method, method.fit(KEY, SPLIT.task, SILENT)


@pytest.mark.thorough
def test_both_heads_begin_as_two_stage_learning():
    method = TwoHeaded(replace(DECISION, training=replace(TRAINING, learning_rate=0.0, weight_decay=0.0)))
    params = method.fit(KEY, SPLIT.task, SILENT)
    before = TWO_STAGE.predict(TWO_STAGE.fit(KEY, SPLIT.task, SILENT), X)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), method.predict_money(params, X), before)
    np.testing.assert_allclose(method.predict(params, X).r, before.r, rtol=1e-6)


@pytest.mark.thorough
def test_one_head_decides_and_the_other_predicts_money(two_headed):
    """Money that is predicted fits outcomes better than the scores that decide do."""
    method, params = two_headed
    money, decides = method.predict_money(params, X), method.predict(params, X)
    quality = [metrics.diagnostics.prediction_quality(y, SPLIT.exam.test).mse_r for y in (money, decides)]
    assert quality[0] < quality[1]


@pytest.mark.thorough
def test_a_seed_alone_is_that_seed_among_others(two_headed):
    method, params = two_headed
    other = SPLIT.task._replace(seed=1)
    many = method.fit_many(KEY, [SPLIT.task, other], SILENT)
    # One program rounds as the other does but where its loops are fused otherwise.
    jax.tree.map(lambda one, both: np.testing.assert_allclose(one, both[0], rtol=1e-9, atol=1e-9), params, many)


@pytest.mark.thorough
def test_scores_of_the_other_folds_are_other_scores():
    """Cross-fitted predictions change what is learned; with one fold they are the start's own."""
    alone, crossed = (replace(DECISION, folds=folds).fit(KEY, SPLIT.task, SILENT) for folds in (1, 2))
    itself = DECISION.fit(KEY, SPLIT.task, SILENT)
    jax.tree.map(np.testing.assert_array_equal, alone, itself)
    predicted = [np.asarray(DECISION.predict(params, X).r) for params in (alone, crossed)]
    assert np.abs(predicted[0] - predicted[1]).max() > 1e-3


def test_what_cannot_be_is_refused():
    concave = replace(TWO_STAGE, network=NetworkConfig("concave"))
    with pytest.raises(InputError, match="network with two heads: found concave of 1, expected one mlp"):
        TwoHeaded(replace(DECISION, start=concave))
    with pytest.raises(InputError, match="beta: found -1"):
        TwoHeaded(DECISION, beta=-1)
    with pytest.raises(InputError, match="folds: found 0"):
        replace(DECISION, folds=0)
