"""The files, table and figure of sweeps that start from the same two-stage models."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console

from dfcl_jax.methods import TWO_STAGE
from dfcl_jax.metrics import paired_interval
from dfcl_jax.report.figures import COLOURS
from dfcl_jax.report.run_folder import RunFolder
from dfcl_jax.report.summary import caption, lifts, markdown, summarise, terminal_table
from dfcl_jax.study import CHEAPEST, ORACLE, Sweep
from dfcl_jax.study.sweep import shown


def write_sweeps(run: RunFolder, sweeps: dict[str, Sweep]) -> None:
    """For each sweep NAME.csv and NAME_history.csv; for all of them table.md, also printed, and lift_by_value.png."""
    for name, swept in sweeps.items():
        swept.values.to_csv(run.path / f"{name}.csv", index=False)
        swept.study.history.to_csv(run.path / f"{name}_history.csv", index=False)
    table, text = summarise_sweeps(sweeps), caption(next(iter(sweeps.values())).study)
    run.write_text("table.md", markdown(table, text))
    draw_lifts(sweeps, run.path / "lift_by_value.png")
    Console().print(terminal_table(table), text, sep="\n", highlight=False)


def summarise_sweeps(sweeps: dict[str, Sweep]) -> pd.DataFrame:
    """`summarise`, a row for each member of each sweep, between two-stage learning and what bounds it."""
    table = pd.concat([summarise(swept.study) for swept in sweeps.values()]).drop_duplicates("method")
    bound = table.method.isin([ORACLE, CHEAPEST])
    return pd.concat([table[~bound], table[bound]], ignore_index=True)


def draw_lifts(sweeps: dict[str, Sweep], path: Path) -> None:
    """Draw lift over two-stage learning against the settings, mean over budgets, a panel for each sweep."""
    figure = Figure(figsize=(4.2 * len(sweeps), 3.8), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(sweeps), sharey=True))
    for k, (axes, (name, swept)) in enumerate(zip(panels, sweeps.items(), strict=True)):
        _draw_lift(axes, swept, COLOURS[k % len(COLOURS)])
        axes.set_title(name, loc="left", fontsize=11)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel(f"% over {TWO_STAGE}, 95% band")
    figure.savefig(path, dpi=150)


def _draw_lift(axes: Axes, swept: Sweep, colour: str) -> None:
    lift = lifts(swept.study)
    share = swept.study.test_share
    intervals = [paired_interval(lift[member].to_numpy(), test_share=share) for member in swept.settings]
    mean, low, high = (np.array(ends) for ends in zip(*intervals, strict=True))
    at = np.arange(len(intervals))
    axes.plot(at, mean, color=colour, marker="o", markersize=5, linewidth=1.5)
    axes.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.axhline(0, color="black", linewidth=1)
    ticks = [", ".join(shown(value) for value in setting.values()) for setting in swept.settings.values()]
    axes.set_xticks(at, labels=ticks, fontsize=8)
    axes.set_xlabel(", ".join(next(iter(swept.settings.values()))).replace("_", " "))
