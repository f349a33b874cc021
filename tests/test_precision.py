"""The comparison of two arithmetics."""

from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dfcl_jax import METHODS
from dfcl_jax.methods import TWO_STAGE
from dfcl_jax.study import Study

NAMES = (TWO_STAGE, *METHODS)


@pytest.fixture
def precision(experiment) -> ModuleType:
    return experiment("precision")


def a_study(change: tuple[float, float], *, missed: bool = False) -> Study:
    """Two seeds that bring 1 and 2 at both budgets, each times its change; the lower budget can be missed."""
    values = {budget: np.nan if missed and budget == 1 else 1.0 for budget in (1, 2)}
    rows = [
        {"seed": s, "method": name, "budget": budget, "revenue": value * (1 + s) * change[s]}
        for name in NAMES
        for s in (0, 1)
        for budget, value in values.items()
    ]
    quality = [{"seed": s, "method": name, "aucc": 0.5} for name in NAMES for s in (0, 1)]
    nothing: Any = None
    return Study(pd.DataFrame(rows), pd.DataFrame(quality), nothing, nothing, nothing, "truth", 0.0)


def test_changes_are_per_cent_of_each_seed_with_their_interval(precision):
    both = precision.together({"float32": a_study((1, 1)), "bfloat16": a_study((1.01, 1.03))})
    headers, rows = precision.differences(both)
    assert headers == ["method", "EOM, mean over budgets", "change, %", "aucc", "change, %"]
    # Student's t of two seeds: 12.706 x the half difference of 1 % and 3 %.
    assert rows == [[name, "1.5", "+2.000 ±12.706", "0.5", "+0.000 ±0.000"] for name in NAMES]


def test_a_budget_that_one_arithmetic_misses_counts_in_neither(precision):
    low = a_study((1, 1))
    low.values.loc[low.values.budget == 1, "revenue"] = 9.0
    both = precision.together({"float32": low, "bfloat16": a_study((1, 1), missed=True)})
    assert all(row[1:3] == ["1.5", "+0.000 ±0.000"] for row in precision.differences(both)[1])
