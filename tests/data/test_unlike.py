"""People unlike those of the trial."""

import json
from functools import reduce
from operator import add

import numpy as np
import pandas as pd
import pytest

from dfcl_jax import InputError
from dfcl_jax.data import Encoder, encode, fit_encoder, unlike

TRIAL = pd.DataFrame(
    {
        "region": ["north", "south", "north", None],
        "age": [18.0, 40, 80, 50],
        "member": [True, False, True, True],
        "since": pd.to_datetime(["2023-01-01", "2023-06-01", "2023-12-31", "2023-02-01"]),
    }
)
ENCODER = fit_encoder(TRIAL, np.arange(4))
PEOPLE = pd.DataFrame(
    {
        "region": ["NORTH", "south", "NORTH", None, "SOUTH"],
        "age": [-999.0, 40, 81, 18, 80],
        "member": [True, None, False, True, None],
        "since": pd.to_datetime(["2023-01-01", "2024-02-01", "2023-02-01", "2023-03-01", "NaT"]),
    }
)


def test_what_the_model_never_saw_is_counted_and_named():
    found = unlike(ENCODER, PEOPLE)
    assert found.levels == {"region": {"NORTH": 2, "SOUTH": 1}}
    assert found.gaps == {"member": 2, "since": 1}
    assert {name: at[:2] for name, at in found.outside.items()} == {"age": (1, 1), "since": (0, 1)}
    assert found.shares() == {"region": 0.6, "age": 0.4, "since": 0.4, "member": 0.4}
    assert found.shares(clip=True) == {"region": 0.6, "since": 0.2, "member": 0.4}
    assert found.only(["age"]).shares() == {"age": 0.4}
    assert found.only(["age"]).sentences(clip=True) == [
        "2 of 5 rows have age outside 18 to 80, the range that the model was trained on: down to -999 and up to 81, "
        "moved to its ends"
    ]
    assert found.sentences() == [
        "3 of 5 rows have a level of region that the model does not know: NORTH (2), SOUTH (1)",
        "2 of 5 rows have age outside 18 to 80, the range that the model was trained on: down to -999 and up to 81",
        "1 of 5 rows have since outside 2023-01-01 to 2023-12-31, the range that the model was trained on: "
        "up to 2024-02-01",
        "2 of 5 rows have no member, where every row of the trial had one: filled in",
        "1 of 5 rows have no since, where every row of the trial had one: filled in",
    ]


def test_the_people_of_the_trial_are_like_themselves():
    found = unlike(ENCODER, TRIAL)
    assert found[1:] == (4, {}, {}, {})
    assert found.sentences() == []


@pytest.mark.parametrize("size", [1, 2, 3])
def test_pieces_add_up_to_the_whole(size: int):
    pieces = [PEOPLE.iloc[k : k + size] for k in range(0, 5, size)]
    total, whole = reduce(add, (unlike(ENCODER, piece) for piece in pieces)), unlike(ENCODER, PEOPLE)
    assert total.rows == whole.rows
    assert (total.levels, total.gaps) == (whole.levels, whole.gaps)
    assert {name: at[:2] for name, at in total.outside.items()} == {name: at[:2] for name, at in whole.outside.items()}
    assert sorted(total.sentences()) == sorted(whole.sentences())


def test_any_number_of_unseen_levels_is_counted_in_bounded_memory():
    frames = [TRIAL.iloc[[0] * 900].assign(region=[f"{k} {j}" for j in range(900)]) for k in range(3)]
    total = reduce(add, (unlike(ENCODER, frame) for frame in frames))
    assert total.levels["region"].total() == 2700
    assert len(total.levels["region"]) == 1000


def test_a_bool_with_a_gap_is_filled_as_a_number_with_one_is():
    # The median of true, false, true, true is 1.
    member = ENCODER.names.index("member")
    matrix = encode(ENCODER, PEOPLE)
    np.testing.assert_array_equal(matrix[[1, 4], member], matrix[[0, 0], member])


def test_numbers_are_clipped_to_the_range_of_training_by_choice():
    age = ENCODER.names.index("age")
    clipped, ends = encode(ENCODER, PEOPLE, clip=True)[:, age], encode(ENCODER, TRIAL)[:, age]
    np.testing.assert_array_equal(clipped[[0, 2, 3, 4]], ends[[0, 2, 0, 2]])
    np.testing.assert_array_equal(encode(ENCODER, TRIAL, clip=True), encode(ENCODER, TRIAL))
    assert encode(ENCODER, PEOPLE)[0, age] < ends[0]


def test_an_encoder_survives_json_and_older_ones_can_be_read():
    plain = json.loads(json.dumps(ENCODER.to_json()))
    assert Encoder.from_json(plain) == ENCODER
    newer = {"low", "high", "unit", "pooled"}
    older = Encoder.from_json([{k: v for k, v in column.items() if k not in newer} for column in plain[:3]])
    np.testing.assert_array_equal(encode(older, PEOPLE), encode(ENCODER, PEOPLE)[:, : len(older.names)])
    np.testing.assert_array_equal(encode(older, PEOPLE, clip=True), encode(older, PEOPLE))
    assert unlike(older, PEOPLE).outside == {}


def test_dates_and_numbers_are_not_taken_for_each_other():
    with pytest.raises(InputError, match="feature 'since', row 1: found 3, expected dates"):
        encode(ENCODER, PEOPLE.assign(since=3))
    with pytest.raises(InputError, match=r"feature 'age', row 1: found .*2024.*, expected numbers"):
        encode(ENCODER, PEOPLE.assign(age=pd.Timestamp("2024-01-01")))
