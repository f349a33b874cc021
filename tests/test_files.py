from pathlib import Path

import pytest

from dfcl_jax.files import locked, scratch_beside, scratch_file, whole_file, write_atomically


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
    with pytest.raises(OSError, match=r"^file .*/file: found no space left on device, expected a place to write to$"):
        write_atomically(tmp_path / "file", b"second")
    assert (tmp_path / "file").read_bytes() == b"first"


def test_a_lock_is_held_once_and_leaves_no_file(tmp_path: Path):
    with locked(tmp_path / "lock") as first, locked(tmp_path / "lock") as second:
        assert (first, second) == (True, False)
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "lock") as again:
        assert again


def test_whatever_a_killed_process_left_of_a_file_is_removed_and_said(tmp_path: Path):
    said, path = [], tmp_path / "plan[1].parquet"
    for left in (tmp_path / ".plan[1].parquet.partial", scratch_beside(path, "predictions.parquet")):
        left.write_text("half")
    # One of another file, and one that another process is writing.
    beside, held = scratch_beside(tmp_path / "plan", "numbers"), scratch_beside(path, "numbers")
    beside.write_text("whole")
    with scratch_file(held, said.append), whole_file(path, said.append) as partial:
        partial.write_text("plan")
        assert held.exists()
    assert {file.name for file in tmp_path.iterdir()} == {path.name, beside.name}
    assert sorted(said) == [
        f"{tmp_path}/.plan[1].parquet.partial-predictions.parquet: left by a process that was killed, so it is removed",
        f"{tmp_path}/.plan[1].parquet.partial: left by a process that was killed, so it is removed",
    ]
