from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.typing import ArrayLike

from dfcl_jax import InputError, Trial
from dfcl_jax.losses import prediction_loss
from dfcl_jax.models import ensemble, mlp
from dfcl_jax.train import (
    ALL_SEEDS,
    ONE_SEED,
    FitConfig,
    Learner,
    Rows,
    Stage,
    StageLog,
    Validation,
    fit,
    make_step,
    make_trainer,
    predict,
)
from dfcl_jax.types import stack

SEEDS, N, D, M = 3, 600, 4, 2
MODEL = mlp(M, hidden=(8,))
# Neither epochs nor clipping are part of this program, so most fits here are compiled once.
CONFIG = FitConfig(epochs=4, batch_size=100, learning_rate=1e-2, schedule="constant", clip_norm=None)


def linear_trial(seed: int, n: int = N) -> Trial:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, D))
    t = rng.integers(0, M, n)
    r, c = x[:, 0] + t, x[:, 1] * t
    return Trial(*(jnp.asarray(a) for a in (x, t, r, c, np.full(M, 1 / M))))


TRAIN = stack([linear_trial(seed) for seed in range(SEEDS)])
VALID = stack([linear_trial(10 + seed, 200) for seed in range(SEEDS)])
KEYS = jax.random.split(jax.random.key(0), SEEDS)
START = jax.jit(jax.vmap(lambda key, x: MODEL.init(key, x[:1])))(KEYS, TRAIN.x)


def factual(outcomes, rows, shared):
    return prediction_loss(outcomes, rows.trial) + 0 * shared


def accuracy(outcomes, judge):
    """Times a number: 0 where all parameters are to be equally good, and NaN where none is to have a value."""
    trial, times = judge
    return -times * prediction_loss(outcomes, trial)


def a_stage(*, model=MODEL, objective=factual, config=CONFIG, **how) -> Stage:
    return Stage(model, objective, accuracy, config, **how)


def run(*, start=START, train=TRAIN, times=1.0, pace: ArrayLike = 1.0, log=StageLog(), **how):  # noqa: B008  an immutable tuple
    """A fit of all seeds."""
    shared, valid = jnp.zeros(SEEDS), Validation(VALID.x, (VALID, jnp.full(SEEDS, times)))
    return fit(KEYS, start, Rows(train), shared, valid, a_stage(**how), pace=pace, seeds=ALL_SEEDS, log=log)


def run_one(s: int, *, times=1.0, **how):
    """A fit of seed s without a leading axis."""
    key, start, train, valid = seed_of((KEYS, START, TRAIN, VALID), s)
    return fit(key, start, Rows(train), 0.0, Validation(valid.x, (valid, times)), a_stage(**how), seeds=ONE_SEED)


def seed_of(tree, s: int | slice):
    return jax.tree.map(lambda leaf: leaf[s], tree)


@pytest.fixture(scope="module")
def result():
    return run()


@jax.jit
def accuracies(params):
    """The validation value of each seed, [s]."""
    return jax.vmap(lambda params, trial: accuracy(MODEL.apply(params, trial.x), (trial, 1.0)))(params, VALID)


def test_training_lowers_the_loss_and_raises_the_validation_value(result):
    assert result.loss.shape == result.value.shape == (CONFIG.epochs, SEEDS)
    assert (result.loss[-1] < result.loss[0]).all()
    assert (result.value[-1] > accuracies(START)).all()


def test_the_kept_parameters_are_those_of_the_best_validation_value():
    result = run(config=replace(CONFIG, epochs=8), pace=jnp.array([30.0, 100.0, 300.0]))
    # At such learning rates the best epoch is not always the last.
    assert (result.value.argmax(axis=0) < 7).any()
    best = np.maximum(accuracies(START), result.value.max(axis=0))
    np.testing.assert_allclose(accuracies(result.params), best, rtol=1e-12)


def same(one, other) -> bool:
    return all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a == b).all()), one, other)))


def test_a_mean_of_parameters_is_judged_and_kept_instead_of_them():
    """Without memory it is the parameters; with more memory than there are steps, it is near the start."""
    plain = run_one(0)
    without, long = (run_one(0, config=replace(CONFIG, average=decay)) for decay in (0.0, 1 - 1e-6))
    assert same(without.params, plain.params)
    np.testing.assert_array_equal(without.value, plain.value)
    begin = accuracy(MODEL.apply(seed_of(START, 0), VALID.x[0]), (seed_of(VALID, 0), 1.0))
    # 24 steps of 0.01 at most, a millionth of them each.
    np.testing.assert_allclose(long.value, begin, rtol=1e-4)
    assert long.loss[-1] == plain.loss[-1]


def test_the_start_is_kept_where_nothing_is_better():
    result = run(times=0.0)
    assert same(result.params, START)


def test_the_last_epoch_is_kept_where_no_epoch_has_a_value():
    result = run(times=jnp.nan)
    assert not same(result.params, START)
    assert np.isneginf(result.value).all()


def test_same_keys_same_result(result):
    other = run()
    np.testing.assert_array_equal(result.loss, other.loss)
    assert same(result.params, other.params)


def test_a_seed_alone_is_that_seed_among_others_bit_for_bit_on_a_cpu(result):
    for s in (0, 1):
        alone = run_one(s)
        assert alone.loss.shape == alone.value.shape == (CONFIG.epochs,)
        among = (seed_of(result.params, s), result.loss[:, s], result.value[:, s])
        # On a CPU seeds are trained one after another; elsewhere float64 products in another blocking.
        exact = jax.default_backend() == "cpu"
        for one, other in zip(jax.tree.leaves(tuple(alone)), jax.tree.leaves(among), strict=True):
            np.testing.assert_allclose(one, other, rtol=0 if exact else 1e-8)


def test_every_seed_has_a_pace_of_its_own(result):
    other = run(pace=jnp.array([1.0, 2.0, 1.0]))
    np.testing.assert_array_equal(other.loss[:, ::2], result.loss[:, ::2])
    assert (other.loss[:, 1] != result.loss[:, 1]).all()


@pytest.mark.parametrize(("batch_size", "left_over"), [(100, 0), (590, 0), (130, 0), (70, 6)])
def test_an_epoch_sees_every_row_once_but_for_fewer_than_its_batches(batch_size, left_over):
    seen = []

    def spy(*_, mean):
        def step(learner, rows, shared):
            jax.debug.callback(lambda x: seen.append(np.asarray(x)), rows.trial.x[:, 0])
            return learner, jnp.zeros(())

        return step

    run_one(0, make_step=spy, config=FitConfig(epochs=1, batch_size=batch_size))
    jax.effects_barrier()
    rows = np.concatenate(seen)
    assert len(rows) == len(set(rows)) == N - left_over
    assert set(rows) <= set(np.asarray(TRAIN.x[0, :, 0]))
    assert all(len(batch) <= batch_size for batch in seen)


def test_what_batches_share_is_renewed_from_the_parameters_before_every_epoch_but_the_first(result):
    seen = []

    def renew(params, shared):
        moved = jax.tree.map(lambda now, start: float(jnp.abs(now - start).max()), params, START)
        seen.append((max(jax.tree.leaves(moved)), shared.tolist()))
        return shared + 1.0

    renewed = run(renew=renew)
    assert [shared for _, shared in seen] == [[float(k)] * SEEDS for k in range(CONFIG.epochs - 1)]
    assert all(moved > 0 for moved, _ in seen)
    np.testing.assert_array_equal(renewed.loss, result.loss)


def test_a_stage_may_bring_a_step_of_its_own():
    def descent(model, objective, optimiser, *, mean):
        """Plain gradient descent on twice the objective, whatever the optimiser."""

        def step(learner, rows, shared):
            def doubled(params):
                return 2 * objective(model.apply(params, rows.trial.x), rows, shared)

            loss, slope = mean(jax.value_and_grad(doubled)(learner.params))
            params = jax.tree.map(lambda leaf, s: leaf - 0.01 * learner.pace * s, learner.params, slope)
            return learner._replace(params=params), loss

        return step

    # In one batch only the order of sums depends on the order of rows.
    own = run_one(0, config=FitConfig(epochs=1, batch_size=N), times=jnp.nan, make_step=descent)
    start, rows = seed_of((START, Rows(TRAIN)), 0)
    sgd = optax.sgd(0.02)
    step = jax.jit(make_step(MODEL, factual, sgd))
    expected, loss = step(Learner(start, sgd.init(start), jnp.ones((), jnp.float32)), rows, 0.0)
    # Layers and parameters are float32, sums over rows float64 in another order.
    assert own.loss[0] == pytest.approx(2 * float(loss), rel=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), own.params, expected.params)
    assert not same(own.params, start)


def test_members_of_an_ensemble_are_trained_as_if_alone():
    pair = ensemble(MODEL, 2)
    start = jax.jit(jax.vmap(lambda key, x: pair.init(key, x[:1])))(KEYS, TRAIN.x)
    # Adam does not see that a member's gradient is halved; clipping and epsilon would.
    how = {"config": replace(CONFIG, epochs=2), "pace": 0.1, "times": jnp.nan}
    together = run(start=start, model=pair, **how)
    alone = run(start=jax.tree.map(lambda leaf: leaf[:, 0], start), **how)
    for one, other in zip(jax.tree.leaves(together.params), jax.tree.leaves(alone.params), strict=True):
        np.testing.assert_allclose(one[:, 0], other, rtol=1e-3, atol=1e-6)


def test_an_epoch_holds_a_batch_beside_the_rows_and_writes_its_state_over_the_one_before():
    n, batch = 100_000, 1000
    compiled = ALL_SEEDS.compiled(make_trainer(a_stage(config=FitConfig(batch_size=batch)), n), True)
    key, start, valid = seed_of((KEYS, START, VALID), slice(0, 1))
    valid = Validation(valid.x, (valid, jnp.ones(1)))
    state = jax.eval_shape(compiled.start, key, start, valid, jnp.ones(1))
    rows = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, n, *leaf.shape[2:]), leaf.dtype), TRAIN)
    rows = Rows(rows._replace(p=jax.ShapeDtypeStruct(TRAIN.p[:1].shape, TRAIN.p.dtype)))
    needs = compiled.epoch.lower(state, rows, jnp.zeros(1), valid).compile().memory_analysis()  # pyright: ignore
    assert needs.temp_size_in_bytes < _bytes(rows) / 10
    assert needs.alias_size_in_bytes >= 0.9 * _bytes(state)


def _bytes(tree) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def test_epochs_are_reported_in_order(result):
    seen = []
    run(log=StageLog(lambda epoch, record: seen.append((epoch, record.loss.tolist()))))
    assert seen == [(k, result.loss[k].tolist()) for k in range(CONFIG.epochs)]


def test_a_batch_larger_than_the_trial_is_the_whole_trial():
    one, other = (run_one(0, config=FitConfig(epochs=1, batch_size=size)) for size in (N, 10 * N))
    np.testing.assert_array_equal(one.loss, other.loss)


def test_a_loss_that_is_no_longer_finite_is_an_error():
    broken = TRAIN._replace(r=TRAIN.r.at[0, 0].set(jnp.nan))
    with pytest.raises(InputError, match="training loss in epoch 1"):
        run(train=broken)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs: found 0"),
        ({"batch_size": 0}, "batch_size: found 0"),
        ({"learning_rate": float("nan")}, "learning_rate: found nan"),
        ({"weight_decay": -1.0}, "weight_decay: found -1.0"),
        ({"clip_norm": 0.0}, "clip_norm: found 0.0"),
        ({"average": 1.0}, "average: found 1.0"),
        ({"clip_norm": float("inf")}, "clip_norm: found inf"),
    ],
)
def test_configurations_that_no_training_can_have_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        FitConfig(**change)


def test_prediction_in_chunks_is_prediction():
    params, x = seed_of((START, TRAIN.x), 0)
    whole = predict(MODEL, params, x)
    chunked = predict(MODEL, params, x, chunk=64)
    # Float64 products in another blocking.
    np.testing.assert_allclose(chunked.r, whole.r, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(chunked.c, whole.c, rtol=1e-12, atol=1e-14)
