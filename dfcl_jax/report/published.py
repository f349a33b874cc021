"""A study beside figures that were published: a row for each method, with what was published, measured, and between."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dfcl_jax.metrics import paired_interval
from dfcl_jax.report.figures import COLOURS, drawn, label, style


class Published(NamedTuple):
    """A figure as a paper or its code prints it."""

    value: float
    half: float | None  # what is printed behind its ±; None: nothing
    source: str


def beside_published(
    measured: pd.DataFrame, published: Mapping[Any, Published], *, base: str | None = None, test_share: float = 0.0
) -> pd.DataFrame:
    """One row for each method, in the order of `measured`.

    Columns: setting, where there are several; method; published, published_half, source; measured with low and high, a
    95% t interval over seeds; difference, measured less published; over_base with over_base_low and over_base_high,
    paired over seeds. NaN where nothing was published, and where a single seed gives no interval.

    Args:
        measured: a column for each method, or for each (setting, method), and a row for each seed.
        published: figures by what `measured` has in its columns.
        base: the method that paired differences are to; None: `measured` are differences already.
        test_share: of `paired_interval`; 0 where every seed has a trial of its own.
    """
    rows = []
    for column in measured:
        figure = published.get(column, Published(np.nan, None, ""))
        values = measured[column].to_numpy(np.float64)
        mean, low, high = paired_interval(values, test_share=test_share)
        of_base = 0.0 if base is None else measured[base].to_numpy(np.float64)
        over = paired_interval(values - of_base, test_share=test_share)
        setting, method = column if isinstance(column, tuple) else (None, column)
        rows.append(
            ({} if setting is None else {"setting": setting})
            | {
                "method": method,
                "published": figure.value,
                "published_half": np.nan if figure.half is None else figure.half,
                "measured": mean,
                "low": low,
                "high": high,
                "difference": mean - figure.value,
                "over_base": over.mean,
                "over_base_low": over.low,
                "over_base_high": over.high,
                "source": figure.source,
            }
        )
    return pd.DataFrame(rows)


def shown(table: pd.DataFrame, *, digits: int, base: str = "", signed: bool = False) -> pd.DataFrame:
    """The table as text; columns that came after those of `beside_published` follow as they are.

    Args:
        table: of `beside_published`.
        digits: after the point.
        base: what paired differences are to.
        signed: whether figures are differences already, which then are not printed twice.
    """

    def figure(value: float, half: float, sign: str) -> str:
        if np.isnan(value):
            return "-"
        return f"{value:{sign}.{digits}f}" + (f" ±{half:.{digits}f}" if half > 0 else "")

    sign = "+" if signed else ""
    text = table[[column for column in ("setting", "method") if column in table]].copy()
    text["published"] = [figure(*each, sign) for each in zip(table.published, table.published_half, strict=True)]
    text["measured"] = [figure(*each, sign) for each in zip(table.measured, table.high - table.measured, strict=True)]
    text["difference"] = [figure(each, 0.0, "+") for each in table.difference]
    if not signed:
        reach = table.over_base_high - table.over_base
        text[f"over {base}"] = [figure(*each, "+") for each in zip(table.over_base, reach, strict=True)]
    known = ["setting", "method", "published", "published_half", "measured", "low", "high", "difference"]
    for column in table.columns:
        if column not in known and not str(column).startswith("over_base") and column != "source":
            text[column] = table[column]
    return text.assign(source=table.source)


def draw_published(table: pd.DataFrame, path: Path, *, title: str, x: str) -> None:
    """Draw measured figures with their intervals, a line for each method, and published ones as diamonds."""
    with drawn(path, 7.5, 1.2 + 0.32 * len(table)) as figure:
        axes = figure.subplots()
        at = np.arange(len(table))[::-1]
        reach = np.nan_to_num(np.array([table.measured - table.low, table.high - table.measured]))
        measured = {"xerr": reach, "fmt": "o", "capsize": 2, "color": COLOURS[0]}
        axes.errorbar(table.measured, at, label="measured, 95% interval over seeds", **measured)
        axes.plot(table.published, at - 0.2, "D", color=COLOURS[3], markersize=5, label="published, other data")
        axes.set_yticks(at, table.method.tolist())
        label(axes, title, x, "")
        figure.legend(loc="outside lower center", ncols=2, frameon=False)


def draw_settings(table: pd.DataFrame, path: Path, *, title: str, x: str, y: str) -> None:
    """Draw measured figures against the settings of a table, a line with intervals for each method."""
    settings = list(dict.fromkeys(table.setting))
    methods = list(dict.fromkeys(table.method))
    with drawn(path, max(7.0, 1.1 * len(settings)), 4.4) as figure:
        axes = figure.subplots()
        for k, method in enumerate(methods):
            of = table[table.method == method]
            at = np.array([settings.index(setting) for setting in of.setting])
            at = at + 0.08 * (k - (len(methods) - 1) / 2)
            reach = np.nan_to_num(np.array([of.measured - of.low, of.high - of.measured]))
            axes.errorbar(at, of.measured, yerr=reach, capsize=2, linewidth=1.2, label=method, **style(k))
            known = of.published.notna().to_numpy()
            if known.any():
                axes.plot(at[known], of.published[known], "D", color=style(k)["color"], markersize=7, fillstyle="none")
        axes.axhline(0, color="black", linewidth=1)
        long = max(map(len, settings)) * len(settings) > 90
        axes.set_xticks(
            range(len(settings)), settings, fontsize=9, rotation=20 if long else 0, ha="right" if long else "center"
        )
        label(axes, title, x, f"{y}, 95% interval")
        figure.legend(loc="outside lower center", ncols=min(len(methods), 5), frameon=False)
