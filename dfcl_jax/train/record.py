"""The record of a fit: loss and validation value of each epoch, as lines of JSON and for TensorBoard."""

import json
import resource
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from dfcl_jax.errors import refuse
from dfcl_jax.files import append_line, write_atomically
from dfcl_jax.train.stage import Record


class Epoch(NamedTuple):
    """One epoch of s seeds."""

    stage: str
    epoch: int  # from 1
    loss: np.ndarray  # [s] mean over the epoch's batches
    value: np.ndarray  # [s] validation value after the epoch; -inf if it is not defined
    seconds: float  # the first epoch of a process includes compilation
    rows_per_second: float  # of all seeds together
    memory: int  # peak memory in bytes, see `peak_memory`


def watch(stage: str, rows: int, *observers: Callable[[Epoch], None]) -> Callable[[int, Record], None]:
    """Make a function for `StageLog.on_epoch` that shows each epoch, with its time and memory, to observers.

    Args:
        stage: a name of the fit.
        rows: of an epoch, of all seeds together.
        observers: what to call: a `RecordFile`, a `TensorBoard`, a function. Only the first of several processes calls
            them.
    """
    last = time.perf_counter()

    def on_epoch(number: int, record: Record) -> None:
        nonlocal last
        if jax.process_index() > 0:
            return
        now = time.perf_counter()
        took, last = now - last, now
        epoch = Epoch(
            stage=stage,
            epoch=number + 1,
            loss=np.asarray(record.loss),
            value=np.asarray(record.value),
            seconds=took,
            rows_per_second=rows / took,
            memory=peak_memory(),
        )
        for observe in observers:
            observe(epoch)

    return on_epoch


def peak_memory() -> int:
    """Peak memory of the first accelerator in bytes, or of this process if the backend does not report it."""
    statistics = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in statistics:
        return statistics["peak_bytes_in_use"]
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class RecordFile:
    """A file of JSON lines, one for each epoch of each stage; `pandas.read_json(path, lines=True)` reads it as a table.

    If a resumed fit runs an epoch again, the new line replaces the old one.
    """

    def __init__(self, path: str | Path):
        self._path = Path(path)
        self._stage: str | None = None

    def __call__(self, epoch: Epoch) -> None:
        """Write the line of an epoch."""
        if epoch.stage != self._stage:
            self._drop_from(epoch)
            self._stage = epoch.stage
        fields = epoch._asdict() | {"loss": _numbers(epoch.loss), "value": _numbers(epoch.value)}
        append_line(self._path, json.dumps(fields))

    def _drop_from(self, epoch: Epoch) -> None:
        """Drop what a killed process wrote: epochs of the stage after its last checkpoint, and an incomplete line."""
        if not self._path.exists():
            return
        kept = []
        for line in self._path.read_text(encoding="utf-8").splitlines(keepends=True):
            fields = json.loads(line) if line.endswith("\n") else None
            if fields and not (fields["stage"] == epoch.stage and fields["epoch"] >= epoch.epoch):
                kept.append(line)
        write_atomically(self._path, "".join(kept).encode())


def _numbers(values: np.ndarray) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in np.ravel(values)]


def check_tensorboard() -> None:
    """Refuse if the writer of TensorBoard is not installed."""
    if find_spec("tensorboardX") is None:
        refuse("tensorboard", found="no package tensorboardX", expected='it: pip install "dfcl-jax[tensorboard]"')


class TensorBoard:
    """Curves of each seed for TensorBoard, one folder for each stage; needs the extra `tensorboard`.

    Raises:
        InputError: tensorboardX is not installed.
    """

    def __init__(self, folder: str | Path):
        check_tensorboard()
        self._folder = Path(folder)
        self._stage: str | None = None
        self._writer: Any = None

    def __call__(self, epoch: Epoch) -> None:
        """Write the points of an epoch."""
        from tensorboardX import SummaryWriter

        if epoch.stage != self._stage:
            self.close()
            # TensorBoard drops older points from this epoch on, which a resumed fit writes again.
            again = epoch.epoch if epoch.epoch > 1 else None
            name = f".from-{epoch.epoch}"  # the rest of the file name is the time in seconds
            self._writer = SummaryWriter(str(self._folder / epoch.stage), purge_step=again, filename_suffix=name)
            self._stage = epoch.stage
        for name in ("loss", "value"):
            for seed, number in enumerate(_numbers(getattr(epoch, name))):
                if number is not None:
                    self._writer.add_scalar(f"{name}/seed_{seed}", number, epoch.epoch)
        self._writer.add_scalar("rows_per_second", epoch.rows_per_second, epoch.epoch)
        self._writer.add_scalar("memory", epoch.memory, epoch.epoch)
        self._writer.flush()

    def close(self) -> None:
        """Close the files."""
        if self._writer is not None:
            self._writer.close()
