"""Pictures of studies: what is drawn where budgets are not met."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dfcl_jax.methods import TWO_STAGE
from dfcl_jax.report.figures import value_against_budget
from dfcl_jax.study import Judge, Study

NAN = np.nan


@pytest.mark.parametrize(
    "ours",
    [[[1.5, 2.1], [1.1, 3.3]], [[NAN, 2.1], [NAN, 3.3]], [[NAN, NAN], [NAN, NAN]], [[NAN, NAN], [1.1, NAN]]],
    ids=["all", "one budget never", "none", "one seed alone"],
)
def test_a_budget_that_is_not_met_is_left_out_and_the_rest_is_drawn(ours, tmp_path: Path):
    revenue = {TWO_STAGE: [[1.0, 2.0], [1.0, 3.0]], "ours": ours}
    rows = [
        {"seed": seed, "method": method, "budget": budget, "revenue": values[seed][k]}
        for method, values in revenue.items()
        for seed in range(2)
        for k, budget in enumerate((0.1, 0.2))
    ]
    study = Study(pd.DataFrame(rows), pd.DataFrame(), pd.DataFrame(), {}, {}, Judge(), "truth", 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        value_against_budget(study, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
