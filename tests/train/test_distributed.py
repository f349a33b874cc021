"""Two real processes that speak to each other over loopback."""

import socket
import subprocess
import sys

import numpy as np

from tests.train import spread_program as program
from tests.train.test_mesh import PROGRAM, assert_same, environment


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_a_fit_of_two_processes_each_with_its_own_rows_is_the_fit_of_one(tmp_path):
    address, processes = f"127.0.0.1:{free_port()}", []
    for process in range(2):
        command = [sys.executable, str(PROGRAM), str(tmp_path / f"{process}.npz"), address, "2", str(process)]
        processes.append(subprocess.Popen(command, env=environment(1), stderr=subprocess.PIPE, text=True))
    try:
        for process in processes:
            _, errors = process.communicate(timeout=170)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
    alone = program.flat("fit", program.fitted(None))
    for process in range(2):
        with np.load(tmp_path / f"{process}.npz") as arrays:
            assert arrays["devices"] == 2
            # Float64 sums in another order, through six Adam steps.
            assert_same(arrays, alone, "fit", rtol=1e-8, atol=1e-10)
