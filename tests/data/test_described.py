"""Tables beside a file that says which column is what."""

import json

import numpy as np
import pytest

from dfcl_jax import InputError
from dfcl_jax.data import Columns, described_trials

GIVEN = {"file": "coupons.csv", "treatment": "coupon", "revenue": "sales", "cost": "paid"}


@pytest.fixture
def describe(tmp_path):
    """Writes shop.trial.json beside coupons.csv, and returns their folder."""

    def write(given):
        (tmp_path / "coupons.csv").write_text("coupon,sales,paid\n")
        (tmp_path / "shop.trial.json").write_text(given if isinstance(given, str) else json.dumps(given))
        return tmp_path

    return write


def test_a_description_names_the_table_and_its_columns(describe):
    more = {"cluster": "shop", "arms": ["none", "5 %"], "costs": [0, 1.5], "propensities": [0.25, 0.75]}
    folder = describe(GIVEN | more)
    assert described_trials(folder) == {
        "shop": (
            folder / "coupons.csv",
            Columns(
                "coupon",
                "sales",
                "paid",
                cluster="shop",
                arms=("none", "5 %"),
                costs=(0, 1.5),
                propensities=(0.25, 0.75),
            ),
        )
    }


def test_other_files_describe_nothing(tmp_path):
    (tmp_path / "shop.json").write_text("{}")
    assert described_trials(tmp_path) == {}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{", "shop.trial.json: found none to read"),
        ([GIVEN], "found list, expected an object with file, treatment, revenue, cost"),
        ({"file": "coupons.csv", "cost": "paid"}, "found no treatment, revenue, expected an object"),
        (GIVEN | {"clusters": "shop"}, "'clusters': found a field that is not known, expected file, treatment"),
        (GIVEN | {"file": "other.csv"}, "'file': found .*other.csv, which is not there"),
        (GIVEN | {"revenue": 3}, "'revenue': found 3, expected a text"),
        (GIVEN | {"arms": "none"}, "'arms': found \"none\", expected a list of texts"),
        (GIVEN | {"costs": [0, "one"]}, "'costs': found .*one.*, expected a list of numbers"),
        (GIVEN | {"propensities": [False, 1.0]}, "'propensities': found .false, 1.0., expected a list of numbers"),
    ],
)
def test_what_cannot_be_read_is_named(describe, given, message):
    with pytest.raises(InputError, match=message):
        described_trials(describe(given))


def test_a_mark_of_the_encoding_is_no_part_of_a_description(describe):
    folder = describe("\ufeff" + json.dumps(GIVEN))
    assert described_trials(folder)["shop"][1] == Columns("coupon", "sales", "paid")


def test_a_cost_that_is_not_known_is_nan(describe):
    costs = described_trials(describe(GIVEN | {"costs": [0.0, float("nan")]}))["shop"][1].costs
    assert costs[0] == 0
    assert np.isnan(costs[1])
