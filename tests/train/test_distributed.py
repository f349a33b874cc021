"""Two real processes that speak to each other over loopback."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from dfcl_jax import Trial
from dfcl_jax.data import StreamedTrial
from tests.train import spread_program as program
from tests.train.test_mesh import PROGRAM, assert_same, environment

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Both(NamedTuple):
    """What two processes read, as one reads it: each batch is half one's rows and half the other's."""

    shares: Sequence[StreamedTrial]

    def __getattr__(self, name: str):
        """What both have alike."""
        return getattr(self.shares[0], name)

    @property
    def rows(self) -> int:
        return 2 * min(share.rows for share in self.shares)

    def batches(self, seed: int, size: int, *, buffer: int) -> Iterator[Trial]:
        halves = (share.batches(seed, size // 2, buffer=buffer) for share in self.shares)
        for one, other in zip(*halves, strict=False):
            x, t, r, c = (np.concatenate(leaves) for leaves in zip(one[:4], other[:4], strict=True))
            yield Trial(x, t, r, c, one.p)  # pyright: ignore[reportArgumentType]


def run_two(folder: Path, *how: str) -> list[tuple[int, str]]:
    """What two processes exit with, and what they say."""
    address, processes = f"127.0.0.1:{free_port()}", []
    for process in range(2):
        command = [sys.executable, str(PROGRAM), str(folder / f"{process}.npz"), address, "2", str(process), *how]
        processes.append(subprocess.Popen(command, env=environment(1), stderr=subprocess.PIPE, text=True))
    try:
        return [(process.returncode, said) for process in processes for _, said in [process.communicate(timeout=170)]]
    finally:
        for process in processes:
            process.kill()


def test_two_processes_each_with_its_own_rows_ended_and_run_again_come_to_the_fit_of_one(tmp_path):
    program.write_trial(tmp_path)
    codes, said = zip(*run_two(tmp_path, "end"), strict=True)
    assert codes[0] == -signal.SIGKILL, said
    assert [file.name for file in (tmp_path / "fit").iterdir()] == ["1"]
    assert [file.name for file in (tmp_path / "stream").iterdir()] == ["5"]
    for process in range(2):
        refused = (tmp_path / f"{process}.txt").read_text()
        assert "found by process: 1, nothing, expected one folder that all processes see" in refused
    for code, said in run_two(tmp_path):
        assert code == 0, said
    shares = Both([program.read_trial(tmp_path).share(k, 2) for k in range(2)])
    alone = program.flat("fit", program.fitted(None)) | program.flat("stream", program.streamed(None, shares))
    for process in range(2):
        with np.load(tmp_path / f"{process}.npz") as arrays:
            assert arrays["devices"] == 2
            assert arrays["epochs of fit"].tolist() == arrays["epochs of stream"].tolist() == [1]
            # Float64 sums in another order, through six Adam steps.
            assert_same(arrays, alone, "fit", rtol=1e-8, atol=1e-10)
            # And float32 sums.
            assert_same(arrays, alone, "stream", rtol=1e-4, atol=1e-5)
