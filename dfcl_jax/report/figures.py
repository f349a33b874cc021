"""Figures of a study."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dfcl_jax.files import write_atomically
from dfcl_jax.methods import CHEAPEST
from dfcl_jax.metrics import paired_interval
from dfcl_jax.report.proof import lifts_shown, unit_of
from dfcl_jax.report.summary import is_clearly_positive, lift_unit, mean_values
from dfcl_jax.study import AUTO, ORACLE, Proof, Study

# Okabe and Ito's colours, told apart with any colour vision, and a marker each for print in grey.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@contextmanager
def drawn(path: Path, width: float, height: float) -> Iterator[Figure]:
    """A figure to draw on, written to `path` whole at the end; names with a dollar sign are no formulas."""
    with matplotlib.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        # Of signs that no font has, which are drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph")
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=150)
        write_atomically(path, picture.getvalue())


def value_against_budget(study: Study, path: Path) -> None:
    """Draw revenue against budget for each method, and beside it each method's lift over the base with intervals."""
    test, base = study.values[study.values.method != CHEAPEST], study.judge.base
    methods = list(dict.fromkeys(test.method))
    styles = {method: style(k) for k, method in enumerate(each for each in methods if each != ORACLE)}
    styles[ORACLE] = {"color": "black", "linestyle": "--"}
    with drawn(path, 11, 4.4) as figure:
        left, right = figure.subplots(1, 2)
        for method in methods:
            mean = test[test.method == method].groupby("budget").revenue.mean()
            left.plot(mean.index, mean.to_numpy(), label=method, linewidth=1.5, **styles[method])
        label(left, "Value of the policy", "budget per person", "revenue per person")
        others = [method for method in methods if method not in (base, ORACLE)]
        for k, method in enumerate(others):
            _draw_lift(right, study, test, method, offset=k - (len(others) - 1) / 2, style=styles[method])
        right.axhline(0, color=styles[base]["color"], linewidth=1.5)
        unit = "% over" if lift_unit(study) == "%" else "revenue above"
        label(right, f"Lift over {base}, paired over seeds", "budget per person", f"{unit} {base}, 95% interval")
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 7), frameon=False)


def proof_against_budget(proof: Proof, base: str, path: Path) -> None:
    """Draw a proof's revenue against budget for each method, and beside it each method's lift with intervals."""
    values, lifts = (table[table.budget.notna()] for table in (proof.values, lifts_shown(proof)))
    methods = [method for method in dict.fromkeys(values.method) if method not in (CHEAPEST, AUTO)]
    styles = {method: style(k) for k, method in enumerate(methods)}
    with drawn(path, 11, 4.4) as figure:
        left, right = figure.subplots(1, 2)
        for method in methods:
            own = values[values.method == method]
            left.plot(own.budget, own.revenue, label=method, linewidth=1.5, **styles[method])
        label(left, "Value of the policy", "budget per person", "revenue per person")
        others = [method for method in methods if method != base]
        for k, method in enumerate(others):
            own = lifts[lifts.method == method]
            step = 0.012 * (own.budget.max() - own.budget.min() or 1) * (k - (len(others) - 1) / 2)
            right.errorbar(
                own.budget + step, own.lift, yerr=own.high - own.lift, linewidth=1.2, capsize=2, **styles[method]
            )
        right.axhline(0, color=styles[base]["color"], linewidth=1.5)
        unit = "% over" if unit_of(proof) == "%" else "revenue above"
        label(right, f"Lift over {base}, everybody judged once", "budget per person", f"{unit} {base}, 95% interval")
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 7), frameon=False)


def style(k: int) -> dict[str, Any]:
    """Colour and marker of the k-th line."""
    return {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)], "markersize": 5}


def label(axes: Axes, title: str, x: str, y: str) -> None:
    """Title and axes of a panel, with a light grid."""
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_lift(axes: Axes, study: Study, test: pd.DataFrame, method: str, offset: float, style: dict) -> None:
    wide = test.pivot(index="seed", columns=["method", "budget"], values="revenue")
    budgets = np.array(sorted(test.budget.unique()))
    step = 0.012 * (budgets.max() - budgets.min() or 1)
    base = wide[study.judge.base]
    relative = is_clearly_positive(mean_values(study)[study.judge.base])
    lift = (100 * (wide[method] / base - 1) if relative else wide[method] - base)[list(budgets)]
    budgets = budgets[lift.notna().to_numpy().any(axis=0)]  # that some seed can meet
    if not budgets.size:
        return
    intervals = [paired_interval(lift[b].dropna().to_numpy(), test_share=study.test_share) for b in budgets]
    mean = np.array([interval.mean for interval in intervals])
    reach = np.array([[interval.mean - interval.low, interval.high - interval.mean] for interval in intervals]).T
    at = budgets + offset * step
    if np.isfinite(reach).all():
        axes.errorbar(at, mean, yerr=reach, linewidth=1.2, capsize=2, label=method, **style)
    else:
        axes.plot(at, mean, linewidth=1.2, label=method, **style)
