import sys
from pathlib import Path

import numpy as np
import pytest

from dfcl_jax import InputError
from dfcl_jax.report import RunConfig, command, experiment
from dfcl_jax.report.run_folder import stage_folder
from dfcl_jax.train.checkpoint_folder import FINISHED, write_checkpoint


def ended_by(error: BaseException, out: Path, monkeypatch: pytest.MonkeyPatch, *, kept: bool) -> int:
    """The exit code of an experiment that ends so, with or without a stage that it finished."""

    def main(config: RunConfig) -> None:
        with experiment("test", config) as run:
            if kept:
                write_checkpoint(stage_folder(run.path, "first"), FINISHED, np.ones(1), {})
            raise error

    monkeypatch.setattr(sys, "argv", ["test", "--out", str(out)])
    with pytest.raises(SystemExit) as stop:
        command(main, RunConfig)
    assert isinstance(stop.value.code, int)
    return stop.value.code


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted: {how}\n"),
        (OSError("checkpoint there: found no space"), 2, "ended: {how}\nerror: checkpoint there: found no space\n"),
        (InputError("seeds: found 0"), 2, "error: seeds: found 0\n"),
    ],
)
@pytest.mark.parametrize("kept", [True, False])
def test_what_ends_a_run_is_said_and_how_to_go_on_if_there_is_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, error: BaseException, code: int, said: str, kept: bool
):
    assert ended_by(error, tmp_path / "run", monkeypatch, kept=kept) == code
    how = f"go on with --out {tmp_path / 'run'} --resume, or start anew without it" if kept else "nothing to go on with"
    assert capsys.readouterr().err == said.format(how=how)
    # A resumed run would end at the same bad input.
    assert (tmp_path / "run.partial").exists() == (kept and not isinstance(error, InputError))


def test_options_that_cannot_be_met_are_refused_before_any_work(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dfcl_jax.train.record.find_spec", lambda name: None)
    with pytest.raises(InputError, match="tensorboard: found no package tensorboardX, expected it: pip install"):
        RunConfig(tensorboard=True)
    with pytest.raises(InputError, match=r"seconds between checkpoints: found -1\.0, expected at least 0"):
        RunConfig(checkpoint_seconds=-1.0)
