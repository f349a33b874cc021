"""Progress bars: one for a whole study, one for a stage that counts things."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from dfcl_jax.train import Record


def progress_bar(console: Console) -> Progress:
    """Stage, bar, per cent, status and time left; nothing where the output is no terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[status]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


@contextmanager
def counted(stage: str, total: int, things: str, *, console: Console) -> Iterator[Callable[[int], None]]:
    """A bar for one stage, told how many of `total` things are done; a line instead where there is no terminal."""
    bar, began = progress_bar(console), time.perf_counter()
    task = bar.add_task(stage, total=total, status="compiling")
    with bar:
        yield lambda done: bar.update(task, completed=done, status=f"{done:,} of {total:,} {things}")
    if not console.is_terminal:
        took = time.perf_counter() - began
        console.print(f"{stage}: {total:,} {things} in {took:.1f} s", highlight=False, soft_wrap=True)


class StudyProgress:
    """A bar over all epochs of all stages, with loss, validation value, rows per second and time left.

    Where the output is no terminal, a line for each stage instead.
    """

    def __init__(self, epochs: int, *, console: Console):
        self._console = console
        self._bar = progress_bar(console)
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
