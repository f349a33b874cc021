"""Logs of a policy in files, beside a trial whose encoder and treatments they share."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dfcl_jax import InputError
from dfcl_jax.data import Columns, StreamedTrial, fit_encoder, open_observed
from dfcl_jax.data.encode import NumericColumn

COLUMNS = Columns("t", "r", "c", ("age", "region"), propensities=(0.5, 0.3, 0.2))
ARMS = ("none", "small", "large")
N = 3000
RNG = np.random.default_rng(0)


def people(n: int = N) -> pd.DataFrame:
    frame = pd.DataFrame({"age": RNG.integers(20, 70, n).astype(float), "region": RNG.choice(["north", "south"], n)})
    return frame.assign(t=RNG.choice(ARMS, n), r=RNG.gamma(1.0, size=n), c=RNG.random(n))


TRIAL = people()
ENCODER = fit_encoder(TRIAL[["age", "region"]], np.arange(N))


def opened(logs: pd.DataFrame, folder: Path) -> StreamedTrial:
    logs.to_parquet(folder / "logs.parquet", row_group_size=700)
    return open_observed(folder / "logs.parquet", COLUMNS, encoder=ENCODER, arms=ARMS)


def test_rows_are_encoded_as_the_trials_are_and_shares_stand_for_propensities(tmp_path):
    logs = people()
    found = opened(logs, tmp_path)
    trial = found.read()
    assert trial.rows == N
    np.testing.assert_allclose(trial.r, logs.r, rtol=1e-6)
    assert (np.asarray(ARMS)[trial.t] == logs.t).all()
    np.testing.assert_allclose(trial.p, [(logs.t == arm).mean() for arm in ARMS], rtol=1e-6)
    age = ENCODER.columns[0]
    assert isinstance(age, NumericColumn)
    np.testing.assert_allclose(trial.x[:, 0], (logs.age - age.shift) / age.scale, rtol=1e-4, atol=1e-6)
    # A policy that leaves out nobody leaves nothing to say but who had what.
    assert len(found.notes) == 1
    assert found.notes[0].startswith("3,000 people by treatment: none ")


def test_a_treatment_that_some_kind_of_people_never_had_is_named_with_them(tmp_path):
    logs = people()
    logs.loc[(logs.region == "north") & (logs.t == "large"), "t"] = "none"
    logs.loc[(logs.age <= 29) & (logs.t == "small"), "t"] = "none"
    north = (logs.region == "north").sum()
    said = opened(logs, tmp_path).notes[1:]
    assert f"none of the {north:,} people with region north had treatment large" in said
    young = [sentence for sentence in said if "had treatment small" in sentence]
    assert young
    assert all(sentence.split(" with ")[1].startswith("age ") for sentence in young)
    # Nobody else lacks a treatment.
    assert len(said) == 1 + len(young)
    ends = [sentence.split(" to ")[1].split(" had")[0] for sentence in young]
    assert all(float(end) <= 29 for end in ends)


def test_a_kind_too_small_to_tell_from_chance_is_no_warning(tmp_path):
    """With 9 people expected of the rarest treatment, chance may leave none."""
    logs = people(120)
    rare = logs.index[:27]
    logs["region"] = "south"
    logs.loc[rare, "region"] = "north"
    logs["t"] = np.tile(ARMS, 40)
    logs.loc[rare, "t"] = "none"
    assert not [sentence for sentence in opened(logs, tmp_path).notes if "region north" in sentence]


def test_treatments_and_levels_that_the_logs_lack_altogether_are_said(tmp_path):
    logs = people()
    logs = logs[(logs.t != "large") & (logs.region == "south")]
    said = opened(logs, tmp_path).notes
    assert "nobody had treatment large" in said
    assert "nobody has region north" in said
    # Whoever never had it in any kind is not listed kind by kind.
    assert not [sentence for sentence in said if sentence.startswith("none of the")]


def test_people_unlike_the_trials_are_counted(tmp_path):
    logs = people()
    logs.loc[:9, "region"] = "west"
    logs.loc[:4, "age"] = 90.0
    said = opened(logs, tmp_path).notes
    assert any("10 of 3,000 rows have a level of region that the model does not know: west (10)" in one for one in said)
    assert any("5 of 3,000 rows have age outside 20 to 69" in one for one in said)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"region": None}, "region"),
        ({"t": "medium"}, r"column 't', row 1 of .*logs.parquet: found 'medium', expected one of none, small, large"),
        ({"age": "old"}, "feature 'age', row 1 of .*: found the text 'old', expected numbers, as in the table"),
        ({"region": "1"}, "feature 'region' of the logs: found only levels that the trial has not: 1, expected"),
        ({"r": np.nan}, r"column 'r', row 1 of .*: found None, expected a finite number"),
    ],
)
def test_logs_of_another_schema_or_treatment_are_refused_by_name(tmp_path, change, what):
    logs = people(50)
    ((name, value),) = change.items()
    logs = logs.drop(columns=name) if value is None else logs.assign(**{name: value})
    with pytest.raises(InputError, match=what):
        opened(logs, tmp_path)
