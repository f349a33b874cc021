import numpy as np
import pandas as pd
import pytest

from dfcl_jax.methods import CHEAPEST, TWO_STAGE
from dfcl_jax.report.summary import (
    budgets_left_out,
    caption,
    cells,
    lift_unit,
    lifts,
    lifts_by_budget,
    markdown,
    mean_values,
    proven_best,
    summarise,
)
from dfcl_jax.study import ORACLE, Study
from tests.report.studies import study_of

REVENUE = {  # by method: a row for each seed, a column for each budget
    TWO_STAGE: [[1.0, 2.0], [1.0, 3.0]],
    "ours": [[1.5, 2.1], [1.1, 3.3]],
    ORACLE: [[2.0, 3.0], [2.0, 4.0]],
    CHEAPEST: [[0.5, 0.5], [0.5, 0.5]],
}


def figures(study: Study, method: str) -> dict:
    return summarise(study).set_index("method").loc[method].to_dict()


def test_figures_by_hand():
    row = figures(study_of(REVENUE), "ours")
    assert row["value"] == pytest.approx((1.8 + 2.2) / 2)
    assert row["lift"] == pytest.approx(100 * (1.8 / 1.5 - 1 + 2.2 / 2.0 - 1) / 2)
    assert row["gap"] == pytest.approx(100 * ((1.8 - 1.5) / (2.5 - 1.5) + (2.2 - 2.0) / (3.0 - 2.0)) / 2)
    assert row["gain"] == pytest.approx(100 * ((1.8 - 0.5) / (2.5 - 0.5) + (2.2 - 0.5) / (3.0 - 0.5)) / 2)


def test_lifts_at_each_budget_by_hand():
    study = study_of(REVENUE)
    study = study._replace(cells={name: [] for name in (TWO_STAGE, "ours", CHEAPEST)})
    at = lifts_by_budget(study)
    assert list(at) == [0.1, 0.2]
    assert at[0.1]["ours"].tolist() == pytest.approx([50, 10])
    assert at[0.2]["ours"].tolist() == pytest.approx([5, 10])
    assert list(at[0.1].columns) == ["ours"]


def test_areas_are_paired_too():
    study = study_of(REVENUE)
    areas = {TWO_STAGE: (0.6, 0.7), "ours": (0.65, 0.77)}
    rows = [(seed, method, 1.0, area) for method, of in areas.items() for seed, area in enumerate(of)]
    study = study._replace(quality=pd.DataFrame(rows, columns=["seed", "method", "prediction_loss", "aucc"]))
    row = figures(study, "ours")
    assert row["aucc_over"] == pytest.approx(6)
    # The 97.5% quantile of Student's t with one degree of freedom, times the spread of 5 and 7 over the root of 2.
    assert row["aucc_over_high"] - row["aucc_over"] == pytest.approx(12.7062, abs=1e-4)
    assert "100 AUCC: hundredths above TSM-SL" in caption(study)
    headers, of = cells(summarise(study), study)
    assert dict(zip(headers, of[1], strict=True))["100 AUCC over TSM-SL"] == "+6.00 ±12.71"


def test_intervals_are_of_paired_differences_over_seeds():
    row = figures(study_of(REVENUE), "ours")
    lifts = np.array([100 * (1.8 / 1.5 - 1), 100 * (2.2 / 2.0 - 1)])
    # t_{1, .975} = 12.7062
    assert row["lift_high"] - row["lift"] == pytest.approx(12.706204736432095 * lifts.std(ddof=1) / np.sqrt(2))


def test_where_no_budget_is_met_by_all_methods_the_caption_says_so():
    study = study_of(REVENUE | {"ours": [[np.nan, 2.1], [1.1, np.nan]]})
    assert "No budget of 0.1, 0.2 is met by every method for every seed: give larger ones." in caption(study)
    assert proven_best(study) == TWO_STAGE
    assert "money" not in caption(study)


def test_a_budget_that_a_method_cannot_meet_counts_for_none():
    revenue = REVENUE | {"ours": [[np.nan, 2.1], [1.1, 3.3]]}
    study = study_of(revenue)
    assert budgets_left_out(study) == [0.1]
    assert mean_values(study)[TWO_STAGE].tolist() == [2.0, 3.0]
    assert "for some seed: budgets 0.1" in caption(study)


def test_what_others_are_measured_by_has_no_interval():
    study = study_of(REVENUE)
    _, rows = cells(summarise(study), study)
    two_stage = rows[0]
    assert two_stage[:3] == [TWO_STAGE, "1.75", "+0.00"]


def test_markdown_has_a_row_for_each_method():
    study = study_of(REVENUE)
    lines = markdown(summarise(study), study).strip().splitlines()
    assert lines[0] == caption(study)
    assert len(lines) == 4 + len(REVENUE)
    assert len({line.count("|") for line in lines[2:]}) == 1


@pytest.mark.parametrize(
    ("ours", "best"),
    [
        ([[1.5, 2.1], [1.1, 3.3]], TWO_STAGE),  # 0.3 and 0.2 more: with two seeds no proof
        ([[1.1, 2.1], [1.1, 3.1]], "ours"),  # 0.1 more in both
        ([[0.9, 1.8], [0.9, 2.7]], TWO_STAGE),
    ],
)
def test_a_plan_is_made_by_another_method_only_where_it_proved_better(ours, best):
    assert proven_best(study_of(REVENUE | {"ours": ours})) == best


def net_of(revenue: dict, taken: float) -> dict:
    return {method: (np.array(values) - taken).tolist() for method, values in revenue.items()}


@pytest.mark.parametrize("taken", [0.0, 1.5, 3.0, 100.0])
def test_the_choice_does_not_depend_on_where_revenue_is_counted_from(taken):
    """Differences are in money: with net margins or refunds the base may bring less than nothing."""
    better = REVENUE | {"ours": [[1.1, 2.1], [1.1, 3.1]]}
    assert proven_best(study_of(net_of(better, taken))) == "ours"
    worse = REVENUE | {"ours": [[0.9, 1.9], [0.9, 2.9]]}
    assert proven_best(study_of(net_of(worse, taken))) == TWO_STAGE


def test_per_cent_is_of_a_base_that_is_clearly_positive_and_money_otherwise():
    assert lift_unit(study_of(REVENUE)) == "%"
    study = study_of(net_of(REVENUE, 3.0))
    assert lift_unit(study) == "money"
    assert lifts(study)["ours"].tolist() == pytest.approx([0.3, 0.2])
    headers, rows = cells(summarise(study), study)
    assert headers[2] == "more than TSM-SL"
    # t_{1, .975} = 12.7062 times half the difference of 0.3 and 0.2.
    assert rows[1][2] == "+0.25 ±0.64"
