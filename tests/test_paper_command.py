"""What of the paper can be asked for, and what comes of it."""

import json
from typing import Literal, get_args

import numpy as np
import pandas as pd
import pytest

from dfcl_jax import InputError, TwoStage
from dfcl_jax.losses import constants
from dfcl_jax.losses import decision as losses
from dfcl_jax.methods import CausalForest, Decision, Ensemble, Method
from dfcl_jax.models import NetworkConfig
from dfcl_jax.report.published import Published, beside_published, draw_settings, shown
from dfcl_jax.runs.paper import FIGURES, TABLES, FigureName, PaperConfig, run_table_of_paper
from dfcl_jax.runs.paper.duration import COMPILING, FOREST_ROW, ROW, expected_seconds
from dfcl_jax.runs.paper.field import field_of, from_pl_to_ifd
from dfcl_jax.train import FitConfig

START = TwoStage(training=FitConfig(epochs=20))
STAGE = FitConfig(epochs=12)


def test_every_name_of_a_figure_has_a_figure():
    assert set(FIGURES) == set(get_args(FigureName))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "found nothing, expected one of --table, --figure, --all"),
        ({"table": 1, "figure": "eom"}, "found --table 1 --figure eom"),
        ({"table": 1, "quick": True, "full": True}, "found --quick and --full"),
        ({"table": 2, "data": "criteo.csv"}, "--data: found it with --table 2"),
        ({"figure": "alpha", "settings": ("0.5",)}, "--settings: found it with --figure alpha, expected --figure size"),
    ],
)
def test_one_thing_at_one_size_is_asked_for(asked, message):
    with pytest.raises(InputError, match=message):
        PaperConfig(**asked)


def test_settings_of_a_figure_are_those_asked_for():
    known = {"as the file": {}, "effects x 4": {"effect": 4.0}, "signal x 2": {"signal": 2.0}}
    one = PaperConfig(figure="dials", settings=("effects x 4",))
    assert one.chosen_settings(known) == {"effects x 4": {"effect": 4.0}}
    assert PaperConfig(figure="dials").chosen_settings(known) == known
    assert list(PaperConfig(figure="dials", quick=True).chosen_settings(known)) == ["as the file", "effects x 4"]
    with pytest.raises(InputError, match="--settings: found 'effect', expected one of 'as the file', "):
        PaperConfig(figure="dials", settings=("effect",)).chosen_settings(known)


def test_sizes_are_the_tables_own_the_papers_or_as_asked():
    table = TABLES[1]
    assert sum(table.full) == 13_979_592
    assert PaperConfig(table=1, full=True).size(table.parts, table.full) == table.full
    assert PaperConfig(table=1).size(table.parts, table.full) == table.parts
    assert PaperConfig(table=1, full=True, parts=(3, 2, 1)).size(table.parts, table.full) == (3, 2, 1)
    assert PaperConfig(table=1, quick=True).size(table.parts)[0] < table.parts[0]
    assert PaperConfig(table=1, quick=True).brief(START).training.epochs == 2


@pytest.mark.parametrize("table", [1, 2])
def test_the_field_has_every_published_row_and_the_ends_of_the_scale(table: Literal[1, 2]):
    of = TABLES[table]
    methods, missing = field_of(of.two_stage, STAGE, left_out=of.left_out, criteo=table == 1)
    absent = {sentence.split(" is left out")[0] for sentence in missing}
    assert set(of.published) <= set(methods) | absent
    assert {"random mix", "cheapest arm"} <= set(methods)
    assert not set(of.left_out) & set(methods)
    published = methods["DFCL-PL"]
    assert isinstance(published, Decision)
    assert (published.constants is constants.published_criteo) == (table == 1)


def test_the_ladder_from_pl_to_ifd_changes_one_thing_a_step():
    steps = list(from_pl_to_ifd(START, STAGE).values())
    assert [step.scores.__name__ for step in steps] == ["unweighted", *["raw"] * 5]  # pyright: ignore
    assert [step.loss for step in steps] == [
        losses.entropy_regularised,
        losses.entropy_regularised,
        losses.above_own_value,
        losses.above_own_value,
        losses.finite_difference,
        losses.finite_difference,
    ]
    assert [step.training.through for step in steps] == ["both"] * 3 + ["revenue"] * 2 + ["both"]


def test_what_a_study_is_expected_to_take_counts_shared_starts_once():
    """20 epochs of the start, 12 of each decision stage; five members train five times; a forest has its own rate."""
    decisions = {str(k): Decision(lambda *_: None, loss, START, STAGE) for k, loss in enumerate((np.sum, np.prod))}  # pyright: ignore
    methods: dict[str, Method] = {"start": START, **decisions}
    assert expected_seconds(methods, 1000, 2) == pytest.approx(3 * COMPILING + 2 * 1000 * ROW * (20 + 24))
    assert expected_seconds({"x5": Ensemble(START, 5)}, 1000, 1) == pytest.approx(COMPILING + 1000 * ROW * 100)
    assert expected_seconds({"forest": CausalForest()}, 1000, 1) == pytest.approx(COMPILING + 1000 * FOREST_ROW)


MEASURED = pd.DataFrame({("few", "A"): [1.0, 2.0], ("few", "B"): [0.0, 0.0], ("many", "A"): [3.0, 5.0]})


def test_a_figures_table_has_a_row_for_each_setting_and_method(tmp_path):
    table = beside_published(MEASURED, {("many", "A"): Published(3.5, None, "a paper")})
    assert table.setting.tolist() == ["few", "few", "many"]
    assert table.measured.tolist() == [1.5, 0.0, 4.0]
    assert table.difference.tolist()[2] == 0.5
    text = shown(table, digits=1, signed=True)
    assert text.setting.tolist() == ["few", "few", "many"]
    assert text.published.tolist() == ["-", "-", "+3.5"]
    draw_settings(table, tmp_path / "figure.png", title="a figure", x="people", y="%")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_method_that_is_added_later_trains_alone(tmp_path):
    small = TwoStage(NetworkConfig(hidden=(4,)), training=FitConfig(epochs=2, batch_size=100))
    shared = {"table": 2, "parts": (400, 200, 400), "two_stage": small, "decision": STAGE, "out": tmp_path / "run"}
    run_table_of_paper(2, PaperConfig(seeds=2, methods=("random mix",), **shared))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "cells").glob("*/*/params.npz")}
    run_table_of_paper(2, PaperConfig(seeds=2, methods=("random mix", "segments"), **shared))
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "cells").glob("*/*/params.npz")}
    assert before.items() <= after.items()
    table = pd.read_csv(tmp_path / "run" / "table.csv")
    assert table.method.tolist() == ["TSM-SL", "segments", "random mix", "oracle"]
    assert table.published.tolist()[0] == 0.0
    assert (tmp_path / "run" / "table.png").exists()
    assert "simulated" in (tmp_path / "run" / "table.md").read_text()
    assert json.loads((tmp_path / "run" / "config.json").read_text())["data"]["table"] == 2
