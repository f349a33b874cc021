import sys
from functools import partial

import jax
import pandas as pd
import pytest

from dfcl_jax import METHODS, InputError
from dfcl_jax.data import simulate
from dfcl_jax.report import RunConfig, command, run_simulated
from dfcl_jax.study import StudyConfig
from dfcl_jax.train import FitConfig, RecordFile

STUDY = StudyConfig(warm=FitConfig(epochs=1, batch_size=200), decision=FitConfig(epochs=3, batch_size=500))
DRAW = jax.jit(partial(simulate.marketing, d=9), static_argnums=1)
ONE = {"PL-centred": METHODS["PL-centred"]}


def run(out, *, resume=False, methods=ONE, parts=(1000, 500, 1000)):
    config = RunConfig(out=out, resume=resume, seeds=2, study=STUDY)
    return run_simulated("small", config, DRAW, parts, methods, arms=("0%", "5%", "10%", "15%", "20%"))


@pytest.mark.slow
def test_an_interrupted_run_resumed_is_the_run_uninterrupted(compiled_once, tmp_path, monkeypatch, capsys):
    run(tmp_path / "whole")

    def interrupted(record, epoch):
        if (epoch.stage, epoch.epoch) == ("PL-centred", 3):
            raise KeyboardInterrupt
        write(record, epoch)

    write = RecordFile.__call__
    monkeypatch.setattr(sys, "argv", ["small"])
    monkeypatch.setattr(RecordFile, "__call__", interrupted)
    with pytest.raises(SystemExit) as stop:
        command(lambda config: run(tmp_path / "halted"), RunConfig)
    assert stop.value.code == 130
    assert f"go on with --out {tmp_path / 'halted'} --resume" in capsys.readouterr().err
    assert not (tmp_path / "halted").exists()

    monkeypatch.setattr(RecordFile, "__call__", write)
    run(tmp_path / "halted", resume=True)
    said = capsys.readouterr().out
    assert "TSM-SL: taken from the earlier run" in said
    assert "PL-centred: goes on after epoch 2 of the earlier run" in said
    for table in ("metrics.csv", "quality.csv", "table.md", "checkpoint/model.json"):
        assert (tmp_path / "halted" / table).read_bytes() == (tmp_path / "whole" / table).read_bytes()
    records = [pd.read_json(tmp_path / out / "record.jsonl", lines=True) for out in ("whole", "halted")]
    what = ["stage", "epoch", "loss", "value"]
    assert records[0][what].to_dict() == records[1][what].to_dict()
    assert records[0][["stage", "epoch"]].to_numpy().tolist() == [
        ["TSM-SL", 1],
        *(["PL-centred", k] for k in (1, 2, 3)),
    ]

    with pytest.raises(SystemExit) as done:
        run(tmp_path / "halted", resume=True)
    assert done.value.code == 0
    assert "is complete" in capsys.readouterr().out


def test_a_part_without_people_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(InputError, match=r"people for training, validation and test: found \(1000, 500, 0\)"):
        run(tmp_path / "run", parts=(1000, 500, 0))
    assert list(tmp_path.iterdir()) == []
