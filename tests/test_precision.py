"""The comparison of two arithmetics."""

from types import SimpleNamespace

import pandas as pd


def test_changes_are_per_cent_of_each_seed_with_their_interval(experiment):
    precision = experiment("precision")
    names = precision.NAMES
    before = pd.DataFrame(
        [{"method": name, "seed": s, "revenue": 1.0 + s, "aucc": 0.5} for name in names for s in (0, 1)]
    )
    after = before.assign(revenue=[value * (1.01, 1.03)[k % 2] for k, value in enumerate(before.revenue)])
    seeds = pd.concat([before.assign(compute="float32"), after.assign(compute="bfloat16")])
    headers, rows = precision.differences(seeds)
    assert headers == ["method", "EOM, mean over budgets", "change, %", "AUCC", "change, %"]
    # Student's t of two seeds: 12.706 x the half difference of 1 % and 3 %.
    assert rows == [[name, "1.5", "+2.000 ±12.706", "0.5", "+0.000 ±0.000"] for name in names]


def test_a_budget_that_one_arithmetic_misses_counts_in_neither(experiment):
    precision = experiment("precision")
    columns = ["seed", "method", "budget", "revenue"]
    quality = pd.DataFrame({"seed": [0], "method": ["TSM-SL"], "prediction_loss": [0.1]})
    studies = {
        kind: SimpleNamespace(
            values=pd.DataFrame([[0, "TSM-SL", 1.0, low], [0, "TSM-SL", 2.0, 3.0]], columns=columns), quality=quality
        )
        for kind, low in zip(precision.KINDS, (1.0, float("nan")), strict=True)
    }
    assert precision.by_seed(studies).revenue.tolist() == [3.0, 3.0]
