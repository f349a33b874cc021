"""The files and figures of an evaluation."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.table import Table

from dfcl_jax.report.figures import COLOURS, MARKERS
from dfcl_jax.study import Evaluation

# Below this a chi-square test doubts that the trial was randomised as it says.
DOUBT = 0.01


def write_evaluation(evaluation: Evaluation, folder: Path) -> None:
    """A CSV file for each table, and the figures values, calibration and balance."""
    for name, table in evaluation._asdict().items():
        table.to_csv(folder / f"{name}.csv", index=False)
    draw_values(evaluation, folder / "values.png")
    draw_calibration(evaluation.calibration, folder / "calibration.png")
    draw_balance(evaluation.balance, folder / "balance.png")


def draw_values(evaluation: Evaluation, path: Path) -> None:
    """Revenue against budget with bands of 95%, and beside it the paired differences to the first policy."""
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    policies = list(dict.fromkeys(evaluation.values.policy))
    for k, policy in enumerate(policies):
        style = {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)], "markersize": 5}
        rows = evaluation.values[evaluation.values.policy == policy]
        left.plot(rows.budget, rows.revenue, label=policy, linewidth=1.5, **style)
        left.fill_between(rows.budget, rows.low, rows.high, color=style["color"], alpha=0.15, linewidth=0)
        rows = evaluation.differences[evaluation.differences.policy == policy]
        if len(rows):
            right.plot(rows.budget, rows.difference, linewidth=1.5, **style)
            right.fill_between(rows.budget, rows.low, rows.high, color=style["color"], alpha=0.15, linewidth=0)
    right.axhline(0, color=COLOURS[0], linewidth=1.5)
    _label(left, "Value of the policy, 95% band", "budget per person", "revenue per person")
    _label(right, f"Difference to {policies[0]}, paired, 95% band", "budget per person", "revenue per person")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.savefig(path, dpi=150)


def draw_calibration(calibration: pd.DataFrame, path: Path) -> None:
    """Estimated against predicted outcomes by decile, a panel for each outcome and a row for each policy."""
    policies, outcomes = (list(dict.fromkeys(calibration[column])) for column in ("policy", "outcome"))
    figure = Figure(figsize=(5.2 * len(outcomes), 4.2 * len(policies)), layout="constrained")
    panels = np.reshape(figure.subplots(len(policies), len(outcomes)), (len(policies), len(outcomes)))
    for policy, row in zip(policies, panels, strict=True):
        for outcome, axes in zip(outcomes, row, strict=True):
            part = calibration[(calibration.policy == policy) & (calibration.outcome == outcome)]
            for treatment, of in part.groupby("treatment"):
                k = int(str(treatment))
                style = {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)], "markersize": 4}
                axes.errorbar(
                    of.predicted,
                    of.estimated,
                    yerr=1.96 * of.error,
                    label=f"treatment {k}",
                    linewidth=1,
                    capsize=2,
                    **style,
                )
            ends = [part.predicted.min(), part.predicted.max()]
            axes.plot(ends, ends, color="black", linestyle="--", linewidth=1)
            _label(axes, f"{policy}: {outcome}", f"predicted {outcome}, mean of a decile", "estimated, 95% interval")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 6), frameon=False)
    figure.savefig(path, dpi=150)


def draw_balance(balance: pd.DataFrame, path: Path, *, most: int = 25) -> None:
    """Standardised differences of the features that differ most, with intervals of 95%."""
    worst = (balance.difference.abs() / balance.error).groupby(balance.feature).max().nlargest(most).index[::-1]
    figure = Figure(figsize=(7, 1.6 + 0.28 * len(worst)), layout="constrained")
    axes = figure.subplots()
    arms = sorted(balance.treatment.unique())
    for k, arm in enumerate(arms):
        rows = balance[balance.treatment == arm].set_index("feature").loc[worst]
        offset = (k - (len(arms) - 1) / 2) * 0.6 / max(len(arms), 1)
        axes.errorbar(
            rows.difference,
            np.arange(len(worst)) + offset,
            xerr=1.96 * rows.error,
            linestyle="",
            marker=MARKERS[k % len(MARKERS)],
            color=COLOURS[k % len(COLOURS)],
            markersize=4,
            linewidth=1,
            label=f"treatment {arm}",
        )
    axes.axvline(0, color="black", linewidth=1)
    axes.set_yticks(np.arange(len(worst)), labels=list(worst))
    _label(axes, "Balance before treatment", "difference to all, in standard deviations, 95% interval", "")
    figure.legend(loc="outside lower center", ncols=min(len(arms), 4), frameon=False)
    figure.savefig(path, dpi=150)


def tables(evaluation: Evaluation) -> list[Table]:
    """Values, differences and areas for a terminal."""
    shown = (
        ("Revenue per person, 95% intervals", evaluation.values, "revenue", "budget"),
        ("Difference to the first policy, paired", evaluation.differences, "difference", "budget"),
        ("Areas", evaluation.areas, "value", "metric"),
    )
    result = []
    for title, frame, what, key in shown:
        if frame.empty:
            continue
        table = Table(title=title, box=SIMPLE_HEAD, title_justify="left")
        policies = list(dict.fromkeys(frame.policy))
        for header in (key, *policies):
            table.add_column(header, justify="right")
        for value, rows in frame.groupby(key, sort=False):
            cells = {
                row.policy: f"{getattr(row, what):.4g} [{row.low:.4g}, {row.high:.4g}]" for row in rows.itertuples()
            }
            table.add_row(value if isinstance(value, str) else f"{value:.4g}", *(cells[policy] for policy in policies))
        result.append(table)
    return result


def doubts(evaluation: Evaluation) -> list[str]:
    """What makes the figures doubtful, in words."""
    notes = [
        f"the trial does not look randomised as it says: {row.test} test, p = {row.p_value:.2g}"
        for row in evaluation.tests.itertuples()
        if row.p_value < DOUBT
    ]
    few = evaluation.values[evaluation.values.effective_size < 100]
    for row in few.itertuples():
        notes.append(
            f"{row.policy} at budget {row.budget:.4g} rests on {row.effective_size:.0f} people that had its treatment"
        )
    return notes


def _label(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
