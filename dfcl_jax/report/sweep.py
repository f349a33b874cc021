"""The table and figure of sweeps that start from the same two-stage models."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from dfcl_jax.methods import CHEAPEST
from dfcl_jax.metrics import paired_interval
from dfcl_jax.report.figures import COLOURS, drawn, label
from dfcl_jax.report.summary import lift_unit, lifts, summarise
from dfcl_jax.study import ORACLE, Sweep
from dfcl_jax.study.sweep import shown


def summarise_sweeps(sweeps: dict[str, Sweep]) -> pd.DataFrame:
    """`summarise`, a row for each member of each sweep, between the base and what bounds it."""
    table = pd.concat([summarise(swept.study) for swept in sweeps.values()]).drop_duplicates("method")
    bound = table.method.isin([ORACLE, CHEAPEST])
    return pd.concat([table[~bound], table[bound]], ignore_index=True)


def draw_lifts(sweeps: dict[str, Sweep], path: Path) -> None:
    """Draw lift over the base against the settings, mean over budgets, a panel for each sweep."""
    with drawn(path, 4.2 * len(sweeps), 3.8) as figure:
        panels = np.atleast_1d(figure.subplots(1, len(sweeps), sharey=True))
        for k, (axes, (name, swept)) in enumerate(zip(panels, sweeps.items(), strict=True)):
            _draw_lift(axes, swept, COLOURS[k % len(COLOURS)])
            setting = ", ".join(next(iter(swept.settings.values()))).replace("_", " ")
            label(axes, name, setting, f"{lift_unit(swept.study)} over {swept.study.judge.base}, 95% band" * (k == 0))


def _draw_lift(axes: Axes, swept: Sweep, colour: str) -> None:
    lift, share = lifts(swept.study), swept.study.test_share
    intervals = [paired_interval(lift[member].to_numpy(), test_share=share) for member in swept.settings]
    mean, low, high = (np.array(ends) for ends in zip(*intervals, strict=True))
    at = np.arange(len(intervals))
    axes.plot(at, mean, color=colour, marker="o", markersize=5, linewidth=1.5)
    axes.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.axhline(0, color="black", linewidth=1)
    ticks = [", ".join(shown(value) for value in setting.values()) for setting in swept.settings.values()]
    axes.set_xticks(at, labels=ticks, fontsize=8)
