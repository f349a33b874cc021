import sys
from functools import partial

import jax
import pandas as pd
import pytest

from dfcl_jax import METHODS, InputError
from dfcl_jax.data import simulate
from dfcl_jax.report import RunConfig, command, load_fit, run_simulated
from dfcl_jax.study import StudyConfig
from dfcl_jax.train import FitConfig

STUDY = StudyConfig(warm=FitConfig(epochs=1, batch_size=200), decision=FitConfig(epochs=1, batch_size=500))
DRAW = jax.jit(partial(simulate.marketing, d=9), static_argnums=1)
ONE = {"PL-centred": METHODS["PL-centred"]}


def run(out, *, resume=False, methods=ONE, parts=(1000, 500, 1000)):
    config = RunConfig(out=out, resume=resume, seeds=2, study=STUDY)
    return run_simulated("small", config, DRAW, parts, methods, arms=("0%", "5%", "10%", "15%", "20%"))


def test_an_interrupted_run_resumed_is_the_run_uninterrupted(tmp_path, monkeypatch, capsys):
    run(tmp_path / "whole")

    def interrupted(outcomes, surfaces, constants):
        raise KeyboardInterrupt

    stopped = {"PL-centred": ONE["PL-centred"]._replace(loss=interrupted)}
    monkeypatch.setattr(sys, "argv", ["small"])
    with pytest.raises(SystemExit) as stop:
        command(lambda config: run(tmp_path / "halted", methods=stopped), RunConfig)
    assert stop.value.code == 130
    assert f"go on with --out {tmp_path / 'halted'} --resume" in capsys.readouterr().err
    assert not (tmp_path / "halted").exists()

    run(tmp_path / "halted", resume=True)
    assert "TSM-SL: taken from the earlier run" in capsys.readouterr().out
    for table in ("metrics.csv", "quality.csv", "table.md", "checkpoint/model.json"):
        assert (tmp_path / "halted" / table).read_bytes() == (tmp_path / "whole" / table).read_bytes()
    records = [pd.read_json(tmp_path / out / "record.jsonl", lines=True) for out in ("whole", "halted")]
    what = ["stage", "epoch", "loss", "value"]
    assert records[0][what].to_dict() == records[1][what].to_dict()
    assert records[0][["stage", "epoch"]].to_numpy().tolist() == [["TSM-SL", 1], ["PL-centred", 1]]

    with pytest.raises(SystemExit) as done:
        run(tmp_path / "halted", resume=True)
    assert done.value.code == 0
    assert "is complete" in capsys.readouterr().out


def test_a_part_without_people_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(InputError, match=r"people for training, validation and test: found \(1000, 500, 0\)"):
        run(tmp_path / "run", parts=(1000, 500, 0))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (
            ["--tensorboard"],
            'tensorboard: found no package tensorboardX, expected it: pip install "dfcl-jax[tensorboard]"',
        ),
        (["--checkpoint-seconds", "-1"], "seconds between checkpoints: found -1.0, expected at least 0"),
    ],
)
def test_options_that_cannot_be_met_are_refused_before_any_work(monkeypatch, capsys, options, error):
    monkeypatch.setattr("dfcl_jax.train.record.find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["small", *options])
    with pytest.raises(SystemExit) as stop:
        command(lambda config: pytest.fail("started"), RunConfig)
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"error: {error}\n"


def test_a_full_disk_ends_in_two_lines_and_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    def no_space(descriptor):
        raise OSError(28, "No space left on device")

    def full_after_the_first_stage(outcomes, surfaces, constants):
        monkeypatch.setattr("os.fsync", no_space)
        return ONE["PL-centred"].loss(outcomes, surfaces, constants)

    methods = {"PL-centred": ONE["PL-centred"]._replace(loss=full_after_the_first_stage)}
    monkeypatch.setattr(sys, "argv", ["small"])
    with pytest.raises(SystemExit) as stop:
        command(lambda config: run(tmp_path / "run", methods=methods), RunConfig)
    assert stop.value.code == 2
    ended, error = capsys.readouterr().err.splitlines()
    assert ended == f"ended: go on with --out {tmp_path / 'run'} --resume, or start anew without it"
    assert error.startswith(
        f"error: checkpoint {tmp_path / 'run.partial' / 'checkpoint' / 'PL-centred'}: found no space"
    )
    assert load_fit(tmp_path / "run.partial", "TSM-SL").loss.shape == (1, 2)
