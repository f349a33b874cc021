"""Pictures of studies: what is drawn where budgets are not met."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes

from dfcl_jax.methods import TWO_STAGE
from dfcl_jax.report.figures import value_against_budget
from tests.report.studies import study_of

NAN = np.nan


@pytest.mark.parametrize(
    ("ours", "lifts"),
    [
        ([[1.5, 2.1], [1.1, 3.3]], [30.0, 7.5]),
        ([[NAN, 2.1], [NAN, 3.3]], [7.5]),
        ([[NAN, NAN], [NAN, NAN]], []),
    ],
    ids=["all", "one budget never", "none"],
)
def test_a_budget_that_is_not_met_is_left_out_and_the_rest_has_intervals(ours, lifts, tmp_path: Path, monkeypatch):
    drawn, errorbar = [], Axes.errorbar

    def record(self, x, y, **options):
        drawn.extend(zip(y, options["yerr"].T, strict=True))
        return errorbar(self, x, y, **options)

    monkeypatch.setattr(Axes, "errorbar", record)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        value_against_budget(study_of({TWO_STAGE: [[1.0, 2.0], [1.0, 3.0]], "ours": ours}), tmp_path / "picture.png")
    assert [mean for mean, _ in drawn] == pytest.approx(lifts)
    assert all((reach > 0).all() for _, reach in drawn)
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
