import re
from contextlib import suppress
from pathlib import Path

import jax
import numpy as np
import pytest

from dfcl_jax import InputError
from dfcl_jax.report import load_fit, open_run
from dfcl_jax.report.run_folder import stage_file, write_atomically
from dfcl_jax.train import Fit

CONFIG = {"experiment": "test", "options": {"seeds": 2, "budgets": [0.1, 0.2]}}
FIT = Fit(
    params={"layer": {"kernel": np.arange(6.0).reshape(2, 3), "bias": np.ones(2, np.float32)}},
    loss=np.array([[3.0, 2.0]]),
    value=np.array([[0.5, np.nan]]),
)


class Training:
    """A stage of training that counts how often it runs."""

    def __init__(self):
        self.runs = 0

    def __call__(self) -> Fit:
        self.runs += 1
        return FIT


def _interrupted_run(out: Path, training: Training) -> None:
    with suppress(KeyboardInterrupt), open_run(out, CONFIG) as run:
        run.stored("first", training)
        raise KeyboardInterrupt


def _assert_same(one: Fit, other: Fit) -> None:
    jax.tree.map(np.testing.assert_array_equal, one._asdict(), other._asdict())


def test_the_folder_appears_only_at_the_end(tmp_path: Path):
    out = tmp_path / "runs" / "one"
    with open_run(out, CONFIG) as run:
        run.write_text("table.md", "all of it")
        assert not out.exists()
        assert run.path == tmp_path / "runs" / "one.partial"
    assert sorted(file.name for file in out.iterdir()) == ["config.json", "table.md"]
    assert (out / "table.md").read_text() == "all of it"
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize("error", [RuntimeError, InputError, KeyboardInterrupt])
def test_an_error_before_a_stage_was_stored_leaves_nothing(tmp_path: Path, error: type[BaseException]):
    def fail() -> None:
        with open_run(tmp_path / "run", CONFIG) as run:
            run.write_text("table.md", "half of it")
            raise error

    with pytest.raises(error):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_an_error_after_a_stage_was_stored_keeps_the_stage_for_a_resumed_run(tmp_path: Path):
    _interrupted_run(tmp_path / "run", Training())
    assert list(tmp_path.iterdir()) == [tmp_path / "run.partial"]
    assert stage_file(tmp_path / "run.partial", "first").is_file()


def test_a_resumed_run_takes_the_stored_stage_instead_of_training_again(tmp_path: Path):
    training = Training()
    _interrupted_run(tmp_path / "run", training)
    with open_run(tmp_path / "run", CONFIG, resume=True) as run:
        assert run.has_stage("first")
        assert not run.has_stage("second")
        _assert_same(run.stored("first", training), FIT)
        assert training.runs == 1
        run.stored("second", training)
        assert training.runs == 2
    assert list(tmp_path.iterdir()) == [tmp_path / "run"]
    for stage in ("first", "second"):
        _assert_same(load_fit(tmp_path / "run", stage), FIT)


def test_a_failed_resumed_run_can_be_resumed_again(tmp_path: Path):
    training = Training()
    _interrupted_run(tmp_path / "run", training)
    with pytest.raises(RuntimeError), open_run(tmp_path / "run", CONFIG, resume=True):
        raise RuntimeError
    with open_run(tmp_path / "run", CONFIG, resume=True) as run:
        run.stored("first", training)
    assert training.runs == 1


def test_a_run_of_another_configuration_is_not_resumed(tmp_path: Path):
    _interrupted_run(tmp_path / "run", Training())
    with (
        pytest.raises(InputError, match=r"--resume: found another configuration in .*run\.partial/config\.json"),
        open_run(tmp_path / "run", CONFIG | {"options": {"seeds": 3}}, resume=True),
    ):
        pass
    assert stage_file(tmp_path / "run.partial", "first").is_file()


def test_an_unfinished_run_is_not_overwritten(tmp_path: Path):
    _interrupted_run(tmp_path / "run", Training())
    with (
        pytest.raises(InputError, match=r"run folder: found the unfinished run .*run\.partial, expected --resume"),
        open_run(tmp_path / "run", CONFIG),
    ):
        pass
    assert stage_file(tmp_path / "run.partial", "first").is_file()


@pytest.mark.parametrize("resume", [False, True])
def test_an_existing_folder_is_refused_and_left_as_it_is(tmp_path: Path, resume: bool):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with (
        pytest.raises(InputError, match=r"run folder: found .*run, which exists, expected a new one"),
        open_run(tmp_path / "run", CONFIG, resume=resume),
    ):
        pass
    assert [file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*")] == ["run", "run/notes.txt"]


def test_writing_a_file_replaces_it_whole_and_leaves_no_other(tmp_path: Path):
    write_atomically(tmp_path / "file", b"a longer first version")
    write_atomically(tmp_path / "file", b"second")
    assert (tmp_path / "file").read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_atomically(tmp_path / "file", b"first")

    def no_space(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", no_space)
    with pytest.raises(OSError, match="no space"):
        write_atomically(tmp_path / "file", b"second")
    assert (tmp_path / "file").read_bytes() == b"first"


@pytest.mark.parametrize("damage", ["cut short", "emptied", "text instead", "one byte more"])
def test_a_damaged_checkpoint_is_refused_by_name(tmp_path: Path, damage: str):
    with open_run(tmp_path / "run", CONFIG) as run:
        run.stored("first", Training())
    file = stage_file(tmp_path / "run", "first")
    whole = file.read_bytes()
    damaged = {
        "cut short": whole[: len(whole) // 2],
        "emptied": b"",
        "text instead": b"not a checkpoint",
        "one byte more": whole + b"\x00",
    }
    file.write_bytes(damaged[damage])
    with pytest.raises(InputError, match=re.escape(f"checkpoint {file}: found unreadable bytes")):
        load_fit(tmp_path / "run", "first")


def test_a_method_that_was_not_trained_has_no_checkpoint(tmp_path: Path):
    with open_run(tmp_path / "run", CONFIG) as run:
        run.stored("first", Training())
    with pytest.raises(InputError, match=r"checkpoint: found no .*other\.msgpack, expected a method that the run"):
        load_fit(tmp_path / "run", "other")
