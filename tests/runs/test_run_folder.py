import json
from pathlib import Path

import jax
import pandas as pd
import pytest

from dfcl_jax import InputError, TwoStage
from dfcl_jax.data import simulate, split_simulation
from dfcl_jax.models import NetworkConfig
from dfcl_jax.runs import FolderConfig, Run, open_run
from dfcl_jax.train import FitConfig

METHOD = TwoStage(NetworkConfig(hidden=(4,)), training=FitConfig(epochs=1, batch_size=100))


def begun(out: Path, **data: object) -> Run:
    with open_run("test", FolderConfig(out=out), **data) as run:
        run.write_table("values", pd.DataFrame({"a": [1]}))
    return run


def files(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def test_a_run_leaves_its_configuration_and_its_files_alone(tmp_path):
    begun(tmp_path / "deep" / "run", rows=3)
    assert files(tmp_path) == {"deep/run/config.json", "deep/run/values.csv"}
    kept = json.loads((tmp_path / "deep" / "run" / "config.json").read_text())
    assert (kept["experiment"], kept["data"]) == ("test", {"rows": 3})
    assert "out" not in kept["options"]


@pytest.mark.parametrize("error", [RuntimeError, InputError, KeyboardInterrupt])
def test_an_error_before_a_cell_was_kept_leaves_nothing(tmp_path, error):
    def fail():
        with open_run("test", FolderConfig(out=tmp_path / "run")) as run:
            run.write_text("table.md", "half of it")
            raise error

    with pytest.raises(error):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_table_outlives_an_error_and_a_picture_that_cannot_be_drawn_costs_nothing(tmp_path, capsys):
    def picture() -> None:
        raise ValueError("no font")

    def fail():
        with open_run("test", FolderConfig(out=tmp_path / "run")) as run:
            run.write_table("values", pd.DataFrame({"a": [1]}))
            run.draw(picture)
            run.write_text("table.md", "all of it")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert files(tmp_path) == {"run/config.json", "run/values.csv", "run/table.md"}
    said = capsys.readouterr()
    assert "A picture could not be drawn (ValueError: no font)" in said.out
    assert "goes on from here" in said.err


@pytest.mark.thorough
def test_what_was_trained_outlives_an_error_and_is_gone_on_with(tmp_path, capsys):
    trial = jax.jit(simulate.marketing, static_argnums=1)(jax.random.key(0), 600)
    split = split_simulation(trial, 300, 100, budgets=(0.05,))
    config = FolderConfig(out=tmp_path / "run")

    def fail():
        with open_run("test", config) as run:
            run.cells().train("TSM-SL", METHOD, jax.random.key(0), [split.task])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert f"the same command with --out {tmp_path / 'run'} goes on from here" in capsys.readouterr().err
    with open_run("test", config) as run:
        run.cells().train("TSM-SL", METHOD, jax.random.key(0), [split.task])
    said = capsys.readouterr().out
    assert "TSM-SL, seed 0: taken from the earlier run" in said
    assert "epochs in" not in said


def test_what_is_fixed_stays_what_it_was_when_the_folder_was_made(tmp_path):
    for offered in ([0.1, 0.2], [0.3]):
        with open_run("test", FolderConfig(out=tmp_path / "run")) as run:
            assert run.fixed("budgets", lambda offered=offered: offered) == [0.1, 0.2]


def test_two_processes_do_not_write_to_one_run(tmp_path):
    with open_run("test", FolderConfig(out=tmp_path / "run")):
        with (
            pytest.raises(InputError, match=r"run folder: found another process that writes to .*run"),
            open_run("test", FolderConfig(out=tmp_path / "run")),
        ):
            pass
        assert (tmp_path / "run").exists()


@pytest.mark.parametrize(("what", "change"), [("experiment", {"name": "other"}), ("data", {"rows": 4})])
def test_a_run_of_another_kind_is_refused_and_left_as_it_is(tmp_path, what, change):
    begun(tmp_path / "run", rows=3)
    before = (tmp_path / "run" / "config.json").read_text()
    name, rows = change.get("name", "test"), change.get("rows", 3)
    with (
        pytest.raises(InputError, match=f"run folder .*run: found a run of another {what}, expected a new one"),
        open_run(name, FolderConfig(out=tmp_path / "run"), rows=rows),
    ):
        pass
    assert (tmp_path / "run" / "config.json").read_text() == before


def test_a_run_that_was_killed_before_it_wrote_anything_is_begun_anew(tmp_path):
    (tmp_path / "run").mkdir()
    for left in ("lock", ".config.json.partial"):
        (tmp_path / "run" / left).touch()
    begun(tmp_path / "run")
    assert {"run/config.json", "run/values.csv"} <= files(tmp_path)


def test_a_folder_that_is_no_run_is_refused_and_left_as_it_is(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with (
        pytest.raises(InputError, match=r"run folder: found .*run, which is not a run's, expected a new one"),
        open_run("test", FolderConfig(out=tmp_path / "run")),
    ):
        pass
    assert files(tmp_path) == {"run/notes.txt"}


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    begun(Path("~/run"))
    assert (tmp_path / "run" / "values.csv").is_file()
