from pathlib import Path

import pytest

from dfcl_jax.files import locked, write_atomically


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
