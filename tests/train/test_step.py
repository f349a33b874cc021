from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dfcl_jax import METHODS, Decision, InputError, Outcomes, Trial, losses, scores
from dfcl_jax.losses import constants
from dfcl_jax.models import ensemble, in_precision, mlp, shared_trunk
from dfcl_jax.train import FitConfig, Learner, MeanOverRows, Rows, make_step
from dfcl_jax.train.step import averaged

N, D, M = 97, 5, 3
LAMS = jnp.array([0.2, 0.7])
MODELS = {
    "mlp": mlp(M, hidden=(8, 6)),
    "shared trunk": shared_trunk(M, trunk=(7,), head=(4,)),
    "ensemble": ensemble(mlp(M, hidden=(6,)), 3),
}
OBJECTIVES = {
    "prediction": lambda o, rows, _: losses.prediction_loss(o, rows.trial),
    "PL": lambda o, rows, _: losses.policy_learning_loss(o, rows.extra, LAMS),
    "IFD matched": lambda o, rows, _: losses.finite_difference_loss(o, rows.extra, LAMS),
    "IFD longest": lambda o, rows, _: losses.finite_difference_loss(o, rows.extra, LAMS, clip="max"),
    "PPL": lambda o, rows, _: losses.primal_policy_learning_loss(o, rows.extra, 0.4, spend="predicted"),
}
MEANS = ("prediction", "PL")


def batch() -> Rows:
    rng = np.random.default_rng(0)
    t = rng.integers(0, M, N)
    columns = rng.normal(size=(N, D)), t, rng.uniform(size=N), rng.uniform(size=N), np.full(M, 1 / M)
    trial = Trial(*map(jnp.asarray, columns))
    return Rows(trial, scores.ipw(trial))


ROWS = batch()


@cache
def start(model, dtype=float):
    params = jax.jit(model.init)(jax.random.key(1), ROWS.trial.x[:1])
    return jax.tree.map(lambda leaf: leaf.astype(dtype), params)


@cache
def predicted(model):
    return jax.jit(model.apply)(start(model), ROWS.trial.x)


def one_step(model, objective, **how):
    """The loss and the gradient: what one step of length 1 down it takes off."""
    params, optimiser = start(model), optax.sgd(1.0)
    step = jax.jit(make_step(model, objective, optimiser, **how))
    learner, loss = step(Learner(params, optimiser.init(params), jnp.ones(())), ROWS, None)
    return loss, jax.tree.map(jnp.subtract, params, learner.params)


def assert_same(one, other):
    # Float64 sums in another order, of gradients below 1 taken off parameters of that size.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14), one, other)


@cache
def whole(name, loss):
    return one_step(MODELS[name], OBJECTIVES[loss], chunk=N)


# Every loss on one model, and one that needs the whole batch on the others.
@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "loss"), [("mlp", loss) for loss in OBJECTIVES] + [("shared trunk", "PPL"), ("ensemble", "IFD matched")]
)
def test_chunks_give_the_gradient_of_the_whole_batch(name, loss):
    expected = whole(name, loss)
    assert float(optax.tree.norm(expected[1])) > 1e-4
    # 97 is a prime: chunks of 20 leave 17 over, and chunks of 96 a single one. Losses see predictions, not chunks.
    for chunk in (20, 96) if (name, loss) == ("mlp", "PPL") else (20,):
        assert_same(one_step(MODELS[name], OBJECTIVES[loss], chunk=chunk), expected)


@pytest.mark.parametrize("name", ["mlp", "ensemble"])
@pytest.mark.parametrize("loss", MEANS)
def test_means_over_rows_need_one_pass_over_chunks(name, loss):
    assert_same(one_step(MODELS[name], MeanOverRows(OBJECTIVES[loss]), chunk=20), whole(name, loss))


def test_parameters_in_single_and_rows_in_double_precision_go_together():
    model, optimiser = MODELS["mlp"], optax.sgd(1.0)
    params = start(model, jnp.float32)
    learner = Learner(params, optimiser.init(params), jnp.ones((), jnp.float32))
    steps = [make_step(model, MeanOverRows(OBJECTIVES["PL"]), optimiser, chunk=chunk) for chunk in (20, N)]
    (one, loss), (other, whole_loss) = (jax.jit(step)(learner, ROWS, None) for step in steps)
    assert loss.dtype == jnp.float64
    np.testing.assert_allclose(loss, whole_loss, rtol=1e-12)
    # Float32 sums in another order.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), one.params, other.params)


def test_a_loss_that_is_no_mean_over_rows_is_another_when_taken_for_one():
    one = one_step(MODELS["mlp"], MeanOverRows(OBJECTIVES["IFD matched"]), chunk=20)
    assert abs(float(one[0] - whole("mlp", "IFD matched")[0])) > 1e-4


DECISIONS = {name: method for name, method in METHODS.items() if isinstance(method, Decision)}


@pytest.mark.parametrize("method", DECISIONS.values(), ids=DECISIONS)
def test_methods_say_which_of_their_losses_are_means_over_rows(method):
    outcomes = predicted(MODELS["mlp"])
    k = constants.published_marketing(outcomes, jnp.zeros(0))
    loss = jax.jit(method.loss)
    parts = [slice(0, 48), slice(48, 96), slice(0, 96)]
    losses_of = [
        float(loss(*jax.tree.map(lambda leaf, part=part: np.asarray(leaf)[part], (outcomes, ROWS.extra)), k))
        for part in parts
    ]
    # Means of float64 numbers of the order of 1.
    assert (abs((losses_of[0] + losses_of[1]) / 2 - losses_of[2]) < 1e-12) == method.by_rows


@pytest.mark.parametrize("name", ["mlp", "shared trunk"])
def test_through_revenue_is_the_gradient_at_fixed_costs(name):
    def fixed(outcomes, rows, shared):
        return OBJECTIVES["IFD matched"](Outcomes(outcomes.r, jax.lax.stop_gradient(outcomes.c)), rows, shared)

    expected = one_step(MODELS[name], fixed, chunk=N)
    for chunk in (N, 20):
        assert_same(one_step(MODELS[name], OBJECTIVES["IFD matched"], through="revenue", chunk=chunk), expected)


@pytest.mark.parametrize("name", ["mlp", "shared trunk"])
def test_bfloat16_predictions_are_those_of_rounded_layers(name):
    params, x = start(MODELS[name], jnp.float32), ROWS.trial.x.astype(jnp.float32)
    exact = jax.jit(MODELS[name].apply)(params, x)
    rounded = jax.jit(in_precision(MODELS[name].apply, "bfloat16"))(params, x)
    for close, surface in zip(rounded, jax.tree.map(np.asarray, exact), strict=True):
        assert close.dtype == jnp.float32
        # Each rounding is by up to 2^-9; three layers of inputs, weights and units, on outputs of the order of 1.
        assert 0 < np.abs(close - surface).max() < 8 * 2**-9 * np.abs(surface).max()


def test_bfloat16_leaves_parameters_and_losses_in_float32():
    model, optimiser = MODELS["mlp"], optax.sgd(1.0)
    params = start(model, jnp.float32)
    rows = jax.tree.map(lambda leaf: leaf.astype(jnp.float32) if leaf.dtype == jnp.float64 else leaf, ROWS)
    learner = Learner(params, optimiser.init(params), jnp.ones((), jnp.float32))
    step = jax.jit(make_step(model, OBJECTIVES["PL"], optimiser, chunk=20, compute="bfloat16"))
    after, loss = step(learner, rows, None)
    assert {leaf.dtype for leaf in jax.tree.leaves((after.params, loss))} == {jnp.dtype("float32")}


@pytest.mark.parametrize("chunk", [0, 101])
def test_chunks_of_nobody_and_beyond_the_batch_are_refused(chunk):
    with pytest.raises(InputError, match=f"chunk: found {chunk}, expected 1 to batch_size, 100"):
        FitConfig(batch_size=100, chunk=chunk)


def test_the_mean_of_parameters_weighs_each_step_less_than_the_next():
    """After k steps: decay^k of the start plus (1 - decay) decay^(k - s) of the parameters after step s."""
    params, optimiser, decay = start(MODELS["mlp"]), optax.sgd(1.0), 0.7
    step = make_step(MODELS["mlp"], OBJECTIVES["prediction"], optimiser)
    learner = Learner(params, optimiser.init(params), jnp.ones(()), params)
    plain, after = learner._replace(average=None), []
    moved, kept = jax.jit(step), jax.jit(averaged(step, decay))
    for _ in range(3):
        plain, learner = moved(plain, ROWS, None)[0], kept(learner, ROWS, None)[0]
        after.append(plain.params)
    assert_same(learner.params, plain.params)
    weights = [decay**3, *((1 - decay) * decay ** (3 - s) for s in (1, 2, 3))]
    assert_same(learner.judged, jax.tree.map(lambda *p: sum(map(jnp.multiply, weights, p)), params, *after))
    assert plain.judged is plain.params
