"""People whom a policy decides for and who are not as those of its trial."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from dfcl_jax import InputError
from dfcl_jax.runs import Newcomers, plan_people, plan_people_by_predictions

BUDGET = 0.08


def changed(people: pd.DataFrame) -> pd.DataFrame:
    """Ten people of an unseen level and three of an age that nobody had."""
    people.loc[:9, "region"] = "east"
    people.loc[20:22, "age"] = 99.0
    return people


def test_people_unlike_the_trials_are_counted(tmp_path, policy, people):
    changed(people(2_000)).to_parquet(tmp_path / "people.parquet")
    plans = {
        "measured": plan_people(tmp_path / "people.parquet", policy, tmp_path / "plan", budget=BUDGET),
        "predicted": plan_people_by_predictions(tmp_path / "people.parquet", policy, tmp_path / "by", budget=5),
    }
    for plan in plans.values():
        assert plan.unlike is not None
        said = plan.unlike.sentences()
        assert [line for line in said if "10 of 2,000 rows have a level of region" in line and "east (10)" in line], (
            said
        )
        assert [line for line in said if "rows have age outside" in line and "up to 99" in line], said


@pytest.mark.parametrize("plan", [plan_people, plan_people_by_predictions])
def test_too_many_people_unlike_the_trials_are_refused_unless_allowed(tmp_path, policy, people, plan):
    frame = people(1_000).assign(region="NORTH")
    frame.to_parquet(tmp_path / "people.parquet")
    with pytest.raises(InputError) as refused:
        plan(tmp_path / "people.parquet", policy, tmp_path / "plan", budget=5)
    message = str(refused.value)
    assert "people: found 1,000 of 1,000 rows have a level of region that the model does not know: NORTH" in message
    assert "expected at most 50% of people unlike" in message
    assert [file.name for file in tmp_path.iterdir()] == ["people.parquet"]
    allowed = plan(tmp_path / "people.parquet", policy, tmp_path / "plan", budget=5, newcomers=Newcomers(unlike=1))
    assert allowed.people == 1_000


def test_the_share_is_of_all_people_not_of_those_seen_so_far(tmp_path, policy, people):
    frame = people(20_000)
    # The first batch is all unlike; of everybody it is two fifths.
    frame.loc[:8_000, "region"] = "east"
    frame.to_parquet(tmp_path / "people.parquet")
    plan = plan_people(tmp_path / "people.parquet", policy, tmp_path / "plan", budget=BUDGET, batch=1)
    assert plan.unlike.shares()["region"] == pytest.approx(0.4, abs=1e-4)
    with pytest.raises(InputError, match="at most 30% of people"):
        plan_people(
            tmp_path / "people.parquet",
            policy,
            tmp_path / "other",
            budget=BUDGET,
            batch=1,
            newcomers=Newcomers(unlike=0.3),
        )


def test_numbers_outside_the_range_of_training_are_moved_to_its_ends_if_asked(tmp_path, policy, people):
    far, end = people(500), people(500)
    low = next(column.low for column in policy.encoder.columns if column.name == "age")
    far.loc[:, "age"], end.loc[:, "age"] = -999.0, low
    plans = {}
    for name, frame, newcomers in (
        ("far", far, Newcomers(unlike=1)),
        ("clipped", far, Newcomers(clip=True)),
        ("end", end, Newcomers()),
    ):
        frame.to_parquet(tmp_path / f"{name}.parquet")
        plan_people(tmp_path / f"{name}.parquet", policy, tmp_path / name, budget=BUDGET, newcomers=newcomers)
        plans[name] = pq.read_table(tmp_path / name).to_pandas()
    pd.testing.assert_frame_equal(plans["clipped"], plans["end"])
    assert not np.allclose(plans["far"].cost, plans["end"].cost)


def test_a_csv_file_is_planned_as_a_parquet_file(tmp_path, policy, people):
    frame = people(300)
    frame.to_parquet(tmp_path / "people.parquet")
    frame.to_csv(tmp_path / "people.csv", index=False)
    for name in ("parquet", "csv"):
        plan_people(tmp_path / f"people.{name}", policy, tmp_path / f"{name} plan", budget=BUDGET)
    assert pq.read_table(tmp_path / "parquet plan").equals(pq.read_table(tmp_path / "csv plan"))
