"""The tables and figures of an evaluation."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from dfcl_jax.report.figures import COLOURS, drawn, label, style
from dfcl_jax.report.terminal import markdown_table, number, with_interval
from dfcl_jax.study import Evaluation


def draw(evaluation: Evaluation, folder: Path) -> None:
    """Draw the figures values, calibration and balance."""
    draw_values(evaluation, folder / "values.png")
    draw_calibration(evaluation.calibration, folder / "calibration.png")
    draw_balance(evaluation.balance, folder / "balance.png")


def draw_values(evaluation: Evaluation, path: Path) -> None:
    """Revenue against budget with bands of 95%, and beside it the paired differences to the first policy."""
    policies = list(dict.fromkeys(evaluation.values.policy))
    panels = [(evaluation.values, "revenue", "Value of the policy, 95% band")]
    if len(policies) > 1:
        panels.append((evaluation.differences, "difference", f"Difference to {policies[0]}, paired, 95% band"))
    with drawn(path, 5.5 * len(panels), 4.4) as figure:
        row = np.atleast_1d(figure.subplots(1, len(panels)))
        for axes, (frame, column, title) in zip(row, panels, strict=True):
            for k, policy in enumerate(policies):
                rows, look = frame[frame.policy == policy], style(k)
                axes.plot(rows.budget, rows[column], label=policy, linewidth=1.5, **look)
                axes.fill_between(rows.budget, rows.low, rows.high, color=look["color"], alpha=0.15, linewidth=0)
            label(axes, title, "budget per person", "revenue per person")
        if len(policies) > 1:
            row[1].axhline(0, color=COLOURS[0], linewidth=1.5)
        handles, labels = row[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)


def draw_calibration(calibration: pd.DataFrame, path: Path) -> None:
    """Estimated against predicted outcomes by decile, a panel for each outcome and a row for each policy.

    Axes are logarithmic where all is above 0: most deciles of a skewed outcome would else lie on one spot.
    """
    # What is certain, such as the cost of a free treatment, needs no calibration.
    calibration = calibration[calibration.error > 0]
    policies, outcomes = (list(dict.fromkeys(calibration[column])) for column in ("policy", "outcome"))
    with drawn(path, 5.2 * len(outcomes), 4.2 * len(policies)) as figure:
        panels = np.reshape(figure.subplots(len(policies), len(outcomes)), (len(policies), len(outcomes)))
        for policy, row in zip(policies, panels, strict=True):
            for outcome, axes in zip(outcomes, row, strict=True):
                part = calibration[(calibration.policy == policy) & (calibration.outcome == outcome)]
                for treatment, of in part.groupby("treatment"):
                    k = int(str(treatment))
                    error, look = 1.96 * of.error, {"linewidth": 1, "capsize": 2, **style(k)}
                    axes.errorbar(of.predicted, of.estimated, yerr=error, label=f"treatment {k}", **look)
                ends = [part.predicted.min(), part.predicted.max()]
                axes.plot(ends, ends, color="black", linestyle="--", linewidth=1)
                if part.predicted.min() > 0 and (part.estimated - 1.96 * part.error).min() > 0:
                    axes.set_xscale("log")
                    axes.set_yscale("log")
                x = f"predicted {outcome}, mean of a decile"
                label(axes, f"{policy}: {outcome}", x, "estimated, 95% interval")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 6), frameon=False)


def draw_balance(balance: pd.DataFrame, path: Path, *, most: int = 15) -> None:
    """Standardised differences of the features that differ most, with intervals of 95%."""
    worst = (balance.difference.abs() / balance.error).groupby(balance.feature).max().nlargest(most).index[::-1]
    arms = sorted(balance.treatment.unique())
    with drawn(path, 7.5, 1.6 + 0.28 * len(worst)) as figure:
        axes = figure.subplots()
        for k, arm in enumerate(arms):
            rows = balance[balance.treatment == arm].set_index("feature").loc[worst]
            at = np.arange(len(worst)) + (k - (len(arms) - 1) / 2) * 0.6 / max(len(arms), 1)
            look = {"linestyle": "", "elinewidth": 1, **style(k)}
            axes.errorbar(rows.difference, at, xerr=1.96 * rows.error, label=f"treatment {arm}", **look)
        axes.axvline(0, color="black", linewidth=1)
        axes.set_yticks(np.arange(len(worst)), labels=list(worst))
        axes.set_ylim(-0.7, len(worst) - 0.3)
        label(axes, "Balance before treatment", "difference to all, in standard deviations, 95% interval", "")
        figure.legend(loc="outside lower center", ncols=min(len(arms), 5), columnspacing=1, frameon=False)


class Shown(NamedTuple):
    """A table of text."""

    title: str
    headers: list[str]
    rows: list[list[str]]


def shown(evaluation: Evaluation) -> list[Shown]:
    """Values, differences and areas, a column for each policy."""
    first = evaluation.values.policy.iloc[0]
    frames = (
        ("Revenue per person, 95% intervals", evaluation.values, "revenue", "budget"),
        (f"Difference to {first}, paired, 95% intervals", evaluation.differences, "difference", "budget"),
        ("Areas, 95% intervals", evaluation.areas, "value", "metric"),
    )
    result = []
    for title, frame, what, key in frames:
        if frame.empty:
            continue
        policies = list(dict.fromkeys(frame.policy))
        rows = []
        for at, part in frame.groupby(key, sort=False):
            cells = [with_interval(row[what], row.low, row.high) for _, row in part.iterrows()]
            rows.append([number(at), *cells])
        result.append(Shown(title, [key, *policies], rows))
    return result


def markdown(evaluation: Evaluation) -> str:
    """Values, differences, areas and doubts as Markdown."""
    parts = [f"{title}\n\n{markdown_table(headers, rows)}" for title, headers, rows in shown(evaluation)]
    return "\n".join(parts + [f"Doubtful: {doubt}\n" for doubt in evaluation.doubts])
