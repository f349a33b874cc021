import re
import shutil
from contextlib import suppress
from pathlib import Path

import jax
import numpy as np
import pytest

from dfcl_jax import InputError
from dfcl_jax.report import RunFolder, load_fit, open_run
from dfcl_jax.train import Fit, FitConfig
from dfcl_jax.train.checkpoint import Keeper

CONFIG = {"experiment": "test", "options": {"seeds": 2, "budgets": [0.1, 0.2]}}
FIT = Fit(
    params={"layer": {"kernel": np.arange(6.0).reshape(2, 3), "bias": np.ones(2, np.float32)}},
    loss=np.array([[3.0, 2.0]]),
    value=np.array([[0.5, np.nan]]),
)


ARGUMENTS = (jax.random.split(jax.random.key(0), 2), FIT.params, None, None, np.ones(2), None, None)


def keep(run: RunFolder, stage: str) -> None:
    """Finish a stage."""
    with Keeper(run.checkpoints(stage), FitConfig(), ARGUMENTS) as keeper:
        keeper.finish(FIT)


def _interrupted_run(out: Path) -> None:
    with suppress(KeyboardInterrupt), open_run(out, CONFIG) as run:
        keep(run, "first")
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


def test_an_error_after_a_stage_was_kept_keeps_the_stage_for_a_resumed_run(tmp_path: Path):
    _interrupted_run(tmp_path / "run")
    assert list(tmp_path.iterdir()) == [tmp_path / "run.partial"]
    _assert_same(load_fit(tmp_path / "run.partial", "first"), FIT)


def test_a_resumed_run_has_the_stages_of_the_earlier_and_its_own(tmp_path: Path):
    _interrupted_run(tmp_path / "run")
    with open_run(tmp_path / "run", CONFIG, resume=True) as run:
        assert run.has_stage("first")
        assert not run.has_stage("second")
        keep(run, "second")
    assert list(tmp_path.iterdir()) == [tmp_path / "run"]
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == ["checkpoint", "config.json"]
    for stage in ("first", "second"):
        _assert_same(load_fit(tmp_path / "run", stage), FIT)


def test_a_failed_resumed_run_can_be_resumed_again(tmp_path: Path):
    _interrupted_run(tmp_path / "run")
    with pytest.raises(RuntimeError), open_run(tmp_path / "run", CONFIG, resume=True):
        raise RuntimeError
    with open_run(tmp_path / "run", CONFIG, resume=True) as run:
        assert run.has_stage("first")


def test_two_processes_do_not_resume_one_run(tmp_path: Path):
    _interrupted_run(tmp_path / "run")
    with open_run(tmp_path / "run", CONFIG, resume=True) as run:
        with (
            pytest.raises(InputError, match=r"--resume: found another process that writes to .*run\.partial"),
            open_run(tmp_path / "run", CONFIG, resume=True),
        ):
            pass
        keep(run, "second")
    assert (tmp_path / "run").exists()


def test_a_run_under_way_is_not_resumed_beside_it(tmp_path: Path):
    with open_run(tmp_path / "run", CONFIG):
        with (
            pytest.raises(InputError, match=r"--resume: found another process that writes to .*run\.partial"),
            open_run(tmp_path / "run", CONFIG, resume=True),
        ):
            pass
        assert (tmp_path / "run.partial").exists()


def test_a_run_of_another_configuration_is_not_resumed(tmp_path: Path):
    _interrupted_run(tmp_path / "run")
    with (
        pytest.raises(InputError, match=r"--resume: found another configuration in .*run\.partial/config\.json"),
        open_run(tmp_path / "run", CONFIG | {"options": {"seeds": 3}}, resume=True),
    ):
        pass
    assert load_fit(tmp_path / "run.partial", "first")


def test_an_unfinished_run_is_not_overwritten(tmp_path: Path):
    _interrupted_run(tmp_path / "run")
    with (
        pytest.raises(InputError, match=r"run folder: found the unfinished run .*run\.partial, expected --resume"),
        open_run(tmp_path / "run", CONFIG),
    ):
        pass
    assert load_fit(tmp_path / "run.partial", "first")


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


def test_a_checkpoint_that_another_run_wrote_is_refused(tmp_path: Path):
    _interrupted_run(tmp_path / "run")
    with open_run(tmp_path / "other", CONFIG | {"experiment": "another"}) as other:
        keep(other, "first")
        keep(other, "second")
    moved = tmp_path / "run.partial" / "checkpoint"
    for stage, source in (("first", "first"), ("third", "second")):
        shutil.rmtree(moved / stage, ignore_errors=True)
        shutil.copytree(tmp_path / "other" / "checkpoint" / source, moved / stage)
        with suppress(KeyboardInterrupt), open_run(tmp_path / "run", CONFIG, resume=True) as run:
            keeper = Keeper(run.checkpoints(stage), FitConfig(), ARGUMENTS)
            with pytest.raises(
                InputError, match=f"checkpoint .*{stage}/finished: found one of another fit: of '{source}"
            ):
                keeper.finished(lambda: FIT)
            raise KeyboardInterrupt


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path: Path):
    with open_run(tmp_path / "run", CONFIG) as run:
        keep(run, "first")
    folder = tmp_path / "run" / "checkpoint" / "first" / "finished"
    file = next(file for file in sorted((folder / "arrays").rglob("*")) if file.is_file())
    file.write_bytes(file.read_bytes()[:-1])
    name = re.escape(str(file.relative_to(folder)))
    with pytest.raises(InputError, match=f"checkpoint {re.escape(str(folder))}: found a damaged {name}"):
        load_fit(tmp_path / "run", "first")


def test_a_method_that_was_not_trained_has_no_checkpoint(tmp_path: Path):
    with open_run(tmp_path / "run", CONFIG) as run:
        keep(run, "first")
    with pytest.raises(InputError, match=r"checkpoint: found no finished .*other, expected a method that the run"):
        load_fit(tmp_path / "run", "other")
