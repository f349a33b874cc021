"""A study beside figures that were published: a row for each method, with what was published, measured, and between."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from dfcl_jax.metrics import paired_interval
from dfcl_jax.report.figures import COLOURS, drawn, label


class Published(NamedTuple):
    """A figure as a paper or its code prints it."""

    value: float
    half: float | None  # what is printed behind its ±; None: nothing
    source: str


def beside_published(measured: pd.DataFrame, published: Mapping[str, Published], *, base: str) -> pd.DataFrame:
    """One row for each method, in the order of `measured`.

    Columns: published, published_half, source; measured with low and high, a 95% t interval over seeds; difference,
    measured less published; over_base with over_base_low and over_base_high, paired over seeds. NaN where nothing was
    published, and where a single seed gives no interval.

    Args:
        measured: a column for each method and a row for each seed, whose trials are independent.
        published: figures by method.
        base: the method that paired differences are to.
    """
    rows = []
    for method in measured:
        figure = published.get(str(method), Published(np.nan, None, ""))
        values = measured[method].to_numpy(np.float64)
        mean, low, high = paired_interval(values)
        over = paired_interval(values - measured[base].to_numpy(np.float64))
        rows.append(
            {
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


def shown(table: pd.DataFrame, *, digits: int, base: str, signed: bool = False) -> pd.DataFrame:
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
    text = pd.DataFrame({"method": table.method})
    text["published"] = [figure(*each, sign) for each in zip(table.published, table.published_half, strict=True)]
    text["measured"] = [figure(*each, sign) for each in zip(table.measured, table.high - table.measured, strict=True)]
    text["difference"] = [figure(each, 0.0, "+") for each in table.difference]
    if not signed:
        reach = table.over_base_high - table.over_base
        text[f"over {base}"] = [figure(*each, "+") for each in zip(table.over_base, reach, strict=True)]
    known = ["method", "published", "published_half", "measured", "low", "high", "difference"]
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
