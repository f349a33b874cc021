"""Which columns are features, and which of them are doubted."""

import numpy as np
import pandas as pd
import pytest

from dfcl_jax import InputError
from dfcl_jax.data import Columns, check_leaks, encode, fit_encoder, trial_table

COLUMNS = Columns("arm", "sales", "spend")
N = 2000


def trial(seed: int = 0, n: int = N) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    t, age = rng.integers(0, 2, n), rng.normal(40, 10, n)
    sales = np.where(rng.random(n) < 0.3, rng.gamma(2, size=n) * age / 40 + 0.3 * t, 0)
    return pd.DataFrame(
        {
            "arm": t,
            "sales": sales,
            "spend": t * (0.5 + rng.random(n)),
            "age": age,
            "visits": rng.poisson(2, n),
            "income": rng.lognormal(size=n),
            "region": rng.choice(list("abcdefghij"), n),
            "member": rng.random(n) < 0.3,
        }
    )


FRAME = trial()
FEATURES = ["age", "visits", "income", "region", "member"]


@pytest.mark.parametrize(
    "index",
    [
        {"Unnamed: 0": np.random.default_rng(0).permutation(N)},
        {"__index_level_0__": np.arange(N) * 2},
        {"id": np.arange(N)},
        {"id": np.arange(1, N + 1)},
        {"sales.1": FRAME.sales},
        {"region.1": FRAME.region},
    ],
)
def test_an_index_and_a_copy_are_left_out_by_name(index: dict):
    frame, name = FRAME.assign(**index), next(iter(index))
    table = trial_table(frame, COLUMNS)
    assert list(table.features) == FEATURES
    assert [note for note in table.notes if f"{name!r}" in note and "left out" in note]
    named = trial_table(frame, Columns("arm", "sales", "spend", features=(*FEATURES, name)))
    assert list(named.features) == [*FEATURES, name]
    assert [note for note in named.notes if f"feature {name!r}" in note]


def test_other_numbers_are_no_index():
    frame = FRAME.assign(rank=np.arange(N)[::-1], third=np.arange(N) / 3, **{"v1.2": FRAME.age, "age.1": FRAME.age + 1})
    assert list(trial_table(frame, COLUMNS).features) == [*FEATURES, "rank", "third", "v1.2", "age.1"]


def test_a_column_that_counts_rows_is_kept_where_it_is_the_only_feature():
    frame = FRAME[["arm", "sales", "spend"]].assign(x=np.arange(N))
    assert list(trial_table(frame, COLUMNS).features) == ["x"]


def test_constants_dates_and_pooled_levels_are_noted():
    frame = FRAME.assign(
        same=7,
        empty=np.nan,
        since=pd.Timestamp("2024-01-01"),
        shop=(np.arange(N) % 300).astype(str),
        size="M",
        eu="0,5",
        price="$1,234.50",
        share="5 %",
        day="31.01.2024",
    )
    frame["shop"] = "s" + frame["shop"]
    frame.loc[::2, "size"] = "36"
    notes = "\n".join(trial_table(frame, COLUMNS).notes)
    for words in (
        "'same' is 7 in every row",
        "'empty' has no value",
        "'since' has dates",
        "'shop' has 300 levels: all but the 99 most frequent are one",
        "'size' has numbers and words ('M')",
        "'eu' has numbers written as '0,5': taken as texts",
        "'price' has numbers written as '$1,234.50': taken as texts",
        "'share' has numbers written as '5 %': taken as texts",
        "'day' has dates written as '31.01.2024': taken as texts",
    ):
        assert words in notes


def test_categories_by_choice_stay_categories_when_encoded():
    table = trial_table(FRAME, Columns("arm", "sales", "spend", categorical=("visits",)))
    names = fit_encoder(table.features, np.arange(N)).names
    assert "visits=2" in names
    assert "visits" not in names
    with pytest.raises(InputError, match="categorical column 'weight': found no such feature"):
        trial_table(FRAME, Columns("arm", "sales", "spend", categorical=("weight",)))


def test_many_levels_are_pooled_by_frequency():
    counts = np.r_[np.full(99, 3), np.full(60, 2)]
    shops = pd.DataFrame({"shop": [f"shop {k}" for k in np.repeat(np.arange(159), counts)]})
    encoder = fit_encoder(shops, np.arange(10))
    assert len(encoder.names) == 100
    assert set(encoder.names) == {f"shop=shop {k}" for k in range(99)} | {"shop=(other)"}
    matrix = encode(encoder, pd.DataFrame({"shop": ["shop 100", "new", None, "shop 5"]}))
    np.testing.assert_array_equal(matrix[:, -1], [1, 1, 0, 0])
    np.testing.assert_array_equal(matrix.sum(axis=1), [1, 1, 0, 1])


@pytest.mark.parametrize(
    ("name", "leak", "words"),
    [
        ("copy", FRAME.sales * 3 + 1, "tells revenue almost perfectly"),
        ("rounded", FRAME.sales.round(1), "tells revenue almost perfectly"),
        ("square", FRAME.sales**2, "tells revenue"),
        ("bought", (FRAME.sales > 0).astype(int), "tells revenue whether it is 0"),
        (
            "basket",
            np.where(FRAME.arm == 1, 30 + 10 * FRAME.spend, FRAME.age),
            "tells cost almost perfectly within treatments",
        ),
        ("opened", FRAME.arm * FRAME.visits, "differs between treatments"),
        ("answer", np.where(FRAME.arm == 1, FRAME.age, np.nan), "differs between treatments"),
        ("mail", np.where(FRAME.arm == 1, "sent", FRAME.region), "differs between treatments"),
    ],
)
def test_a_feature_that_was_hardly_known_before_treatment_is_named(name: str, leak, words: str):
    said = check_leaks(trial_table(FRAME.assign(**{name: leak}), COLUMNS))
    assert [sentence for sentence in said if sentence.startswith(f"feature {name!r} {words}")], said
    assert all(sentence.startswith(f"feature {name!r}") for sentence in said)


def test_honest_features_are_not_named():
    # 40 trials, 5 features, 3 tests each: at 1e-6 a false alarm has a chance below 1e-3.
    assert [check_leaks(trial_table(trial(seed, 500), COLUMNS)) for seed in range(40)] == [[]] * 40
    assert check_leaks(trial_table(trial(n=30), COLUMNS)) == []


def test_leaks_are_looked_for_in_a_sample_of_large_tables():
    frame = FRAME.assign(copy=FRAME.sales)
    assert len(check_leaks(trial_table(frame, COLUMNS), sample=200)) == 1
