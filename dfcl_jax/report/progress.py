"""One progress bar for a whole study."""

import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from dfcl_jax.train import Record


class StudyProgress:
    """A bar over all epochs of all stages, with loss, validation value, rows per second and time left.

    Where the output is no terminal, a line for each stage instead.
    """

    def __init__(self, epochs: int, *, console: Console):
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=epochs, status="compiling")

    def __enter__(self) -> "StudyProgress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def skip(self, stage: str, epochs: int) -> None:
        """Count a stage that an earlier run finished."""
        self._console.print(f"{stage}: taken from the earlier run")
        self._bar.advance(self._task, epochs)

    def on_stage(self, stage: str, epochs: int, rows: int) -> Callable[[int, Record], None]:
        """Start a stage of `epochs` epochs of `rows` rows; see `dfcl_jax.study.OnStage`."""
        self._bar.update(self._task, description=stage, status="compiling")
        began = last = time.perf_counter()
        best = 0.0

        def on_epoch(epoch: int, record: Record) -> None:
            nonlocal last, best
            now = time.perf_counter()
            rate = rows / (now - last)
            best = max(best, rate)
            status = f"loss {record.loss.mean():.4f}  value {record.value.mean():.4f}  {rate:,.0f} rows/s"
            last = now
            self._bar.update(self._task, advance=1, status=status)
            if epoch + 1 == epochs and not self._console.is_terminal:
                took = f"{epochs} epochs in {now - began:.1f} s, up to {best:,.0f} rows/s"
                loss = f"loss {record.loss.mean():.4f}, validation {record.value.mean():.4f}"
                self._console.print(f"{stage}: {loss}, {took}", highlight=False, soft_wrap=True)

        return on_epoch
