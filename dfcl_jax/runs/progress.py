"""Progress bars: one for a whole study, one for a stage that counts things."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from dfcl_jax.train import Epoch


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

    def on_stage(self, stage: str, epochs: int) -> Callable[[Epoch], None]:
        """Start a stage of `epochs` epochs; returns what to call after each."""
        self._bar.update(self._task, description=stage, status="compiling")
        began, best, first = time.perf_counter(), 0.0, None

        def on_epoch(epoch: Epoch) -> None:
            nonlocal best, first
            best = max(best, epoch.rows_per_second)
            loss, value = epoch.loss.mean(), epoch.value.mean()
            if first is None:
                first = epoch.epoch
                self._bar.advance(self._task, first - 1)
                if first > 1:
                    self._console.print(f"{stage}: goes on after epoch {first - 1} of the earlier run", highlight=False)
            status = f"loss {loss:.4f}  value {value:.4f}  {epoch.rows_per_second:,.0f} rows/s"
            self._bar.update(self._task, advance=1, status=status)
            if epoch.epoch == epochs and not self._console.is_terminal:
                took = f"{epochs + 1 - first} epochs in {time.perf_counter() - began:.1f} s, up to {best:,.0f} rows/s"
                outcome = f"loss {loss:.4f}, validation {value:.4f}"
                self._console.print(f"{stage}: {outcome}, {took}", highlight=False, soft_wrap=True)

        return on_epoch
