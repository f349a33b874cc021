"""From a study to one table: every method against the base, paired over seeds."""

import numpy as np
import pandas as pd

from dfcl_jax.methods import CHEAPEST
from dfcl_jax.metrics import Interval, clearly_positive, paired_interval
from dfcl_jax.report.terminal import markdown_table, number
from dfcl_jax.study import ORACLE, Study


def mean_values(study: Study) -> pd.DataFrame:
    """Revenue per person on the test part, mean over budgets: a row for each seed, a column for each method.

    A budget that some method cannot meet for some seed is left out for all, so that all means are alike.
    """
    wide = study.values.pivot(index=["seed", "method"], columns="budget", values="revenue")
    means = wide.loc[:, wide.notna().all()].mean(axis=1).unstack("method")
    return means[list(dict.fromkeys(study.values.method))]


def is_clearly_positive(base: pd.Series) -> bool:
    """Whether per cent of a base mean something: it is above 0 in every seed, and by two standard errors."""
    error = base.std() / len(base) ** 0.5 if len(base) > 1 else 0.0
    return bool(base.min() > 0 and clearly_positive(base.mean(), error))


def differences(study: Study) -> pd.DataFrame:
    """Revenue per person above that of the base, in money, a row for each seed and a column for each method."""
    values = mean_values(study)
    return values.sub(values[study.judge.base], axis=0)


def lifts(study: Study) -> pd.DataFrame:
    """`differences` in % of the base; in money where the base is not clearly positive, see `lift_unit`."""
    values = mean_values(study)
    base = values[study.judge.base]
    return 100 * (values.div(base, axis=0) - 1) if is_clearly_positive(base) else differences(study)


def lifts_by_budget(study: Study) -> dict[float, pd.DataFrame]:
    """Revenue over the base in % at each budget: a row for each seed and a column for each learned method."""
    wide = study.values.pivot(index="seed", columns=["method", "budget"], values="revenue")
    names = [name for name in study.cells if name not in (study.judge.base, CHEAPEST)]
    at = {float(budget): wide.xs(budget, axis=1, level="budget") for budget in sorted(study.values.budget.unique())}
    return {budget: (100 * (of.div(of[study.judge.base], axis=0) - 1))[names] for budget, of in at.items()}


def lift_unit(study: Study) -> str:
    """What `lifts` counts in: "%", or "money" where per cent of the base would mean nothing."""
    return "%" if is_clearly_positive(mean_values(study)[study.judge.base]) else "money"


def budgets_left_out(study: Study) -> list[float]:
    """The budgets that some method cannot meet for some seed."""
    wide = study.values.pivot(index=["seed", "method"], columns="budget", values="revenue")
    return [float(budget) for budget in wide.columns[wide.isna().any()]]


def proven_best(study: Study) -> str:
    """The method whose interval of difference to the base lies highest above 0; the base if none does.

    With k methods to choose from each interval has coverage 1 - 0.05 / k (Bonferroni): where none is better, one is
    chosen 2.5% of the time at most. Differences are in money, so the base may bring anything.
    """
    rivals = differences(study).drop(columns=[study.judge.base, ORACLE, CHEAPEST], errors="ignore")
    best, highest = study.judge.base, 0.0
    for method in rivals:
        level = 1 - 0.05 / len(rivals.columns)
        low = paired_interval(rivals[method].to_numpy(), test_share=study.test_share, level=level).low
        if low > highest:
            best, highest = str(method), low
    return best


def summarise(study: Study) -> pd.DataFrame:
    """One row for each method: means over seeds, and 95% intervals of paired differences.

    Columns: value (revenue per person); lift (over the base, in `lift_unit`); with a known truth, gain (% of the
    oracle's gain over giving everybody the cheapest treatment) and gap (% of the way from the base to the oracle); each
    with _low and _high; prediction_loss; with two treatments aucc, and aucc_over, hundredths above the base's, too.
    """
    values = mean_values(study)
    quality = study.quality.drop(columns="seed").groupby("method").mean()
    lift, base, area = lifts(study), values[study.judge.base], areas_over_base(study)
    rows = []
    for method in values.columns:
        row = {"method": method, "value": values[method].mean()}
        row |= _interval("lift", lift[method], study)
        if ORACLE in values and CHEAPEST in values:
            oracle, cheapest = values[ORACLE], values[CHEAPEST]
            row |= _interval("gain", 100 * (values[method] - cheapest) / (oracle - cheapest), study)
            if method != CHEAPEST:
                row |= _interval("gap", 100 * (values[method] - base) / (oracle - base), study)
        if method in quality.index and method != CHEAPEST:
            row |= quality.loc[method].to_dict()
            if area is not None:
                row |= _interval("aucc_over", area[method], study)
        rows.append(row)
    table = pd.DataFrame(rows)
    bounds = table.method.isin([ORACLE, CHEAPEST])
    return pd.concat(
        [table[~bounds], table[table.method == ORACLE], table[table.method == CHEAPEST]], ignore_index=True
    )


def areas_over_base(study: Study) -> pd.DataFrame | None:
    """AUCC above that of the base in hundredths, a column for each method and a row for each seed; None: no areas."""
    if "aucc" not in study.quality:
        return None
    areas = study.quality.pivot(index="seed", columns="method", values="aucc")
    return 100 * areas.sub(areas[study.judge.base], axis=0)


def _interval(name: str, of: pd.Series, study: Study) -> dict[str, float]:
    interval: Interval = paired_interval(of.to_numpy(np.float64), test_share=study.test_share)
    return {name: interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}


def cells(summary: pd.DataFrame, study: Study) -> tuple[list[str], list[list[str]]]:
    """Headers and rows of the summary as text; t intervals are symmetric, so ± gives them whole."""
    headers = {
        "method": "method",
        "value": "revenue",
        "lift": f"{'%' if lift_unit(study) == '%' else 'more'} {'over' if lift_unit(study) == '%' else 'than'} "
        f"{study.judge.base}",
        "gap": "% of gap",
        "gain": "% of gain",
        "aucc": "AUCC",
        "aucc_over": f"100 AUCC over {study.judge.base}",
        "prediction_loss": "loss",
    }
    shown = [column for column in headers if column in summary]
    money = lift_unit(study) == "money"
    return [headers[column] for column in shown], [
        [_cell(column, row, signed=money and column == "lift") for column in shown] for _, row in summary.iterrows()
    ]


def _cell(column: str, row: pd.Series, *, signed: bool) -> str:
    value = row[column]
    if isinstance(value, str):
        return value
    if pd.isna(value):
        return "-"
    if f"{column}_low" not in row:
        return number(value)
    half = row[f"{column}_high"] - value
    if signed:
        # Money, whose size is anything.
        sign = "+" if value >= 0 else ""
        return f"{sign}{number(value, 3)}" + (f" ±{number(half, 2)}" if half > 0 else "")
    # Without spread it is what the others are measured by; without an interval, a single seed.
    return f"{value:+.2f} ±{half:.2f}" if half >= 0.005 else f"{value:+.2f}"


def markdown(summary: pd.DataFrame, study: Study) -> str:
    """The summary as a Markdown table under its caption."""
    return f"{caption(study)}\n\n{markdown_table(*cells(summary, study))}"


def without(study: Study) -> str:
    """The methods that diverged, in a sentence that follows others; none if there are none."""
    return f" Left out, for their training diverged: {', '.join(study.diverged)}." if study.diverged else ""


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
    loss = "loss: prediction loss, in units of mean revenue and of mean cost"
    if study.judge.loss == "cross_entropy":
        loss = "loss: cross-entropy of the predictions"
    text = f"revenue: per person, mean over {budgets} budgets, {settled}; {spread}; {loss}."
    if study.settled_by == "truth":
        text += f" gap: from {study.judge.base} to the oracle; gain: the oracle's, over the cheapest treatment for all."
    if "aucc" in study.quality:
        by = "settled as revenue is" if study.settled_by == "truth" else "on what was seen of the test part"
        text += f" 100 AUCC: hundredths above {study.judge.base}, {by}."
    left_out = budgets_left_out(study)
    if len(left_out) == budgets:
        shown = ", ".join(map(number, left_out))
        return f"{text} No budget of {shown} is met by every method for every seed: give larger ones."
    if lift_unit(study) == "money":
        text += f" {study.judge.base} brings too little for per cent of it to mean something, so lifts are in money."
    text += without(study)
    if left_out:
        text += f" Left out, for some method cannot meet them for some seed: budgets {', '.join(map(str, left_out))}."
    return text
