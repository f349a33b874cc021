"""Which trials of a folder are judged."""

import json

import pytest

from dfcl_jax import InputError

SHOP = {"file": "coupons.csv", "treatment": "coupon", "revenue": "sales", "cost": "paid"}


@pytest.fixture(scope="module")
def real(experiment):
    return experiment("real")


@pytest.fixture
def folder(tmp_path):
    """A published trial and a table of one's own."""
    (tmp_path / "hillstrom.csv").write_text("")
    (tmp_path / "coupons.csv").write_text("")
    (tmp_path / "shop.trial.json").write_text(json.dumps(SHOP))
    return tmp_path


def test_all_that_are_there_are_chosen_or_those_of_some_names(real, folder):
    assert list(real.chosen_trials(folder, ())) == ["hillstrom", "hillstrom_visits", "shop"]
    chosen = real.chosen_trials(folder, ("shop",))
    assert list(chosen) == ["shop"]
    assert chosen["shop"].path == folder / "coupons.csv"
    assert chosen["shop"].columns.revenue == "sales"


def test_what_is_not_there_is_named(real, folder):
    with pytest.raises(InputError, match=r"--trials thornton: found no thornton_hiv.csv in .*, expected one of hillst"):
        real.chosen_trials(folder, ("thornton",))
    with pytest.raises(InputError, match=r"--trials shops: found no shops.trial.json in .*, expected one of hillstrom"):
        real.chosen_trials(folder, ("shops",))
    with pytest.raises(InputError, match=r"--data: found .* without any trial"):
        real.chosen_trials(folder / "none", ())


def test_a_table_of_ones_own_takes_no_published_name(real, folder):
    (folder / "thornton.trial.json").write_text(json.dumps(SHOP))
    with pytest.raises(InputError, match=r"thornton.trial.json: found the name of a published trial"):
        real.chosen_trials(folder, ())
