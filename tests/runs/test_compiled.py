import os
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

from dfcl_jax.runs.compiled import keep_compiled, kind_of_machine

NAMES = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")


@pytest.fixture
def _nothing_given() -> Iterator[None]:
    """As in a process that was told nothing of compiled programs."""
    before = {name: getattr(jax.config, name) for name in NAMES}
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.mark.usefixtures("_nothing_given")
def test_programs_are_kept_in_the_users_cache_folder_by_release_and_processor(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "dfcl_jax" / kind_of_machine()
    assert keep_compiled() == folder
    assert folder.is_dir()
    assert jax.config.jax_compilation_cache_dir == str(folder)  # pyright: ignore


@pytest.mark.usefixtures("_nothing_given")
@pytest.mark.parametrize("given", ["", "relative/path"])
def test_without_a_valid_variable_it_is_the_one_in_the_home_folder(tmp_path, monkeypatch, given):
    monkeypatch.setenv("XDG_CACHE_HOME", given)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert keep_compiled() == tmp_path / ".cache" / "dfcl_jax" / kind_of_machine()


def test_a_folder_that_jax_was_given_stays(tmp_path, monkeypatch):
    before = jax.config.jax_compilation_cache_dir  # pyright: ignore
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert before
    assert keep_compiled() is None
    assert jax.config.jax_compilation_cache_dir == before  # pyright: ignore
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("_nothing_given")
def test_where_nothing_can_be_written_programs_are_compiled_anew(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert keep_compiled() is None
    assert not jax.config.jax_compilation_cache_dir  # pyright: ignore


@pytest.mark.usefixtures("_nothing_given")
def test_the_programs_used_longest_ago_make_room(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for age, name in enumerate(("new", "middle", "old")):
        path: Path = tmp_path / "dfcl_jax" / "another kind" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(100))
        os.utime(path, (1e9 - age, 1e9 - age))
    keep_compiled(most_bytes=250)
    assert {path.name for path in (tmp_path / "dfcl_jax" / "another kind").iterdir()} == {"new", "middle"}
