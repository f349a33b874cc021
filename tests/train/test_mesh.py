"""Rows spread over eight devices, in a process of its own: there JAX is told to see eight in one CPU."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from dfcl_jax import InputError
from dfcl_jax.losses import prediction_loss
from dfcl_jax.train import FitConfig, Stage, Validation, fit
from tests.train import spread_program as program

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PROGRAM = Path(program.__file__)


def environment(devices: int) -> dict[str, str]:
    return os.environ | {
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": "1",
    }


@pytest.fixture(scope="module")
def spread(tmp_path_factory) -> dict[str, np.ndarray]:
    out = tmp_path_factory.mktemp("mesh") / "spread.npz"
    program.write_trial(out.parent)
    command = [sys.executable, str(PROGRAM), str(out)]
    done = subprocess.run(command, env=environment(8), capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    with np.load(out) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def alone() -> dict[str, np.ndarray]:
    return program.flat("fit", program.fitted(None)) | program.gradients(None) | program.plans(None)


def assert_same(spread, alone, name: str, *, to: str | None = None, **tolerance):
    leaves = [key for key in alone if key.startswith(f"{name}.")]
    assert leaves
    for key in leaves:
        np.testing.assert_allclose(spread[key.replace(name, to or name, 1)], alone[key], **tolerance)


def test_a_fit_on_eight_devices_or_two_is_the_fit_on_one(spread, alone):
    assert spread["devices"] == 8
    # Float64 sums in another order, through six Adam steps.
    assert_same(spread, alone, "fit", rtol=1e-8, atol=1e-10)
    assert_same(spread, alone, "fit", to="fit on two", rtol=1e-8, atol=1e-10)


def test_a_stream_spread_over_eight_devices_is_the_stream_on_one(spread, tmp_path):
    program.write_trial(tmp_path)
    alone = program.flat("stream", program.streamed(None, program.read_trial(tmp_path)))
    # Float32 sums in another order, through six Adam steps.
    assert_same(spread, alone, "stream", rtol=1e-4, atol=1e-5)


def test_losses_and_gradients_of_every_kind_are_those_of_the_whole_batch(spread, alone):
    # Float64 sums in another order, of gradients below 1 taken off parameters of that size.
    assert_same(spread, alone, "gradients", rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", ["plan", "plan by path", "path", "eom", "value"])
def test_solvers_and_metrics_of_spread_rows_are_those_of_rows_on_one_device(spread, alone, name):
    # Means over people are sums in another order.
    assert_same(spread, alone, name, rtol=1e-12, atol=0)


def test_a_study_spread_over_devices_is_the_study_on_one(spread):
    # Float32 sums in another order, through twelve Adam steps.
    assert_same(spread, program.flat("study", program.studied(1)), "study", rtol=1e-3, atol=1e-5)


def test_hypergradients_of_spread_people_are_those_of_people_on_one_device(spread):
    # Float64 sums in another order; five steps of conjugate gradients at conditions below 100.
    assert_same(spread, program.hypergradients(None), "hypergradients", rtol=1e-9, atol=1e-13)


def test_bilevel_training_spread_over_devices_is_that_on_one(spread):
    # Float32 sums in another order, through six Adam steps of the target and three of the bridge.
    assert_same(spread, program.flat("two levels", program.two_levels(1)), "two levels", rtol=1e-3, atol=1e-5)


def test_every_batch_has_equally_many_rows_of_each_shard_and_an_epoch_has_every_row():
    seen = []

    def spy(outcomes, rows, shared):
        jax.debug.callback(lambda x: seen.append(np.asarray(x)), rows.trial.x[:, 0])
        return prediction_loss(outcomes, rows.trial)

    rows, valid = jax.tree.map(lambda leaf: leaf[0], (program.ROWS, program.VALID.trial))
    x = jnp.arange(program.N, dtype=float)[:, None] + jnp.zeros((1, program.D))
    rows = rows._replace(trial=rows.trial._replace(x=x))
    key = jax.random.key(0)
    stage = Stage(program.MODEL, spy, program.accuracy, FitConfig(epochs=1, batch_size=96, shards=4))
    fit(key, program.MODEL.init(key, x[:1]), rows, None, Validation(valid.x, valid), stage)
    jax.effects_barrier()
    assert [np.bincount((batch // 120).astype(int)).tolist() for batch in seen] == [[24] * 4] * 5
    assert len(set(np.concatenate(seen))) == program.N


def config(**change) -> FitConfig:
    return FitConfig(**({"batch_size": 160, "shards": None} | change))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"config": config(batch_size=100, shards=8)}, "shards: found 8 parts of the rows, expected a number that div"),
        ({"config": config(batch_size=140, shards=7)}, "rows: found 480, expected a multiple of 7"),
    ],
)
def test_shards_that_do_not_divide_batches_or_rows_are_refused(how, message):
    with pytest.raises(InputError, match=message):
        program.fitted(None, **how)


def test_a_mesh_that_does_not_divide_the_batch_is_refused():
    from dfcl_jax.train.trainer import _check_shards

    with pytest.raises(InputError, match="mesh: found 8 parts of the rows, expected a number that divides batch_size"):
        _check_shards(8, 8, batch_size=100, n=480)
    with pytest.raises(InputError, match="mesh: found 3 devices, expected a number that divides the 8 shards"):
        _check_shards(8, 3, batch_size=160, n=480)
    with pytest.raises(InputError, match="shards: found 0, expected at least 1"):
        config(shards=0)


def test_a_mesh_with_another_axis_is_refused():
    with pytest.raises(InputError, match=r"mesh: found axes \('model',\), expected the axis 'data' alone"):
        program.fitted(Mesh(np.array(jax.devices()[:1]), ("model",)))
