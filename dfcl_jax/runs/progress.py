"""Progress bars: one for the stages of a study, one for a stage that counts things."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from dfcl_jax.report.terminal import say
from dfcl_jax.study import Watcher
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
        say(console, f"{stage}: {total:,} {things} in {took:.1f} s")


class StudyProgress:
    """A bar for each stage of training, with loss, validation value, rows per second and time left.

    Where the output is no terminal, a line for each stage instead.
    """

    def __init__(self, *, console: Console, observers: Sequence[Callable[[Epoch], None]] = ()):
        self._console, self._observers = console, observers

    def watcher(self) -> Watcher:
        """What a study tells."""
        return Watcher(self._on_stage, self._on_cell, self._say)

    def _say(self, sentence: str) -> None:
        say(self._console, sentence)

    def _on_cell(self, method: str, seed: int) -> None:
        self._say(f"{method}, seed {seed}: taken from the earlier run")

    def _on_stage(self, label: str, epochs: int) -> Callable[[Epoch], None]:
        bar = progress_bar(self._console)
        task = bar.add_task(escape(label), total=epochs, status="compiling")
        bar.start()
        began, best, first = time.perf_counter(), 0.0, 0

        def on_epoch(epoch: Epoch) -> None:
            nonlocal best, first
            if not first:
                first = epoch.epoch
                if first > 1:
                    self._say(f"{label}: goes on after epoch {first - 1} of the earlier run")
            best = max(best, epoch.rows_per_second)
            loss, value = epoch.loss.mean(), epoch.value.mean()
            status = f"loss {loss:.4f}  value {value:.4f}  {epoch.rows_per_second:,.0f} rows/s"
            bar.update(task, completed=epoch.epoch, status=status)
            for observe in self._observers:
                observe(epoch._replace(stage=label))
            if epoch.epoch == epochs:
                bar.stop()
                if not self._console.is_terminal:
                    took = f"{epochs + 1 - first} epochs in {time.perf_counter() - began:.1f} s"
                    judged = f"validation {value:.4f}" if value > -np.inf else "a budget that is not met in validation"
                    self._say(f"{label}: loss {loss:.4f}, {judged}, {took}, up to {best:,.0f} rows/s")

        return on_epoch
