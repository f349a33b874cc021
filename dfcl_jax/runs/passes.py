"""Progress of passes over the rows of a data set."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import pyarrow as pa
from rich.console import Console

from dfcl_jax.report.terminal import say
from dfcl_jax.runs.progress import progress_bar

# Goes over the batches of a stage while a bar shows how far it is.
Pass = Callable[[str, Iterable[pa.Table]], Iterator[pa.Table]]


@contextmanager
def passes(rows: int, console: Console | None = None) -> Iterator[Pass]:
    """A bar for each pass over all `rows`: stage, rows done, rows per second, time left.

    Where the output is no terminal, a line for each stage instead.
    """
    console = console or Console()
    bar = progress_bar(console)
    task = bar.add_task("", total=rows, status="")

    def over(stage: str, batches: Iterable[pa.Table]) -> Iterator[pa.Table]:
        bar.reset(task, description=stage, status="compiling")
        began, done = time.perf_counter(), 0
        for batch in batches:
            yield batch
            done += batch.num_rows
            rate = done / (time.perf_counter() - began)
            bar.update(task, completed=done, status=f"{done:,} of {rows:,} rows  {rate:,.0f} rows/s")
        if not console.is_terminal:
            took = time.perf_counter() - began
            say(console, f"{stage}: {done:,} rows in {took:.1f} s")

    with bar:
        yield over
