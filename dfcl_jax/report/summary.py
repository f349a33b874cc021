"""From a study to one table: every method against two-stage learning, paired over seeds."""

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table

from dfcl_jax.methods import TWO_STAGE
from dfcl_jax.metrics import Interval, paired_interval
from dfcl_jax.study import CHEAPEST, ORACLE, Study


def mean_values(study: Study) -> pd.DataFrame:
    """Revenue per person on the test part, mean over budgets: a row for each seed, a column for each method.

    A budget that some method cannot meet for some seed is left out for all, so that all means are alike.
    """
    wide = study.values.pivot(index=["seed", "method"], columns="budget", values="revenue")
    means = wide.loc[:, wide.notna().all()].mean(axis=1).unstack("method")
    return means[list(dict.fromkeys(study.values.method))]


def lifts(study: Study) -> pd.DataFrame:
    """% of revenue over two-stage learning, a row for each seed and a column for each method."""
    values = mean_values(study)
    return 100 * (values.div(values[TWO_STAGE], axis=0) - 1)


def budgets_left_out(study: Study) -> list[float]:
    """The budgets that some method cannot meet for some seed."""
    wide = study.values.pivot(index=["seed", "method"], columns="budget", values="revenue")
    return [float(budget) for budget in wide.columns[wide.isna().any()]]


def summarise(study: Study) -> pd.DataFrame:
    """One row for each method: means over seeds, and 95% intervals of paired differences.

    Columns: value (revenue per person); lift (% over two-stage); with a known truth, gain (% of the oracle's gain over
    giving everybody the cheapest treatment) and gap (% of the way from two-stage to the oracle); each with _low and
    _high; aucc with two treatments; prediction_loss.
    """
    values = mean_values(study)
    quality = study.quality.drop(columns="seed").groupby("method").mean()
    lift, base = lifts(study), values[TWO_STAGE]
    rows = []
    for method in values.columns:
        row = {"method": method, "value": values[method].mean()}
        row |= _interval("lift", lift[method], study)
        if ORACLE in values:
            oracle, cheapest = values[ORACLE], values[CHEAPEST]
            row |= _interval("gain", 100 * (values[method] - cheapest) / (oracle - cheapest), study)
            if method != CHEAPEST:
                row |= _interval("gap", 100 * (values[method] - base) / (oracle - base), study)
        if method in quality.index:
            row |= quality.loc[method].to_dict()
        rows.append(row)
    return pd.DataFrame(rows)


def _interval(name: str, differences: pd.Series, study: Study) -> dict[str, float]:
    interval: Interval = paired_interval(differences.to_numpy(np.float64), test_share=study.test_share)
    return {name: interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}


HEADERS = {
    "method": "method",
    "value": "revenue",
    "lift": f"% over {TWO_STAGE}",
    "gap": "% of gap",
    "gain": "% of gain",
    "aucc": "AUCC",
    "prediction_loss": "loss",
}


def cells(summary: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Headers and rows of the summary as text; t intervals are symmetric, so ± gives them whole."""
    shown = [column for column in HEADERS if column in summary]
    return [HEADERS[column] for column in shown], [
        [_cell(column, row) for column in shown] for _, row in summary.iterrows()
    ]


def _cell(column: str, row: pd.Series) -> str:
    value = row[column]
    if isinstance(value, str):
        return value
    if pd.isna(value):
        return "-"
    if f"{column}_low" not in row:
        return f"{value:.4g}"
    half = row[f"{column}_high"] - value
    # Without spread it is what the others are measured by; without an interval, a single seed.
    return f"{value:+.2f} ±{half:.2f}" if half >= 0.005 else f"{value:+.2f}"


def markdown(summary: pd.DataFrame, caption: str) -> str:
    """The summary as a Markdown table under its caption."""
    return f"{caption}\n\n{markdown_table(*cells(summary))}"


def markdown_table(headers: list[str], rows: list[list[str]]) -> str:
    """Headers and rows as a Markdown table."""
    return "".join(f"| {' | '.join(line)} |\n" for line in (headers, ["---"] * len(headers), *rows))


def terminal_table(summary: pd.DataFrame) -> Table:
    """The summary for a terminal."""
    headers, rows = cells(summary)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for header in headers:
        table.add_column(header, justify="left" if header == "method" else "right")
    for row in rows:
        table.add_row(*row)
    return table


def caption(study: Study) -> str:
    """What the numbers are, in a few sentences."""
    seeds, budgets = study.values.seed.nunique(), study.values.budget.nunique()
    settled = {
        "truth": "settled by the true expected outcomes",
        "aipw": "settled on the test part by doubly robust scores",
        "ipw": "settled on the test part by inverse-propensity scores",
    }[study.settled_by]
    origin = (
        "a fresh trial for each seed"
        if study.test_share == 0
        else "splits of one trial, variance corrected for their overlap (Nadeau and Bengio)"
    )
    spread = f"±: 95% t intervals of paired differences over {seeds} seeds ({origin})" if seeds > 1 else "one seed"
    loss = "loss: prediction loss, in the model's unit"
    text = f"revenue: per person, mean over {budgets} budgets, {settled}; {spread}; {loss}."
    if study.settled_by == "truth":
        text += f" gap: from {TWO_STAGE} to the oracle; gain: the oracle's, over the cheapest treatment for everybody."
    left_out = budgets_left_out(study)
    if left_out:
        text += f" Left out, for some method cannot meet them for some seed: budgets {', '.join(map(str, left_out))}."
    return text
