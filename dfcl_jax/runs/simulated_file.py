"""A simulated trial of any size, written to Parquet in memory that does not grow with it."""

from functools import partial
from pathlib import Path

from jax import Array
from rich.console import Console

from dfcl_jax.data.parts import write_parts
from dfcl_jax.data.simulate import Population, simulation_table, stream
from dfcl_jax.data.simulate.table import COLUMNS
from dfcl_jax.data.tables import Columns
from dfcl_jax.report.terminal import say
from dfcl_jax.runs.passes import passes

CHUNK = 2**17


def write_simulation(
    population: Population,
    key: Array,
    n: int,
    folder: Path,
    *,
    columns: Columns = COLUMNS,
    truth: bool = False,
    console: Console | None = None,
) -> None:
    """Write the n people of `simulate.draw` as a folder of Parquet parts, which appears only when it is complete.

    Args:
        population: whom to draw from.
        key: of people, treatments and outcomes.
        n: people.
        folder: to be, in a folder that exists.
        columns: their names, see `simulate.simulation_table`.
        truth: whether to write what a trial could not show as well.
        console: where progress is shown.

    Raises:
        InputError: no people, or what `data.parts.write_parts` refuses.
    """
    console = console or Console()
    with passes(n, console) as over:
        tables = (simulation_table(part, columns, truth=truth) for part in stream(population, key, n, chunk=CHUNK))
        write_parts(over("simulate", tables), folder, say=partial(say, console))
