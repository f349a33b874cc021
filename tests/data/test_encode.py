import json
from typing import Literal

import numpy as np
import pandas as pd
import pytest

from dfcl_jax import InputError
from dfcl_jax.data import Encoder, encode, fit_encoder

FEATURES = pd.DataFrame(
    {
        "age": [10.0, 20.0, np.nan, 60.0, 1000.0, np.nan],
        "visits": [0, 1, 2, 3, 50, 60],
        "region": ["north", "south", None, "north", "east", "west"],
        "member": [True, False, True, True, False, False],
    }
)
TRAINING = np.arange(4)
ROUNDING = 1e-6  # the matrix is float32, of numbers near 1


def _column(encoder: Encoder, features: pd.DataFrame, name: str) -> np.ndarray:
    return encode(encoder, features)[:, encoder.names.index(name)]


def test_names_match_the_columns_of_the_matrix():
    encoder = fit_encoder(FEATURES, TRAINING)
    assert encoder.names == [
        "age",
        "age missing",
        "visits",
        "region=east",
        "region=north",
        "region=south",
        "region=west",
        "member",
    ]
    matrix = encode(encoder, FEATURES)
    assert matrix.shape == (6, 8)
    assert matrix.dtype == np.float32
    assert np.isfinite(matrix).all()


def test_a_category_has_a_column_for_each_level():
    matrix = encode(fit_encoder(FEATURES[["region"]], TRAINING), FEATURES)
    east, north, south, west = np.eye(4)
    np.testing.assert_array_equal(matrix, [north, south, np.zeros(4), north, east, west])


def test_an_unseen_category_is_all_zeros():
    encoder = fit_encoder(FEATURES[["region"]], TRAINING)
    matrix = encode(encoder, pd.DataFrame({"region": ["moon", "south"]}))
    np.testing.assert_array_equal(matrix, [[0, 0, 0, 0], [0, 0, 1, 0]])


def test_missing_values_are_filled_with_the_training_median_and_flagged():
    encoder = fit_encoder(FEATURES, TRAINING)
    # The training rows' ages are 10, 20 and 60.
    known = np.array([10.0, 20.0, 60.0])
    filled = np.array([10, 20, 20, 60, 1000, 20])
    expected = (filled - known.mean()) / known.std()
    np.testing.assert_allclose(_column(encoder, FEATURES, "age"), expected, rtol=ROUNDING)
    np.testing.assert_array_equal(_column(encoder, FEATURES, "age missing"), [0, 0, 1, 0, 0, 1])


def test_a_gap_outside_the_training_rows_is_flagged_too():
    encoder = fit_encoder(pd.DataFrame({"age": [1.0, 3.0, np.nan]}), np.array([0, 1]))
    assert encoder.names == ["age", "age missing"]


def test_a_column_without_any_known_training_value_is_left_as_it_is():
    encoder = fit_encoder(pd.DataFrame({"age": [np.nan, np.nan, 7.0]}), np.array([0, 1]))
    np.testing.assert_array_equal(encode(encoder, pd.DataFrame({"age": [np.nan, 7.0]})), [[0, 1], [7, 0]])


def test_standard_scaling_gives_training_rows_mean_0_and_deviation_1():
    column = _column(fit_encoder(FEATURES, TRAINING), FEATURES, "visits")
    np.testing.assert_allclose(column[TRAINING].mean(), 0, atol=ROUNDING)
    np.testing.assert_allclose(column[TRAINING].std(), 1, rtol=ROUNDING)
    np.testing.assert_allclose(column[4], (50 - 1.5) / np.std([0, 1, 2, 3]), rtol=ROUNDING)


def test_minmax_scaling_takes_training_rows_to_0_and_1():
    column = _column(fit_encoder(FEATURES, TRAINING, scaling="minmax"), FEATURES, "visits")
    np.testing.assert_allclose(column, np.array([0, 1, 2, 3, 50, 60]) / 3, rtol=ROUNDING)


@pytest.mark.parametrize("scaling", ["standard", "minmax"])
def test_the_values_of_other_rows_do_not_reach_the_encoder(scaling: Literal["standard", "minmax"]):
    changed = FEATURES.assign(age=[*FEATURES.age[:4], -7, np.nan], visits=[*FEATURES.visits[:4], 0, -9])
    assert fit_encoder(changed, TRAINING, scaling=scaling) == fit_encoder(FEATURES, TRAINING, scaling=scaling)
    other_training = np.array([0, 1, 4])
    assert fit_encoder(FEATURES, other_training, scaling=scaling) != fit_encoder(FEATURES, TRAINING, scaling=scaling)


@pytest.mark.parametrize("scaling", ["standard", "minmax"])
def test_a_constant_column_is_zero_in_training_and_keeps_its_distance_elsewhere(
    scaling: Literal["standard", "minmax"],
):
    features = pd.DataFrame({"size": [5.0, 5.0, 5.0, 6.5]})
    matrix = encode(fit_encoder(features, np.arange(3), scaling=scaling), features)
    np.testing.assert_array_equal(matrix[:, 0], [0, 0, 0, 1.5])


def test_an_encoder_survives_json():
    encoder = fit_encoder(FEATURES, TRAINING)
    restored = Encoder.from_json(json.loads(json.dumps(encoder.to_json())))
    assert restored == encoder
    np.testing.assert_array_equal(encode(restored, FEATURES), encode(encoder, FEATURES))


def test_columns_are_found_by_name_and_others_are_ignored():
    encoder = fit_encoder(FEATURES, TRAINING)
    shuffled = FEATURES[["member", "region", "visits", "age"]].assign(extra="?")
    np.testing.assert_array_equal(encode(encoder, shuffled), encode(encoder, FEATURES))


def test_a_hundred_levels_are_a_category():
    names = [f"level {k}" for k in range(100)]
    assert len(fit_encoder(pd.DataFrame({"shop": names}), TRAINING).names) == 100


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (["1", "2", None, "many", "3"], ["feature 'z', row 4", "'many'", "expected a number"]),
        ([1, 2, "few", 4.5], ["feature 'z', row 3", "'few'", "expected a number"]),
        ([1.0, np.nan, 3.0, np.inf], ["feature 'z', row 4", "inf", "expected a finite number or a gap"]),
        ([-np.inf, 1.0, 2.0, 3.0], ["feature 'z', row 1", "-inf", "expected a finite number or a gap"]),
        ([b"a", b"b", b"a", b"b"], ["feature 'z'", "bytes values", "numbers, texts or dates"]),
        ([[1], [2], [1], [2]], ["feature 'z'", "list values", "numbers, texts or dates"]),
        ([1j, 2j, 3j, 4j], ["feature 'z'", "complex128 values", "numbers, texts or dates"]),
        (pd.period_range("2024-01", periods=4, freq="M"), ["feature 'z'", "period[M] values", "texts or dates"]),
    ],
)
def test_a_column_that_is_neither_numbers_nor_a_category_is_refused(column: list, words: list[str]):
    with pytest.raises(InputError) as refused:
        fit_encoder(pd.DataFrame({"z": column}), TRAINING)
    message = str(refused.value)
    assert [word for word in words if word not in message] == [], message


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (FEATURES.drop(columns="visits"), ["column 'visits'", "found only age, region, member", "expected it"]),
        (FEATURES.assign(visits=["a", "b", "c", "d", "e", "f"]), ["feature 'visits'", "text", "expected numbers"]),
        (FEATURES.assign(visits=[1, 2, 3, 4, np.inf, 6]), ["feature 'visits', row 5", "inf", "finite"]),
        (FEATURES.iloc[:0], ["table", "no rows", "at least one row"]),
    ],
)
def test_people_whose_columns_cannot_be_read_as_in_training_are_refused(features: pd.DataFrame, words: list[str]):
    encoder = fit_encoder(FEATURES, TRAINING)
    with pytest.raises(InputError) as refused:
        encode(encoder, features)
    message = str(refused.value)
    assert [word for word in words if word not in message] == [], message


def test_a_constant_whose_spread_is_a_rounding_error_stays_0():
    features = pd.DataFrame({"z": [0.1] * 1000})
    encoder = fit_encoder(features, np.arange(1000))
    # Scaled by 1, not by 1e-17.
    np.testing.assert_allclose(encode(encoder, pd.DataFrame({"z": [0.1, 0.2]}))[:, 0], [0, 0.1], atol=1e-7)


def test_the_index_of_a_frame_does_not_matter():
    shifted = FEATURES.set_index(np.arange(100, 106))
    assert fit_encoder(shifted, TRAINING) == fit_encoder(FEATURES, TRAINING)
    with pytest.raises(InputError, match="feature 'z', row 4: found 'few'"):
        fit_encoder(pd.DataFrame({"z": [1, 2, 3, "few"]}, index=[7, 8, 9, 10]), np.arange(2))


def test_names_of_columns_may_be_numbers():
    features = pd.DataFrame({5: [1.0, 2.0, 3.0]})
    assert encode(fit_encoder(features, np.arange(3)), features).shape == (3, 1)
