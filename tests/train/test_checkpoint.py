import json
import math
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError, Trial
from dfcl_jax.losses import prediction_loss
from dfcl_jax.models import mlp
from dfcl_jax.train import ALL_SEEDS, Checkpoints, Fit, FitConfig, Rows, Stage, StageLog, Validation, fit
from dfcl_jax.train import checkpoint as checkpoint_module

SEEDS, N, D, M = 2, 300, 3, 2
MODEL = mlp(M, hidden=(4,))
CONFIG = FitConfig(epochs=5, batch_size=50, learning_rate=1e-2)
RNG = np.random.default_rng(0)


def a_trial(n: int) -> Trial:
    x, t = RNG.normal(size=(SEEDS, n, D)), RNG.integers(0, M, (SEEDS, n))
    columns = (x, t, x[..., 0] + t, x[..., 1] * t, np.full((SEEDS, M), 1 / M))
    return Trial(*(jnp.asarray(column) for column in columns))


TRAIN, VALID = a_trial(N), a_trial(100)
KEYS = jax.random.split(jax.random.key(0), SEEDS)
START = jax.jit(jax.vmap(lambda key, x: MODEL.init(key, x[:1])))(KEYS, TRAIN.x)


def scaled(outcomes, rows, shared):
    return shared * prediction_loss(outcomes, rows.trial)


def accuracy(outcomes, trial):
    return -prediction_loss(outcomes, trial)


def run(
    folder: Path | None = None,
    *,
    keys=KEYS,
    train=TRAIN,
    config=CONFIG,
    seconds=0.0,
    of="",
    objective=scaled,
    on_epoch=lambda number, record: None,
    **how: Any,
) -> Fit:
    """A fit whose constant is renewed from the parameters, so that it too must come back."""
    log = StageLog(on_epoch, None if folder is None else Checkpoints(folder, seconds, of))
    stage = Stage(MODEL, objective, accuracy, config, renew=renewed)
    valid = Validation(VALID.x, VALID)
    return fit(keys, START, Rows(train), jnp.ones(SEEDS), valid, stage, seeds=ALL_SEEDS, log=log, **how)


def renewed(params, shared):
    return 0.9 * shared + 0.01 * params["params"]["Dense_0"]["bias"].sum(axis=1)


class Stop(Exception):
    """Something that ends a process."""


def stopped(folder: Path, after: int, error: type[BaseException] = Stop, **how) -> None:
    """A fit that `error` ends while epoch `after` + 1 is reported."""

    def on_epoch(number, record):
        if number == after:
            raise error

    with pytest.raises(error):
        run(folder, on_epoch=on_epoch, **how)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_same(one: Fit, other: Fit) -> None:
    """Bit for bit."""
    jax.tree.map(np.testing.assert_array_equal, one._asdict(), other._asdict())


@pytest.fixture(scope="module")
def whole() -> Fit:
    """The fit uninterrupted, without checkpoints."""
    return run()


@pytest.fixture(scope="module")
def at_three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a fit that ended after three epochs of five; to be copied."""
    folder = tmp_path_factory.mktemp("fits") / "fit"
    stopped(folder, 3)
    return folder


@pytest.fixture
def folder(at_three: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(at_three, tmp_path / "fit"))


def test_a_fit_resumed_is_the_fit_uninterrupted(folder: Path, whole: Fit):
    seen = []
    resumed = run(folder, on_epoch=lambda number, record: seen.append(number))
    assert seen == [3, 4]
    assert_same(resumed, whole)


def test_checkpoints_change_nothing(tmp_path: Path, whole: Fit):
    assert_same(run(tmp_path / "fit"), whole)


def test_there_is_one_checkpoint_named_by_its_epochs_and_in_the_end_the_result_alone(folder: Path):
    assert names(folder) == ["3"]
    seen = []
    run(folder, on_epoch=lambda number, record: seen.append(names(folder)))
    assert seen == [["3"], ["4"]]
    assert names(folder) == ["finished"]


def test_a_finished_fit_is_read_and_not_trained_again(tmp_path: Path, whole: Fit):
    run(tmp_path)

    def forbidden(outcomes, rows, shared):
        raise AssertionError("trained")

    assert_same(run(tmp_path, objective=forbidden), whole)


def test_an_interrupt_loses_the_epoch_in_hand_alone(tmp_path: Path, whole: Fit):
    stopped(tmp_path, 2, KeyboardInterrupt, seconds=math.inf)
    assert names(tmp_path) == ["2"]
    assert_same(run(tmp_path), whole)


def test_an_interrupt_before_the_first_epoch_is_done_keeps_nothing(tmp_path: Path):
    stopped(tmp_path, 0, KeyboardInterrupt)
    assert names(tmp_path) == []


def test_a_checkpoint_is_written_when_its_time_has_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # The clock ticks once when the fit starts, after every epoch and after every checkpoint.
    now = iter(range(100))
    monkeypatch.setattr(checkpoint_module, "time", SimpleNamespace(monotonic=lambda: next(now)))
    seen = []
    run(tmp_path / "fit", seconds=2.0, on_epoch=lambda number, record: seen.append(names(tmp_path)))
    assert (tmp_path / "fit").exists()
    assert seen == [[], [], ["fit"], ["fit"], ["fit"]]


def test_what_a_killed_process_left_of_a_checkpoint_is_removed(folder: Path, whole: Fit):
    shutil.copytree(folder / "3", folder / ".4")
    (folder / ".4" / "checkpoint.json").unlink()
    assert_same(run(folder), whole)
    assert names(folder) == ["finished"]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("to", "moved", "left"),
    [("3", False, "3"), ("3", True, "3"), ("finished", False, "5"), ("finished", True, "finished")],
)
def test_an_interrupt_within_a_write_is_an_interrupt_and_loses_nothing(
    tmp_path: Path, whole: Fit, monkeypatch: pytest.MonkeyPatch, to: str, moved: bool, left: str
):
    """Before the new checkpoint has its name, or after and before the old one is gone."""
    move, times = os.rename, iter([True])

    def interrupted(old, new):
        here = Path(new) == tmp_path / to and next(times, False)
        if moved or not here:
            move(old, new)
        if here:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.rename", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    assert left in names(tmp_path)
    assert_same(run(tmp_path), whole)


def test_what_else_is_in_the_folder_stays(folder: Path):
    (folder / ".git").mkdir()
    (folder / ".notes").write_text("mine")
    run(folder)
    assert names(folder) == [".git", ".notes", "finished"]


def test_of_two_checkpoints_the_later_counts(folder: Path, whole: Fit, tmp_path: Path):
    stopped(tmp_path / "other", 2)
    shutil.copytree(tmp_path / "other" / "2", folder / "2")
    seen = []
    assert_same(run(folder, on_epoch=lambda number, record: seen.append(number)), whole)
    assert seen == [3, 4]


@pytest.mark.parametrize("damage", ["a byte", "cut short", "gone"])
def test_a_damaged_checkpoint_is_refused_by_name_whichever_file_it_is(folder: Path, damage: str):
    checkpoint = folder / "3"
    files = [file for file in checkpoint.rglob("*") if file.is_file() and file.stat().st_size]
    assert len(files) > 5
    for file in files:
        data = file.read_bytes()
        middle = len(data) // 2
        if damage == "a byte":
            file.write_bytes(data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :])
        elif damage == "cut short":
            file.write_bytes(data[:middle])
        else:
            file.unlink()
        with pytest.raises(InputError, match=f"^checkpoint {checkpoint}: found .*, expected a checkpoint of a fit"):
            run(folder)
        file.write_bytes(data)


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"config": replace(CONFIG, epochs=6)}, "epochs 5, not 6"),
        ({"config": replace(CONFIG, learning_rate=0.1)}, r"learning_rate 0\.01, not 0\.1"),
        ({"keys": jax.random.split(jax.random.key(1), SEEDS)}, "other key"),
        ({"train": TRAIN._replace(t=1 - TRAIN.t)}, r"other rows\.trial\.t"),
        ({"train": TRAIN._replace(r=1.01 * TRAIN.r)}, r"other rows\.trial\.r"),
        ({"train": jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf], axis=1), TRAIN)}, r"other rows\.trial\.x"),
        ({"pace": 0.5}, "other pace"),
        ({"of": "another"}, "of '', not 'another'"),
    ],
)
def test_a_checkpoint_of_another_fit_is_refused_by_name(folder: Path, change, difference: str):
    with pytest.raises(InputError, match=f"checkpoint {folder / '3'}: found one of another fit: {difference}"):
        run(folder, **change)
    assert names(folder) == ["3"]


def test_numbers_that_another_machine_rounds_otherwise_are_of_the_same_fit(folder: Path):
    assert np.isfinite(run(folder, train=TRAIN._replace(r=TRAIN.r * (1 + 1e-6))).loss).all()


def test_a_folder_of_something_else_is_refused(tmp_path: Path):
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"checkpoint .*/3: found an unreadable checkpoint\.json"):
        run(tmp_path)
    contents = {"format": "somebody's", "files": {}}
    (tmp_path / "3" / "checkpoint.json").write_text(json.dumps(contents))
    with pytest.raises(InputError, match=r"checkpoint .*/3: found the format \"somebody's\""):
        run(tmp_path)
    assert (tmp_path / "3" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("seconds", [-1.0, math.nan])
def test_a_time_between_checkpoints_that_is_none_is_refused(seconds: float):
    with pytest.raises(InputError, match=f"seconds between checkpoints: found {seconds}"):
        Checkpoints("fit", seconds)


def test_a_write_that_fails_is_an_error_and_leaves_the_checkpoint_before(
    folder: Path, whole: Fit, monkeypatch: pytest.MonkeyPatch
):
    def no_space(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", no_space)
        with pytest.raises(
            OSError,
            match="found no space left on device, expected a place to write to; the one before it, 3, is intact",
        ):
            run(folder)
    assert names(folder) == ["3"]
    assert_same(run(folder), whole)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    mounted = mount and subprocess.run([mount, "-t", "tmpfs", "-o", "size=512k", "tmpfs", disk], capture_output=True)
    if not mounted or mounted.returncode != 0:
        pytest.skip("needs the right to mount a small file system")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_is_an_error_and_leaves_the_checkpoint_before(small_disk: Path, whole: Fit, capfd):
    folder, filler = small_disk / "fit", small_disk / "filler"

    def fill(number, record):
        if number == 2:
            with suppress(OSError), open(filler, "wb", buffering=0) as file:
                while True:
                    file.write(bytes(1024))

    with pytest.raises(
        OSError, match=r"^checkpoint .*/fit: found no space left on device, .* the one before it, 2, is intact"
    ):
        run(folder, on_epoch=fill)
    assert names(folder) == ["2"]
    assert capfd.readouterr() == ("", "")
    filler.unlink()
    assert_same(run(folder), whole)
