from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dfcl_jax.data import Table, encode, fit_encoder, sources

FLOAT32 = 1e-6  # outcomes are kept in float32 and averaged in float64


@pytest.fixture(scope="module")
def hillstrom(data_folder: Path) -> tuple[Table, pd.DataFrame]:
    """Hillstrom's trial, and its published file."""
    file = data_folder / "hillstrom.csv"
    return sources.hillstrom(file), pd.read_csv(file)


@pytest.fixture(scope="module")
def karlan_list(data_folder: Path) -> tuple[Table, pd.DataFrame]:
    """Karlan and List's trial, and the rows of its published file that have a gift."""
    file = data_folder / "karlan_list.csv.gz"
    published = pd.read_csv(file)
    return sources.karlan_list(file), published[published.out_amountgive.notna()].reset_index(drop=True)


@pytest.fixture(scope="module")
def criteo(data_folder: Path) -> tuple[Table, pd.DataFrame]:
    """The first rows of CRITEO-UPLIFT, and their file."""
    file = data_folder / "criteo_1000.csv"
    return sources.criteo(file), pd.read_csv(file)


def test_hillstrom_has_64000_people_in_three_arms_of_a_third(hillstrom):
    table, _ = hillstrom
    assert table.arms == ("No E-Mail", "Mens E-Mail", "Womens E-Mail")
    assert len(table.t) == 64_000
    np.testing.assert_allclose(table.p, [1 / 3, 1 / 3, 1 / 3], rtol=FLOAT32)
    # A share of 64,000 at random has a standard error of 0.0019.
    np.testing.assert_allclose(np.bincount(table.t) / 64_000, 1 / 3, atol=0.006)


def test_hillstrom_buys_spend_with_visits(hillstrom):
    table, published = hillstrom
    for code, arm in enumerate(table.arms):
        of_arm = published[published.segment == arm]
        assert (table.t == code).sum() == len(of_arm)
        np.testing.assert_allclose(table.r[table.t == code].mean(dtype=np.float64), of_arm.spend.mean(), rtol=FLOAT32)
        np.testing.assert_allclose(table.c[table.t == code].mean(dtype=np.float64), of_arm.visit.mean(), rtol=FLOAT32)


def test_no_outcome_of_hillstrom_is_a_feature(hillstrom):
    table, published = hillstrom
    assert set(published) - set(table.features) == {"segment", "visit", "conversion", "spend"}


def test_an_email_price_is_the_cost_of_everybody_who_was_sent_one(hillstrom):
    table, published = hillstrom
    priced = sources.hillstrom(published, email_price=0.125)
    np.testing.assert_array_equal(priced.c, np.where(published.segment == "No E-Mail", 0, 0.125))
    np.testing.assert_array_equal(priced.r, table.r)
    pd.testing.assert_frame_equal(priced.features, table.features)


def test_karlan_list_has_the_50081_people_whose_gift_is_known(karlan_list):
    table, published = karlan_list
    assert len(table.t) == len(published) == 50_081
    np.testing.assert_allclose(table.r, published.out_amountgive, rtol=FLOAT32)
    assert (table.r >= 0).all()


def test_karlan_list_has_a_control_of_a_third_and_three_ratios(karlan_list):
    table, published = karlan_list
    assert table.arms == ("0", "1", "2", "3")
    np.testing.assert_allclose(table.p, [1 / 3, 2 / 9, 2 / 9, 2 / 9], rtol=FLOAT32)
    # A share of 50,081 at random has a standard error of 0.0021.
    np.testing.assert_allclose(np.bincount(table.t) / len(table.t), table.p, atol=0.006)
    assert (table.t == 0).sum() == (published.treatment == 0).sum()
    assert (table.t == 2).sum() == published.treat_ratio2.sum()
    assert (table.t == 3).sum() == published.treat_ratio3.sum()


def test_the_matching_donor_pays_the_ratio_times_the_gift(karlan_list):
    table, _ = karlan_list
    np.testing.assert_allclose(table.c, table.t * table.r, rtol=FLOAT32)
    assert table.c.max() > 0


def test_no_outcome_or_treatment_of_karlan_list_is_a_feature(karlan_list):
    table, _ = karlan_list
    assert [name for name in table.features if name.startswith(("out_", "treat"))] == []
    assert set(table.features).isdisjoint({"ratio", "matched_amount"})


def test_a_covariate_of_minus_999_is_a_gap_with_an_indicator(karlan_list):
    table, published = karlan_list
    encoder = fit_encoder(table.features, np.arange(len(table.t)))
    matrix = encode(encoder, table.features)
    gaps = [name for name in table.features if (published[name] == -999).any()]
    assert [name for name in encoder.names if name.endswith(" missing")] == [f"{name} missing" for name in gaps]
    assert len(gaps) > 0
    for name in gaps:
        missing = (published[name] == -999).to_numpy()
        known = published[name][~missing]
        np.testing.assert_array_equal(matrix[:, encoder.names.index(f"{name} missing")], missing)
        # Standardised values are near 1, where float32 rounds by less than 1e-6.
        filled = (known.median() - known.mean()) / known.std(ddof=0)
        np.testing.assert_allclose(matrix[missing, encoder.names.index(name)], filled, atol=1e-6)


def test_criteo_buys_conversions_with_visits(criteo):
    table, published = criteo
    assert len(table.t) == 1000
    np.testing.assert_array_equal(table.t, published.treatment)
    np.testing.assert_array_equal(table.r, published.conversion)
    np.testing.assert_array_equal(table.c, published.visit)
    share = published.treatment.mean()
    np.testing.assert_allclose(table.p, [1 - share, share], rtol=FLOAT32)


def test_what_happens_after_treatment_is_no_feature_of_criteo(criteo):
    table, published = criteo
    assert list(table.features) == [f"f{k}" for k in range(12)]
    pd.testing.assert_frame_equal(sources.criteo(published.drop(columns="exposure")).features, table.features)


def test_thornton_pays_its_offer_to_those_who_come_and_villages_are_clusters(data_folder: Path):
    file = data_folder / "thornton_hiv.csv"
    table, published = sources.thornton(file), pd.read_csv(file)
    known = published[published.tinc.notna() & published.got.notna() & published.villnum.notna()]
    assert len(table.t) == len(known)
    paid = (known.tinc * known.got).to_numpy()
    np.testing.assert_allclose(table.c.mean(dtype=np.float64), paid.mean(), rtol=FLOAT32)
    assert table.c[table.t == 0].max() == 0
    assert table.cluster is not None
    assert len(np.unique(table.cluster)) == known.villnum.nunique()
    assert set(table.features) == {"distvct", "age", "hiv2004"}


def test_mt_lift_buys_conversions_with_clicks_of_five_coupons():
    """A table of the published columns, in another order; f98 is the last feature."""
    rng = np.random.default_rng(0)
    n = 200
    frame = pd.DataFrame({f"f{k}": rng.normal(size=n) for k in reversed(range(99))})
    frame = frame.assign(conversion=rng.integers(0, 2, n), treatment=np.arange(n) % 5, click=1)
    frame.loc[::2, "click"] = 0
    table = sources.mt_lift(frame)
    assert table.arms == ("0", "1", "2", "3", "4")
    assert list(table.features) == [f"f{k}" for k in range(99)]
    np.testing.assert_array_equal(table.t, frame.treatment)
    np.testing.assert_array_equal(table.r, frame.conversion)
    np.testing.assert_array_equal(table.c, frame.click)
    np.testing.assert_allclose(table.p, 0.2, rtol=FLOAT32)
