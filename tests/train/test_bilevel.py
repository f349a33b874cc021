"""The step of bi-level training: its hypergradient against dense algebra, and its schedule."""

from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from dfcl_jax import InputError, Outcomes, Trial, losses
from dfcl_jax.models import mlp
from dfcl_jax.train import (
    FitConfig,
    Hypergradient,
    Learner,
    Levels,
    MeanOverRows,
    Rows,
    Upper,
    check_hypergradients,
    hypergradient,
    make_bilevel_optimiser,
    make_bilevel_step,
    make_step,
)
from dfcl_jax.train.config import make_optimiser

N, D, M = 24, 2, 2
KEY = jax.random.key(0)
# Peak memory of a bi-level step over that of a two-stage step. Layers of three networks are held: of the target on the
# logs and on the trial, and of the bridge; and of each the tangents beside the values.
MOST_OF_TWO_STAGE = 8
RNG = np.random.default_rng(0)
TARGET, BRIDGE = mlp(M, hidden=(3,)), mlp(M, hidden=(3,), link="sigmoid")


def people(n: int) -> Trial:
    x, r, c = RNG.normal(size=(n, D)), RNG.normal(size=n), RNG.normal(size=n)
    return Trial(*(jnp.asarray(a) for a in (x, RNG.integers(M, size=n), r, c, np.full(M, 1 / M))))


LOGS, TRIAL = people(N), people(N)
TEACHER = Outcomes(*(jnp.asarray(RNG.normal(size=(N, M))) for _ in "rc"))
THETA, PHI = (
    jax.tree.map(lambda leaf: leaf.astype(jnp.float64), model.init(jax.random.key(k), LOGS.x[:1]))
    for k, model in enumerate((TARGET, BRIDGE))
)
LEVELS = Levels(TARGET, BRIDGE, losses.pseudo_label_loss, Hypergradient(), 10)


def lower(phi, outcomes):
    return LEVELS.lower(outcomes, LOGS, TEACHER, BRIDGE.apply(phi, LOGS.x))


def predict(theta):
    return TARGET.apply(theta, LOGS.x)


def upper(theta):
    return losses.prediction_loss(TARGET.apply(theta, TRIAL.x), TRIAL)


def found_by(how: Hypergradient):
    @jax.jit
    def found(phi, theta):
        hyper = hypergradient(how, phi, theta, predict=predict, lower=lower, upper=upper)
        return hyper, hyper.failed

    return found(PHI, THETA)


def gradient_by(how: Hypergradient):
    hyper, failed = found_by(how)
    assert not failed
    return hyper.gradient


def assert_close(one, other, rtol):
    one, other = (np.asarray(ravel_pytree(tree)[0]) for tree in (one, other))
    assert np.abs(other).max() > 1e-6
    np.testing.assert_allclose(one, other, rtol=0, atol=rtol * np.abs(other).max())


def test_the_explicit_hypergradient_is_the_derivative_through_one_step():
    def through(phi):
        slope = jax.grad(lambda theta: lower(phi, predict(theta)))(THETA)
        return upper(jax.tree.map(lambda leaf, g: leaf - 0.1 * g, THETA, slope))

    # Two orders of the same sums in float64.
    assert_close(gradient_by(Hypergradient("explicit", rate=0.1)), jax.jit(jax.grad(through))(PHI), 1e-9)


@pytest.mark.parametrize("curvature", ["gauss_newton", "hessian"])
def test_the_implicit_hypergradient_is_that_of_dense_algebra_after_the_assumed_steps(curvature):
    """With so much damping that the Hessian, too, is positive."""
    how = Hypergradient(k=3, rate=0.05, curvature=curvature, damping=5.0, tolerance=1e-12)
    theta, unravel = ravel_pytree(THETA)
    phi, unravel_phi = ravel_pytree(PHI)

    @jax.jit
    def dense(phi, theta):
        def loss(phi, theta):
            return lower(unravel_phi(phi), predict(unravel(theta)))

        for _ in range(how.k):
            theta = theta - how.rate * jax.grad(loss, 1)(phi, theta)
        if curvature == "hessian":
            matrix = jax.hessian(loss, 1)(phi, theta)
        else:
            flat, outcomes = ravel_pytree(predict(unravel(theta)))
            jacobian = jax.jacobian(lambda v: ravel_pytree(predict(unravel(v)))[0])(theta)
            matrix = jacobian.T @ jax.hessian(lambda y: lower(unravel_phi(phi), outcomes(y)))(flat) @ jacobian
        g = jax.grad(lambda v: upper(unravel(v)))(theta)
        v = jnp.linalg.solve(matrix + how.damping * jnp.eye(theta.size), g)
        mixed = jax.jacobian(lambda phi: jax.grad(loss, 1)(phi, theta))(phi)
        return -mixed.T @ v

    # The tolerance times the condition, which the damping keeps below 100.
    assert_close(gradient_by(how), dense(phi, theta), 1e-9)


CONFIG = FitConfig(epochs=4, batch_size=N, learning_rate=1e-2, schedule="constant")


def steps_of(levels: Levels, number: int, phi=PHI) -> list[Any]:
    """The learner before and after each of some steps on one batch."""
    optimiser = make_bilevel_optimiser(CONFIG, 10, k=levels.how.k)

    def objective(outcomes, rows, terms):
        return losses.prediction_loss(outcomes, rows.trial) + 0 * terms

    step = jax.jit(make_bilevel_step(levels, levels.deployed, objective, optimiser))
    params = {"target": THETA, "bridge": phi}
    learners = [Learner(params, optimiser.init(params), jnp.ones(()))]
    shared = Upper(Rows(TRIAL), jnp.zeros(()), jax.random.key(0))
    for _ in range(number):
        learner, loss = step(learners[-1], Rows(LOGS, TEACHER), shared)
        assert np.isfinite(loss)
        learners.append(learner)
    return learners


def test_what_is_deployed_starts_both_networks_and_predicts_by_the_target():
    params = LEVELS.deployed.init(jax.random.key(5), LOGS.x[:1])
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, {"target": THETA, "bridge": PHI})
    outcomes = LEVELS.deployed.apply(params, LOGS.x)
    jax.tree.map(np.testing.assert_array_equal, outcomes, TARGET.apply(params["target"], LOGS.x))
    assert LEVELS._replace(bridge=0.5).deployed.init(jax.random.key(5), LOGS.x[:1])["bridge"] == {}


def same(one, other) -> bool:
    return all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a == b).all()), one, other)))


def test_the_bridge_moves_at_each_kth_batch_and_the_target_at_every_one():
    learners = steps_of(LEVELS._replace(how=Hypergradient(k=3)), 5)
    moved = [not same(a.params["bridge"], b.params["bridge"]) for a, b in pairwise(learners)]
    assert moved == [True, False, False, True, False]
    states = [not same(a.optimiser.bridge, b.optimiser.bridge) for a, b in pairwise(learners)]
    assert states == moved
    assert not any(same(a.params["target"], b.params["target"]) for a, b in pairwise(learners))


@pytest.mark.parametrize("gate", [0.0, 1.0])
def test_a_gate_that_is_held_trains_the_target_on_that_loss_alone(gate):
    held = steps_of(LEVELS._replace(bridge=gate), 2, phi={})[-1].params["target"]
    gates = jax.tree.map(lambda leaf: jnp.full_like(leaf, gate), TEACHER)

    optimiser = make_bilevel_optimiser(CONFIG, 10)
    theta: Any = THETA
    memory = optimiser.init({"target": THETA, "bridge": {}})

    @jax.jit
    def step(theta, memory):
        slope = jax.grad(lambda theta: losses.pseudo_label_loss(predict(theta), LOGS, TEACHER, gates))(theta)
        updates: Any
        updates, memory = optimiser.update({"target": slope}, memory, {"target": theta})
        return jax.tree.map(jnp.add, theta, updates["target"]), memory

    for _ in range(2):
        theta, memory = step(theta, memory)
    # The same arithmetic in two programs, which may fuse it otherwise.
    assert_close(held, theta, 1e-12)


def test_bridge_steps_see_every_person_of_the_trial_before_any_twice():
    seen = []

    def objective(outcomes, rows, terms):
        jax.debug.callback(lambda r: seen.append(np.asarray(r)), rows.trial.r)
        return losses.prediction_loss(outcomes, rows.trial) + 0 * terms

    levels = LEVELS._replace(how=Hypergradient("explicit", k=1), batch=N // 3)
    optimiser = make_bilevel_optimiser(CONFIG, 10)
    step = jax.jit(make_bilevel_step(levels, levels.deployed, objective, optimiser))
    params = {"target": THETA, "bridge": PHI}
    learner = Learner(params, optimiser.init(params), jnp.ones(()))
    for _ in range(6):
        learner, _ = step(learner, Rows(LOGS, TEACHER), Upper(Rows(TRIAL), jnp.zeros(()), jax.random.key(0)))
    jax.effects_barrier()
    rounds = [np.concatenate(seen[:3]), np.concatenate(seen[3:6])]
    for one in rounds:
        np.testing.assert_array_equal(np.sort(one), np.sort(TRIAL.r))
    assert (rounds[0] != rounds[1]).any()


def test_a_hypergradient_that_diverges_is_named_with_what_to_change():
    # Steps of gradient descent that overshoot go off to infinity.
    how = Hypergradient(k=50, rate=100.0)
    assert found_by(how)[1]
    last = steps_of(LEVELS._replace(how=how), 2)[-1]
    # What failed moved nothing.
    jax.tree.map(np.testing.assert_array_equal, last.params["bridge"], PHI)
    with pytest.raises(InputError, match=r"hypergradient: found none in 1 of 1 bridge steps .* more damping"):
        check_hypergradients(how.k, last)


def test_hypergradients_that_are_found_pass_the_check():
    check_hypergradients(LEVELS.how.k, steps_of(LEVELS, 2)[-1])


def test_a_lower_loss_without_a_minimum_has_no_hypergradient():
    """-y^2 curves downwards everywhere: no direction can be taken, and what is returned, 0, is no gradient."""
    how = Hypergradient(k=1, curvature="hessian", damping=0.1)
    y = jnp.arange(1.0, 4.0)
    hyper = hypergradient(
        how, jnp.ones(()), y, predict=lambda y: y, lower=lambda phi, y: -phi * (y**2).sum(), upper=lambda y: y.sum()
    )
    assert hyper.gradient == 0
    assert hyper.residual == 1
    assert hyper.failed


def test_a_target_that_has_diverged_is_not_blamed_on_the_hypergradient():
    """Its loss is not finite, which has a message of its own."""
    broken = jax.tree.map(lambda leaf: leaf * jnp.nan, THETA)
    optimiser = make_bilevel_optimiser(CONFIG, 10)
    step = jax.jit(make_bilevel_step(LEVELS, LEVELS.deployed, lambda o, rows, _: o.r.mean(), optimiser))
    params = {"target": broken, "bridge": PHI}
    learner, loss = step(
        Learner(params, optimiser.init(params), jnp.ones(())), Rows(LOGS, TEACHER), Upper(Rows(TRIAL), None, KEY)
    )
    assert np.isnan(loss)
    check_hypergradients(LEVELS.how.k, learner)


def test_a_teacher_of_another_shape_is_named():
    optimiser = make_bilevel_optimiser(CONFIG, 10)
    step = make_bilevel_step(LEVELS, LEVELS.deployed, lambda o, rows, _: o.r.mean(), optimiser)
    params = {"target": THETA, "bridge": PHI}
    learner = Learner(params, optimiser.init(params), jnp.ones(()))
    narrow = Outcomes(TEACHER.r, TEACHER.c[:, :1])
    with pytest.raises(InputError, match=r"teacher's predictions: found cost of shape \(24, 1\), expected \(24, 2\)"):
        step(learner, Rows(LOGS, narrow), Upper(Rows(TRIAL), None, KEY))


def peak_of(step, *arguments) -> int:
    """Bytes beside arguments and results that the compiled program holds at most."""
    analysis = jax.jit(step).lower(*arguments).compile().memory_analysis()
    assert analysis is not None
    return analysis.temp_size_in_bytes


@pytest.mark.thorough
def test_memory_holds_neither_the_path_of_the_assumed_steps_nor_a_hessian():
    """Bytes by the compiler's own account, so no run and no clock is in it."""
    rows, wide = people(512), mlp(M, hidden=(64, 64))
    teacher = Outcomes(*(jnp.asarray(RNG.normal(size=(512, M))) for _ in "rc"))
    bridge = mlp(M, hidden=(64, 64), link="sigmoid")
    theta, phi = (model.init(KEY, rows.x[:1]) for model in (wide, bridge))

    def of(how: Hypergradient) -> int:
        levels = Levels(wide, bridge, losses.pseudo_label_loss, how, 512)
        optimiser = make_bilevel_optimiser(CONFIG, 10, k=how.k)
        step = make_bilevel_step(levels, levels.deployed, lambda o, r, _: losses.prediction_loss(o, r.trial), optimiser)
        params = {"target": theta, "bridge": phi}
        learner = Learner(params, optimiser.init(params), jnp.ones(()))
        return peak_of(step, learner, Rows(rows, teacher), Upper(Rows(rows), None, KEY))

    two_stage_optimiser = make_optimiser(CONFIG, 10)
    two_stage = make_step(wide, MeanOverRows(lambda o, r, _: losses.prediction_loss(o, r.trial)), two_stage_optimiser)
    plain = peak_of(two_stage, Learner(theta, two_stage_optimiser.init(theta), jnp.ones(())), Rows(rows), None)
    few, many = of(Hypergradient(k=5)), of(Hypergradient(k=200, n_cg=200))
    # The program is the same whatever the counts are, so its memory is.
    assert many <= 1.01 * few
    size = ravel_pytree(theta)[0].size
    assert few < 4 * size**2
    assert few <= MOST_OF_TWO_STAGE * plain


@pytest.mark.parametrize(
    "option", [{"k": 0}, {"n_cg": 0}, {"damping": -1.0}, {"kind": "unrolled"}, {"curvature": "fisher"}]
)
def test_an_option_out_of_its_range_is_named(option):
    (name,) = option
    with pytest.raises(InputError, match=f"{name}.*: found"):
        Hypergradient(**option)
