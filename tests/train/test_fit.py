import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError, Trial
from dfcl_jax.losses import prediction_loss
from dfcl_jax.models import ensemble, mlp
from dfcl_jax.train import FitConfig, Rows, fit, make_trainer, predict
from dfcl_jax.train.loop import all_seeds
from dfcl_jax.types import stack

SEEDS, N, D, M = 3, 600, 4, 2
MODEL = mlp(M, hidden=(8,))
CONFIG = FitConfig(epochs=4, batch_size=100, learning_rate=1e-2)


def linear_trial(seed: int, n: int = N) -> Trial:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, D))
    t = rng.integers(0, M, n)
    r, c = x[:, 0] + t, x[:, 1] * t
    return Trial(*(jnp.asarray(a) for a in (x, t, r, c, np.full(M, 1 / M))))


TRAIN = stack([linear_trial(seed) for seed in range(SEEDS)])
VALID = stack([linear_trial(10 + seed, 200) for seed in range(SEEDS)])
KEYS = jax.random.split(jax.random.key(0), SEEDS)
START = jax.vmap(lambda key, x: MODEL.init(key, x[:1]))(KEYS, TRAIN.x)


def factual(outcomes, rows, shared):
    return prediction_loss(outcomes, rows.trial)


def accuracy(outcomes, trial):
    return -prediction_loss(outcomes, trial)


def run(keys=KEYS, start=START, train=TRAIN, valid=VALID, *, validate=accuracy, config=CONFIG, **how):
    return fit(
        keys, start, Rows(train), None, valid.x, valid,
        model=MODEL, objective=factual, validate=validate, config=config, **how,
    )  # fmt: skip


def test_training_lowers_the_loss_and_raises_the_validation_value():
    result = run()
    assert result.loss.shape == result.value.shape == (CONFIG.epochs, SEEDS)
    assert (result.loss[-1] < result.loss[0]).all()
    before = [float(accuracy(MODEL.apply(_seed(START, s), VALID.x[s]), _seed(VALID, s))) for s in range(SEEDS)]
    assert (result.value[-1] > before).all()


def _seed(tree, seed: int):
    return jax.tree.map(lambda leaf: leaf[seed], tree)


def test_the_kept_parameters_are_those_of_the_best_validation_value():
    result = run(config=FitConfig(epochs=6, batch_size=100, learning_rate=0.3, schedule="constant"))
    for s in range(SEEDS):
        kept = float(accuracy(MODEL.apply(_seed(result.params, s), VALID.x[s]), _seed(VALID, s)))
        start = float(accuracy(MODEL.apply(_seed(START, s), VALID.x[s]), _seed(VALID, s)))
        assert kept == pytest.approx(max(start, result.value[:, s].max()), rel=1e-12)


def same(one, other) -> bool:
    return all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a == b).all()), one, other)))


def test_the_start_is_kept_where_nothing_is_better():
    result = run(validate=lambda outcomes, trial: 0 * outcomes.r.mean())
    assert same(result.params, START)


def test_the_last_epoch_is_kept_where_no_epoch_has_a_value():
    result = run(validate=lambda outcomes, trial: jnp.nan * outcomes.r.mean())
    assert not same(result.params, START)
    assert np.isneginf(result.value).all()


def test_same_keys_same_result():
    one, other = run(), run()
    np.testing.assert_array_equal(one.loss, other.loss)
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a == b).all()), one.params, other.params)))


def test_a_seed_among_others_is_the_seed_alone():
    together = run()
    only = slice(1, 2)
    alone = run(KEYS[only], *(jax.tree.map(lambda leaf: leaf[only], tree) for tree in (START, TRAIN, VALID)))
    # On a CPU, where seeds are trained one after another; elsewhere float64 products in another blocking.
    exact = jax.default_backend() == "cpu"
    np.testing.assert_allclose(together.loss[:, 1], alone.loss[:, 0], rtol=0 if exact else 1e-8)


@pytest.mark.parametrize(("batch_size", "left_over"), [(100, 0), (450, 0), (590, 0), (130, 0), (70, 6)])
def test_an_epoch_sees_every_row_once_but_for_fewer_than_its_batches(batch_size, left_over):
    seen = []

    def spy(outcomes, rows, shared):
        jax.debug.callback(lambda x: seen.append(np.asarray(x)), rows.trial.x[:, 0])
        return prediction_loss(outcomes, rows.trial)

    one = slice(0, 1)
    fit(
        KEYS[one], jax.tree.map(lambda leaf: leaf[one], START), Rows(jax.tree.map(lambda leaf: leaf[one], TRAIN)), None,
        VALID.x[one], jax.tree.map(lambda leaf: leaf[one], VALID),
        model=MODEL, objective=spy, validate=accuracy, config=FitConfig(epochs=1, batch_size=batch_size),
    )  # fmt: skip
    jax.effects_barrier()
    rows = np.concatenate(seen)
    assert len(rows) == len(set(rows)) == N - left_over
    assert set(rows) <= set(np.asarray(TRAIN.x[0, :, 0]))
    assert all(len(batch) <= batch_size for batch in seen)


def test_what_batches_share_is_renewed_from_the_parameters_before_every_epoch_but_the_first():
    seen = []

    def renew(params, shared):
        moved = jax.tree.map(lambda now, start: float(jnp.abs(now - start).max()), params, START)
        seen.append((max(jax.tree.leaves(moved)), shared.tolist()))
        return shared + 1.0

    def scaled(outcomes, rows, shared):
        return shared * 0 + factual(outcomes, rows, None)

    result = fit(
        KEYS, START, Rows(TRAIN), jnp.zeros(SEEDS), VALID.x, VALID,
        model=MODEL, objective=scaled, validate=accuracy, config=CONFIG, renew=renew,
    )  # fmt: skip
    assert [shared for _, shared in seen] == [[float(k)] * SEEDS for k in range(CONFIG.epochs - 1)]
    assert all(moved > 0 for moved, _ in seen)
    np.testing.assert_array_equal(result.loss, run().loss)


def test_members_of_an_ensemble_are_trained_as_if_alone():
    pair = ensemble(MODEL, 2)
    start = jax.vmap(lambda key, x: pair.init(key, x[:1]))(KEYS, TRAIN.x)
    # Adam does not see that a member's gradient is halved; clipping and epsilon would.
    config = FitConfig(epochs=2, batch_size=100, learning_rate=1e-3, clip_norm=None)
    together = fit(
        KEYS, start, Rows(TRAIN), None, VALID.x, VALID,
        model=pair, objective=factual, validate=lambda o, t: jnp.nan * o.r.mean(), config=config,
    )  # fmt: skip
    first = jax.tree.map(lambda leaf: leaf[:, 0], start)
    alone = run(start=first, validate=lambda o, t: jnp.nan * o.r.mean(), config=config)
    for one, other in zip(jax.tree.leaves(together.params), jax.tree.leaves(alone.params), strict=True):
        np.testing.assert_allclose(one[:, 0], other, rtol=1e-3, atol=1e-6)


def test_an_epoch_holds_a_batch_beside_the_rows_and_writes_its_state_over_the_one_before():
    n, batch = 100_000, 1000
    trainer = make_trainer(MODEL, factual, accuracy, FitConfig(batch_size=batch), n)
    compiled = all_seeds(trainer, donate=True)
    key, start, valid = (jax.tree.map(lambda leaf: leaf[:1], tree) for tree in (KEYS, START, VALID))
    state = jax.eval_shape(compiled.start, key, start, valid.x, valid, jnp.ones(1))
    rows = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, n, *leaf.shape[2:]), leaf.dtype), TRAIN)
    rows = Rows(rows._replace(p=jax.ShapeDtypeStruct(TRAIN.p[:1].shape, TRAIN.p.dtype)))
    needs = compiled.epoch.lower(state, rows, None, valid.x, valid).compile().memory_analysis()  # pyright: ignore
    assert needs.temp_size_in_bytes < _bytes(rows) / 10
    assert needs.alias_size_in_bytes >= 0.9 * _bytes(state)


def _bytes(tree) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def test_epochs_are_reported_in_order():
    seen = []
    run(on_epoch=lambda epoch, record: seen.append((epoch, record.loss.shape)))
    assert seen == [(k, (SEEDS,)) for k in range(CONFIG.epochs)]


def test_a_batch_larger_than_the_trial_is_the_whole_trial():
    assert np.isfinite(run(config=FitConfig(epochs=1, batch_size=10 * N)).loss).all()


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
        ({"clip_norm": float("inf")}, "clip_norm: found inf"),
    ],
)
def test_configurations_that_no_training_can_have_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        FitConfig(**change)


def test_prediction_in_chunks_is_prediction():
    params, x = _seed(START, 0), TRAIN.x[0]
    whole = predict(MODEL, params, x)
    chunked = predict(MODEL, params, x, chunk=64)
    # Float64 products in another blocking.
    np.testing.assert_allclose(chunked.r, whole.r, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(chunked.c, whole.c, rtol=1e-12, atol=1e-14)
