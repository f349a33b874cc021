import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboardX.proto import event_pb2

from dfcl_jax import InputError
from dfcl_jax.train import Epoch, Record, RecordFile, TensorBoard, watch


def an_epoch(stage: str, epoch: int, loss: float = 1.0) -> Epoch:
    return Epoch(stage, epoch, np.array([loss, 2.0]), np.array([0.5, -np.inf]), 0.1, 3000.0, 10**9)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_has_everything_of_its_epoch_and_null_where_there_is_no_value(tmp_path: Path):
    RecordFile(tmp_path / "record.jsonl")(an_epoch("first", 1))
    assert lines(tmp_path / "record.jsonl") == [
        {
            "stage": "first",
            "epoch": 1,
            "loss": [1.0, 2.0],
            "value": [0.5, None],
            "seconds": 0.1,
            "rows_per_second": 3000.0,
            "memory": 10**9,
        }
    ]


def test_epochs_that_are_run_again_take_the_place_of_their_lines(tmp_path: Path):
    path = tmp_path / "record.jsonl"
    killed = RecordFile(path)
    for stage, epoch in (("first", 1), ("first", 2), ("second", 1), ("second", 2), ("second", 3)):
        killed(an_epoch(stage, epoch))
    with open(path, "a") as file:
        file.write('{"stage": "second", "epo')
    resumed = RecordFile(path)
    for epoch in (2, 3, 4):
        resumed(an_epoch("second", epoch, loss=7.0))
    assert [(line["stage"], line["epoch"], line["loss"][0]) for line in lines(path)] == [
        ("first", 1, 1.0),
        ("first", 2, 1.0),
        ("second", 1, 1.0),
        ("second", 2, 7.0),
        ("second", 3, 7.0),
        ("second", 4, 7.0),
    ]


def test_observers_see_epochs_from_one_with_their_time_and_memory():
    first, second = [], []
    on_epoch = watch("stage", 600, first.append, second.append)
    on_epoch(0, Record(np.ones(2), np.zeros(2)))  # type: ignore[arg-type]
    on_epoch(1, Record(np.ones(2), np.zeros(2)))  # type: ignore[arg-type]
    assert [(epoch.stage, epoch.epoch) for epoch in first] == [("stage", 1), ("stage", 2)]
    assert second == first
    for epoch in first:
        assert epoch.rows_per_second * epoch.seconds == pytest.approx(600, rel=1e-12)
        # More than Python alone holds, less than there is.
        assert 2**25 < epoch.memory < 2**45


def events(folder: Path) -> list[Any]:
    """The events of one folder: length, checksum, event, checksum, and so on."""
    found = []
    for file in sorted(folder.iterdir()):
        data = file.read_bytes()
        while data:
            length = struct.unpack("<Q", data[:8])[0]
            found.append(event_pb2.Event.FromString(data[12 : 12 + length]))  # type: ignore[attr-defined]
            data = data[16 + length :]
    return found


def test_tensorboard_has_a_curve_for_each_seed_and_shows_epochs_run_again_once(tmp_path: Path):
    killed, resumed = TensorBoard(tmp_path), TensorBoard(tmp_path)
    for epoch in (1, 2, 3):
        killed(an_epoch("stage", epoch))
    killed.close()
    resumed(an_epoch("stage", 3, loss=7.0))
    resumed.close()
    assert [path.name for path in tmp_path.iterdir()] == ["stage"]
    shown: dict[tuple[str, int], float] = {}
    for event in events(tmp_path / "stage"):
        if event.session_log.status == event.session_log.START:
            shown = {at: value for at, value in shown.items() if at[1] < event.step}
        for scalar in event.summary.value:
            assert (scalar.tag, event.step) not in shown
            shown[scalar.tag, event.step] = scalar.simple_value
    assert [shown["loss/seed_0", epoch] for epoch in (1, 2, 3)] == [1.0, 1.0, 7.0]
    assert {tag for tag, _ in shown} == {"loss/seed_0", "loss/seed_1", "value/seed_0", "rows_per_second", "memory"}


def test_without_its_package_tensorboard_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dfcl_jax.train.record.find_spec", lambda name: None)
    with pytest.raises(InputError, match="tensorboard: found no package tensorboardX, expected it: pip install"):
        TensorBoard(tmp_path)
