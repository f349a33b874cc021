import math
import threading
import time
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from dfcl_jax import InputError, losses, scores
from dfcl_jax.data import Columns, StreamedTrial, open_trial
from dfcl_jax.data.encode import Encoder
from dfcl_jax.models import mlp
from dfcl_jax.train import (
    ALL_SEEDS,
    Checkpoints,
    FitConfig,
    Rows,
    Stage,
    StageLog,
    Streamed,
    Validation,
    fit,
    make_trainer,
    predict,
)
from dfcl_jax.train.source import prefetched
from dfcl_jax.train.step import rows_at
from dfcl_jax.types import Trial

N, M, BUFFER = 2000, 2, 500
COLUMNS = Columns("t", "r", "c", features=("a", "b"), propensities=(0.5, 0.5))
MODEL = mlp(M, hidden=(8,))
CONFIG = FitConfig(epochs=2, batch_size=300, learning_rate=1e-2, chunk=64)
LAMS = jnp.array([0.3], jnp.float32)


def frame(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3)).astype(np.float32)
    t = rng.integers(0, M, n)
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "t": t, "r": x[:, 0] + t, "c": x[:, 1] * t})


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    path = tmp_path_factory.mktemp("stream")
    (path / "train").mkdir()
    for k, part in enumerate(np.array_split(np.arange(N), 3)):
        frame(N, 0).iloc[part].to_parquet(path / "train" / f"{k}.parquet", row_group_size=60)
    return open_trial(path / "train", COLUMNS)


@pytest.fixture(scope="module")
def start(trial):
    return MODEL.init(jax.random.key(1), jnp.asarray(trial.read().x[:1]))


VALID = frame(200, 1)


def valid(trial) -> Trial:
    from dfcl_jax.data import encode

    columns = VALID.t.to_numpy(), *(VALID[name].to_numpy(np.float32) for name in ("r", "c"))
    return Trial(*map(jnp.asarray, (encode(trial.encoder, VALID), *columns, trial.p)))


def accuracy(outcomes, judge):
    return -losses.prediction_loss(outcomes, judge)


def decision(outcomes, rows, shared):
    return 0.1 * losses.prediction_loss(outcomes, rows.trial) + losses.finite_difference_loss(
        outcomes, rows.extra, shared, window=1.0
    )


def scaled(outcomes, rows, shared):
    """What does not concern the loss is told by one that is quick to compile."""
    return shared.sum() * losses.prediction_loss(outcomes, rows.trial)


def prepare(trial, two_stage):
    return Rows(trial, scores.centred(trial, predict(MODEL, two_stage, trial.x)))


def run(
    trial, start, *, key=0, config=CONFIG, buffer=BUFFER, judge=None, objective=scaled, renew=None,
    on_epoch=lambda number, record: None, checkpoints=None, **how,
):  # fmt: skip
    judge = judge or valid(trial)
    by_rows = (lambda trial, _: Rows(trial)) if objective is scaled else prepare
    stage = Stage(MODEL, objective, accuracy, config, renew=renew)
    log = StageLog(on_epoch, checkpoints)
    source = Streamed(trial, by_rows, start, buffer)
    return fit(jax.random.key(key), start, source, LAMS, Validation(judge.x, judge), stage, log=log, **how)


def in_memory(trial, start):
    """The same epochs on rows in memory, in the order of the batches, each epoch one scan."""
    whole = jax.tree.map(jnp.asarray, trial.read())
    rows, judge = prepare(whole, start), valid(trial)
    validation = Validation(judge.x, judge)
    trainer = make_trainer(Stage(MODEL, decision, accuracy, CONFIG), N)
    # Everybody is known by the first feature.
    sort = np.argsort(whole.x[:, 0])
    known = np.asarray(whole.x[:, 0])[sort]
    assert len(set(known.tolist())) == N

    @jax.jit
    def epoch(state, key, order):
        step = lambda learner, index: trainer.step(learner, rows_at(rows, index), LAMS)  # noqa: E731
        learner, each = jax.lax.scan(step, state.learner, order)
        return trainer.close(state, key, learner, each.mean(), validation)

    state = trainer.start(jax.random.key(0), start, validation, jnp.ones((), jnp.float32))
    records = []
    for _ in range(CONFIG.epochs):
        key, drawn = jax.random.split(state.key)
        seed = int.from_bytes(np.asarray(jax.random.key_data(drawn)).tobytes(), "little")
        batches = [batch.x[:, 0] for batch in trial.batches(seed, trainer.size, buffer=BUFFER)]
        order = np.asarray(sort)[np.searchsorted(known, np.array(batches[: trainer.steps]))]
        state, record = epoch(state, key, jnp.asarray(order))
        records.append(record)
    return state.best, records


@pytest.mark.thorough
def test_streamed_training_is_training_in_memory_in_the_same_order(trial, start):
    result = run(trial, start, objective=decision)
    params, records = in_memory(trial, start)
    # Float32, the same sums in the same order; fused otherwise within a scan.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), result.params, params)
    np.testing.assert_allclose(result.loss, [record.loss for record in records], rtol=1e-5)
    np.testing.assert_allclose(result.value, [record.value for record in records], rtol=1e-5)
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), params, start)
    assert min(jax.tree.leaves(moved)) > 1e-3


def test_the_key_determines_the_result_bit_for_bit(trial, start):
    seen = []
    one, same, other = (run(trial, start, key=key, on_epoch=lambda *at: seen.append(at)) for key in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, one.params, same.params)
    assert (one.loss != other.loss).any()
    assert [number for number, _ in seen] == [0, 1] * 3


STEPS = -(-N // CONFIG.batch_size)
THREE = replace(CONFIG, epochs=3)


def ending(trial, after, error):
    """The trial, whose batches end with an error in its second reading, after some of them."""
    readings = iter(range(9))

    def batches(*args, **how):
        last = next(readings)
        for k, batch in enumerate(trial.batches(*args, **how)):
            if last and k == after:
                raise error
            yield batch

    ends = type("Ending", (StreamedTrial,), {"batches": lambda self, *args, **how: batches(*args, **how)})
    return ends(*trial)


def renewed(params, lams):
    """Multipliers that depend on the parameters, so that they too must come back."""
    return lams * (1 + params["params"]["Dense_0"]["bias"].sum())


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def whole(trial, start):
    """Three epochs uninterrupted, without checkpoints."""
    return run(trial, start, config=THREE, renew=renewed)


def resumable(trial, start, folder, *, seconds=0.0, config=THREE, **how):
    return run(trial, start, config=config, renew=renewed, checkpoints=Checkpoints(folder, seconds), **how)


@pytest.mark.thorough
@pytest.mark.parametrize("after", [0, 1, STEPS - 1])
@pytest.mark.parametrize(("error", "seconds"), [(RuntimeError, 0.0), (KeyboardInterrupt, math.inf)])
def test_training_that_ended_within_an_epoch_goes_on_from_the_batch(
    trial, start, whole, tmp_path, after, error, seconds
):
    with pytest.raises(error):
        resumable(ending(trial, after, error), start, tmp_path, seconds=seconds)
    assert names(tmp_path) == [str(STEPS + after)]
    seen = []
    resumed = resumable(trial, start, tmp_path, on_epoch=lambda number, record: seen.append(number))
    assert seen == [1, 2]
    assert names(tmp_path) == ["finished"]
    jax.tree.map(np.testing.assert_array_equal, resumed._asdict(), whole._asdict())


def test_a_finished_fit_is_read_and_not_trained_again(trial, start, whole, tmp_path):
    resumable(trial, start, tmp_path, seconds=math.inf)
    read = resumable(ending(trial, 0, AssertionError), start, tmp_path)
    jax.tree.map(np.testing.assert_array_equal, read._asdict(), whole._asdict())


def test_a_checkpoint_of_another_fit_is_refused_by_name(trial, start, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        resumable(ending(trial, 1, KeyboardInterrupt), start, tmp_path)
    columns = trial.encoder.columns
    scaled = trial._replace(encoder=Encoder((replace(columns[0], scale=2.0), *columns[1:])))
    # The same rows as one group fewer.
    one, other, *rest = trial.parts.groups
    fewer = trial.parts._replace(groups=(one._replace(rows=one.rows + other.rows), *rest))
    for change, difference in [
        ({"key": 1}, "other key"),
        ({"buffer": BUFFER + 1}, r"other rows\.buffer"),
        ({"trial": scaled}, r"other rows\.scaling"),
        ({"trial": trial._replace(columns=replace(COLUMNS, revenue="a"))}, r"other rows\.columns"),
        ({"trial": trial._replace(parts=fewer)}, r"other rows\.row_groups"),
        ({"config": replace(THREE, shards=2)}, "shards 1, not 2"),
        ({"trial": trial._replace(p=np.array([0.4, 0.6], np.float32))}, r"other rows\.p"),
    ]:
        with pytest.raises(InputError, match=f"found one of another fit: {difference}"):
            resumable(**{"trial": trial, "start": start, "folder": tmp_path, "judge": valid(trial)} | change)
    assert names(tmp_path) == [str(STEPS + 1)]


def test_a_value_that_turns_up_in_a_later_epoch_is_named_with_row_and_file(trial, start, tmp_path):
    bad = frame(N, 0)
    bad.loc[10, "r"] = np.nan
    bad.to_parquet(tmp_path / "bad.parquet")
    broken = open_trial(tmp_path / "bad.parquet", COLUMNS, like=trial)
    with pytest.raises(InputError, match=r"column 'r', row 11 of .*bad.parquet: found None, expected a finite number"):
        run(broken, start)


def test_several_seeds_in_one_program_are_refused(trial, start):
    with pytest.raises(InputError, match="seeds of a streamed source: found several in one program, expected one"):
        run(trial, start, seeds=ALL_SEEDS)


def test_a_loss_that_is_no_longer_finite_is_an_error(trial, start):
    broken = jax.tree.map(lambda leaf: leaf * jnp.nan, start)
    with pytest.raises(InputError, match="training loss in epoch 1: found nan"):
        run(trial, broken)


def test_the_next_items_are_made_while_one_is_used():
    made, thread = [], []

    def items():
        for k in range(5):
            made.append(k)
            thread.append(threading.current_thread())
            yield k

    stream = prefetched(items(), ahead=2)
    assert next(stream) == 0
    until = time.monotonic() + 10
    while len(made) < 3 and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.05)
    # Item 0 is in use, two are ahead of it, and no more than two.
    assert made == [0, 1, 2]
    assert list(stream) == [1, 2, 3, 4]
    assert threading.current_thread() not in thread


def test_an_error_of_the_thread_is_raised_where_items_are_used():
    def items():
        yield 0
        raise InputError("a bad row")

    stream = prefetched(items())
    assert next(stream) == 0
    with pytest.raises(InputError, match="a bad row"):
        next(stream)
