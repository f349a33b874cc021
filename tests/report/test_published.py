import numpy as np
import pandas as pd
import pytest

from dfcl_jax.metrics import paired_interval
from dfcl_jax.report.published import Published, beside_published, draw_published, shown

MEASURED = pd.DataFrame({"base": [1.0, 2.0, 3.0], "other": [1.5, 2.4, 3.6], "new": [0.5, 2.5, 3.0]})
PUBLISHED = {"base": Published(1.5, None, "a paper"), "other": Published(2.75, 0.25, "a log")}
TABLE = beside_published(MEASURED, PUBLISHED, base="base")
OTHER = TABLE.to_dict("records")[1]


def test_a_row_has_what_was_published_what_was_measured_and_the_difference():
    assert TABLE.method.tolist() == ["base", "other", "new"]
    interval = paired_interval(np.array([1.5, 2.4, 3.6]))
    assert (OTHER["measured"], OTHER["low"], OTHER["high"]) == interval
    assert OTHER["published"] == 2.75
    assert OTHER["difference"] == pytest.approx(2.5 - 2.75, rel=1e-12)
    assert OTHER["source"] == "a log"


def test_differences_to_the_base_are_paired_over_seeds():
    assert (OTHER["over_base"], OTHER["over_base_low"], OTHER["over_base_high"]) == paired_interval(
        np.array([1.5, 2.4, 3.6]) - [1, 2, 3]
    )
    assert OTHER["over_base_high"] - OTHER["over_base_low"] < OTHER["high"] - OTHER["low"]


def test_splits_of_one_trial_have_wider_intervals():
    """By sqrt((1 / s + share) / (1 / s)), s = 3 seeds and a share of 1/3: sqrt 2 (Nadeau and Bengio)."""
    split = beside_published(MEASURED, PUBLISHED, base="base", test_share=1 / 3).to_dict("records")[1]
    for low, high in (("low", "high"), ("over_base_low", "over_base_high")):
        assert split[high] - split[low] == pytest.approx(2**0.5 * (OTHER[high] - OTHER[low]), rel=1e-12)


def test_what_was_not_published_is_a_dash():
    base, other, new = shown(TABLE, digits=2, base="base").to_dict("records")
    assert (new["published"], new["difference"]) == ("-", "-")
    assert base["published"] == "1.50"
    assert other["published"] == "2.75 ±0.25"
    assert other["difference"] == "-0.25"
    assert base["over base"] == "+0.00"


def test_figures_that_are_differences_carry_signs_and_are_not_printed_twice():
    text = shown(TABLE, digits=1, base="base", signed=True)
    assert text.measured[0].startswith("+2.0 ±")
    assert "over base" not in text


def test_one_seed_has_no_interval():
    text = shown(beside_published(MEASURED[:1], PUBLISHED, base="base"), digits=2, base="base")
    assert text.measured.tolist() == ["1.00", "1.50", "0.50"]


def test_the_picture_is_written(tmp_path):
    draw_published(TABLE, tmp_path / "table.png", title="a table", x="money")
    assert (tmp_path / "table.png").read_bytes().startswith(b"\x89PNG")
