"""Figures of a study."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dfcl_jax.methods import TWO_STAGE
from dfcl_jax.metrics import paired_interval
from dfcl_jax.study import CHEAPEST, ORACLE, Study

# Okabe and Ito's colours, told apart with any colour vision, and a marker each for print in grey.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def value_against_budget(study: Study, path: Path) -> None:
    """Draw revenue against budget for each method, and beside it each method's lift over two-stage with intervals."""
    test = study.values[study.values.method != CHEAPEST]
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    trained = [method for method in dict.fromkeys(test.method) if method != ORACLE]
    styles = {
        method: {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)], "markersize": 5}
        for k, method in enumerate(trained)
    }
    styles[ORACLE] = {"color": "black", "linestyle": "--"}

    for method in dict.fromkeys(test.method):
        mean = test[test.method == method].groupby("budget").revenue.mean()
        left.plot(mean.index, mean.to_numpy(), label=method, linewidth=1.5, **styles[method])
    left.set_xlabel("budget per person")
    left.set_ylabel("revenue per person")
    left.set_title("Value of the policy", loc="left", fontsize=11)

    others = [method for method in trained if method != TWO_STAGE]
    for k, method in enumerate(others):
        _draw_lift(right, study, test, method, offset=k - (len(others) - 1) / 2, style=styles[method])
    right.axhline(0, color=styles[TWO_STAGE]["color"], linewidth=1.5)
    right.set_xlabel("budget per person")
    right.set_ylabel(f"% over {TWO_STAGE}, 95% interval")
    right.set_title(f"Lift over {TWO_STAGE}, paired over seeds", loc="left", fontsize=11)

    for axes in (left, right):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.savefig(path, dpi=150)


def _draw_lift(axes: Axes, study: Study, test: pd.DataFrame, method: str, offset: float, style: dict) -> None:
    wide = test.pivot(index="seed", columns=["method", "budget"], values="revenue")
    budgets = np.array(sorted(test.budget.unique()))
    lift = 100 * (wide[method] / wide[TWO_STAGE] - 1)[list(budgets)]
    intervals = [paired_interval(lift[b].dropna().to_numpy(), test_share=study.test_share) for b in budgets]
    mean = np.array([interval.mean for interval in intervals])
    reach = np.array([[interval.mean - interval.low, interval.high - interval.mean] for interval in intervals]).T
    step = 0.012 * (budgets.max() - budgets.min() or 1)
    at = budgets + offset * step
    if np.isfinite(reach).all():
        axes.errorbar(at, mean, yerr=reach, linewidth=1.2, capsize=2, label=method, **style)
    else:
        axes.plot(at, mean, linewidth=1.2, label=method, **style)
