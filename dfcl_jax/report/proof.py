"""A proof as one page: every method's value and lift with intervals, calibration, and the rows that would tell 1%."""

import numpy as np
import pandas as pd

from dfcl_jax.metrics import paired_interval
from dfcl_jax.report.summary import areas_over_base, without
from dfcl_jax.report.terminal import markdown_table, number, plus_minus
from dfcl_jax.study import AUTO, Proof, Study, rows_needed

Table = tuple[list[str], list[list[str]]]  # headers and rows


def unit_of(proof: Proof) -> str:
    """What lifts count in: "%" of the base, or "money" where the base is not clearly positive."""
    return "%" if len(proof.per_cent) and proof.per_cent.lift.notna().all() else "money"


def lifts_shown(proof: Proof) -> pd.DataFrame:
    """Lifts in `unit_of`: method, budget, lift, error, low, high, together_low, together_high."""
    return proof.per_cent if unit_of(proof) == "%" else proof.lifts


def summary(proof: Proof, study: Study) -> Table:
    """A row for each method: the mean over budgets."""
    base, unit = study.judge.base, unit_of(proof)
    values, lifts = (table[table.budget.isna()].set_index("method") for table in (proof.values, lifts_shown(proof)))
    quality, areas = study.quality.drop(columns="seed").groupby("method").mean(), areas_over_base(study)
    # Folds of two partitions share their people, so that the interval is over those of the first.
    areas = None if areas is None else areas.iloc[: proof.folds]
    headers = ["method", "revenue", f"% over {base}" if unit == "%" else f"more than {base}"]
    headers += ["rows to tell 1%"] if unit == "%" else []
    headers += [] if areas is None else ["AUCC", f"100 AUCC over {base}"]
    headers += ["loss"]
    rows = []
    for method in values.index:
        value = values.loc[method]
        row = [method, f"{number(value.revenue)} {_half(value.high - value.revenue)}".strip()]
        if method == base:
            row += ["+0.00"] + ["-"] * (unit == "%")
        else:
            lift = lifts.loc[method]
            row.append(_lift(lift, unit))
            rows_for = rows_needed(lift.error, 1.0, proof.people)
            row += [f"{rows_for:,.0f}" if rows_for >= 1 else "-"] if unit == "%" else []
        known = quality.loc[method] if method in quality.index else {}
        if areas is not None:
            row += [number(known.get("aucc", np.nan)), _area(areas, method, base)]
        row.append(number(known.get("prediction_loss", np.nan)))
        rows.append(row)
    return headers, rows


def _area(areas: pd.DataFrame, method: str, base: str) -> str:
    """AUCC above the base's in hundredths, with a t interval over folds."""
    if method not in areas or method == base:
        return "-"
    found = paired_interval(areas[method].to_numpy(np.float64))
    return plus_minus(found.mean, found.high)


def by_budget(proof: Proof) -> Table:
    """Lifts at each budget."""
    lifts = lifts_shown(proof)
    lifts = lifts[lifts.budget.notna()]
    unit, budgets = unit_of(proof), list(dict.fromkeys(lifts.budget))
    headers = ["budget", *(number(budget) for budget in budgets)]
    rows = [
        [str(method), *(_lift(row, unit) for _, row in of.iterrows())]
        for method, of in lifts.groupby("method", sort=False)
    ]
    return headers, rows


def calibration(slopes: pd.DataFrame) -> Table:
    """Slopes of measured on predicted effects."""
    rows = [
        [method, outcome, f"{slope:.2f} ±{high - slope:.2f}"]
        for method, outcome, slope, _, high in slopes.itertuples(index=False, name=None)
    ]
    return ["method", "outcome", "slope"], rows


def caption(proof: Proof, study: Study) -> str:
    """What the numbers are, in a few sentences."""
    people = f"{proof.people:,} people"
    people += "" if proof.clusters is None else f" in {proof.clusters:,} clusters"
    over = "" if proof.partitions == 1 else f", medians over {proof.partitions} partitions"
    drawn = f", from {proof.replicates} draws of weights" if proof.replicates else ""
    settled = "doubly robust" if study.judge.settle == "aipw" else "inverse-propensity"
    unit = (
        "" if unit_of(proof) == "%" else f" {study.judge.base} brings too little for per cent of it to mean something."
    )
    left_out = sorted(set(study.values.budget) - set(proof.budgets))
    area = "" if areas_over_base(study) is None else f" 100 AUCC: hundredths over {study.judge.base}, t over folds."
    unmet = (
        f" Left out, for some method cannot meet them: budgets {', '.join(map(number, left_out))}." if left_out else ""
    )
    return (
        f"revenue: per person, mean over {len(proof.budgets)} budgets, by {settled} scores of {people}, each judged "
        f"once by models of the other {proof.folds - 1} of {proof.folds} folds{over}. ±: 95% intervals, each for "
        f"itself{drawn}. {AUTO}: the method that the other folds prove best. rows: for a trial that tells a lift of 1% "
        f"four times in five. loss: of the predictions.{area}{unit}{without(study)}{unmet}"
    )


def verdict(proof: Proof, study: Study) -> str:
    """Whether a method is proved better than the base, in a sentence."""
    base = study.judge.base
    rivals = len(proof.lifts[proof.lifts.together_low.notna()].method.unique()) if len(proof.lifts) else 0
    of = "its rival" if rivals == 1 else f"all {rivals} rivals"
    if proof.why_withheld:
        return f"{proof.why_withheld}, so nothing is proved."
    if not rivals:
        return f"Nothing to compare with {base}."
    if proof.chosen == base:
        return f"No method is proved better than {base}: no interval for {of} together lies above 0."
    lifts = lifts_shown(proof)
    found = lifts[(lifts.method == proof.chosen) & lifts.budget.isna()].iloc[0]
    ends = (
        f"{found.together_low:+.2f} to {found.together_high:+.2f} %"
        if unit_of(proof) == "%"
        else (f"{number(found.together_low)} to {number(found.together_high)} per person")
    )
    return f"{proof.chosen} is proved better than {base}: {ends}, an interval that holds for {of} together."


def markdown(proof: Proof, study: Study, slopes: pd.DataFrame) -> str:
    """The page as Markdown."""
    parts = [
        f"{caption(proof, study)}\n\n{verdict(proof, study)}\n\n{markdown_table(*summary(proof, study))}",
        f"Lift at each budget:\n\n{markdown_table(*by_budget(proof))}",
    ]
    if len(slopes):
        parts.append(f"{CALIBRATION}\n\n{markdown_table(*calibration(slopes))}")
    return "\n".join(parts)


CALIBRATION = (
    "Calibration: slope of measured on predicted effects over the control (1: right, 0: predicted for nothing)."
)


def _lift(row: pd.Series, unit: str) -> str:
    half = row.high - row.lift
    if unit == "%":
        reach = "" if np.isnan(half) else f" ±{half:.2f}"
        return f"{row.lift:+.2f}{reach}".replace("-0.00", "+0.00")
    return f"{'+' if row.lift >= 0 else ''}{number(row.lift, 3)} {_half(half)}".strip()


def _half(half: float) -> str:
    """Half the width of an interval; empty where it is withheld."""
    return "" if np.isnan(half) else f"±{number(half, 2)}"
