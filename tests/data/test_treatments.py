"""The order of treatments, what depends on it, and costs that are known."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dfcl_jax import InputError
from dfcl_jax.data import Columns, PredictedColumns, open_trial, predicted_trial, trial_table
from dfcl_jax.data.design import LEAST_EQUAL

N = 240


def trial(names: list, *, cost: list[float], seed: int = 0, n: int = N) -> pd.DataFrame:
    """Each treatment costs `cost` times a number from 0.5 to 1.5."""
    rng = np.random.default_rng(seed)
    t = rng.permutation(np.arange(n) % len(names))
    spend = np.array(cost)[t] * (0.5 + rng.random(n))
    arm = pd.Series([names[k] for k in t])
    return pd.DataFrame({"arm": arm, "sales": rng.gamma(2, size=n), "spend": spend, "age": rng.normal(size=n)})


def columns(**options) -> Columns:
    return Columns("arm", "sales", "spend", **options)


FALSE, TRUE = "False", "True"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("names", "cost", "options", "arms", "order"),
    [
        (["none", "coupon"], [0, 1], {}, ("none", "coupon"), [0, 1]),
        (["a", "b", "c"], [2, 1, 3], {}, ("b", "a", "c"), [1, 0, 2]),
        (["a", "b", "c"], [2, 1, 3], {"control": "c"}, ("c", "b", "a"), [2, 1, 0]),
        (["a", "b", "c"], [2, 1, 3], {"arms": ("c", "a", "b")}, ("c", "a", "b"), [2, 0, 1]),
        ([0, 1, 2], [2, 1, 3], {}, ("0", "1", "2"), [0, 1, 2]),
        ([0, 1, 2], [2, 1, 3], {"control": "1"}, ("1", "0", "2"), [1, 0, 2]),
        ([False, True], [1, 0.5], {}, (FALSE, TRUE), [0, 1]),
        ([0.1, 0.05, 0.0], [3, 2, 1], {}, ("0", "0.05", "0.1"), [2, 1, 0]),
        ([0.1, 0.05, 0.0], [3, 1, 2], {}, ("0.05", "0", "0.1"), [1, 2, 0]),
        ([10, 20], [2, 1], {}, ("20", "10"), [1, 0]),
        (["none", "10", "20"], [0, 2, 1], {}, ("none", "20", "10"), [0, 2, 1]),
        ([False, True], [0, 1], {"arms": (FALSE, TRUE)}, (FALSE, TRUE), [0, 1]),
        ([False, True], [0, 1], {"arms": ("1", "0")}, ("1", "0"), [1, 0]),
        ([0, 1], [0, 1], {"arms": ("true", "false")}, ("true", "false"), [1, 0]),
        ([0, 0.05, 0.1], [0, 1, 2], {"arms": ("0.0", "0.10", "0.05")}, ("0.0", "0.10", "0.05"), [0, 2, 1]),
        ([Decimal("0.00"), Decimal("0.05")], [0, 1], {"arms": ("0.05", "0")}, ("0.05", "0"), [1, 0]),
        (["1", "2"], [0, 1], {"arms": ("2", "1.0")}, ("2", "1.0"), [1, 0]),
        (list(np.array([0, 0.05], np.float32)), [0, 1], {"arms": ("0.05", "0")}, ("0.05", "0"), [1, 0]),
    ],
)
def test_the_order_of_treatments_is_that_of_the_rule(
    tmp_path: Path, streamed: bool, names: list, cost: list[float], options: dict, arms: tuple, order: list[int]
):
    frame = trial(names, cost=cost)
    which = trial(list(range(len(names))), cost=cost).arm.to_numpy()
    if streamed:
        for k in range(3):
            frame.iloc[80 * k : 80 * k + 80].to_parquet(tmp_path / f"{k}.parquet")
        table = open_trial(tmp_path, columns(**options))
        t = table.read().t
    else:
        table = trial_table(frame, columns(**options))
        t = table.t
    assert table.arms == arms
    np.testing.assert_array_equal(np.array(order)[t], which)
    assert [note for note in table.notes if note.endswith(f"the control is {arms[0]}")]


@pytest.mark.parametrize(
    ("frame", "options", "words"),
    [
        (trial(["none", "coupon"], cost=[0, 1]), {"propensities": (0.8, 0.2)}, ["propensities", "no given order"]),
        (trial(["none", "coupon"], cost=[0, 1]), {"costs": (0.0, 1.0)}, ["costs", "no given order", "`arms`"]),
        (trial([10, 20], cost=[2, 1]), {"propensities": (0.8, 0.2)}, ["propensities", "no given order (20, 10)"]),
        (trial(["a", "b"], cost=[0, 1]), {"control": "c"}, ["control: found c", "one of a, b"]),
        (trial(["a", "b"], cost=[0, 1]), {"control": "b", "arms": ("a", "b")}, ["control: found b", "expected a"]),
        (trial(["a", "b"], cost=[0, 1]), {"arms": ("a", "b"), "costs": (1.0,)}, ["costs: found 1", "2, one for each"]),
        (trial(["a", "b"], cost=[0, 1]), {"arms": ("a", "b"), "costs": (1.0, np.inf)}, ["costs", "inf", "finite"]),
        (trial([-1, 0, 1], cost=[0, 1, 2]), {}, ["column 'arm', row", "found -1", "`arms` that name it"]),
        (trial(list(range(1, 100)), cost=[1] * 99), {}, ["99 different values in 240 rows", "at most 50"]),
        (trial(["a", "b"], cost=[0, 1])[:1], {}, ["column 'arm'", "single treatment", "at least 2"]),
        (trial([f"a{k}" for k in range(20)], cost=[1] * 20)[:30], {}, ["column 'arm'", "different values in 30 rows"]),
    ],
)  # fmt: skip
def test_what_has_no_order_or_is_no_treatment_is_refused(frame: pd.DataFrame, options: dict, words: list[str]):
    with pytest.raises(InputError) as refused:
        trial_table(frame, columns(**options))
    message = str(refused.value)
    assert [word for word in words if word not in message] == [], message


def test_negative_values_are_treatments_where_they_are_no_gap():
    assert trial_table(trial([-10, 0, 10], cost=[3, 1, 2]), columns()).arms == ("0", "-10", "10")
    assert trial_table(trial([-1, 0, 1], cost=[0, 1, 2]), columns(arms=("0", "-1", "1"))).arms == ("0", "-1", "1")


def test_propensities_need_no_order_where_they_are_equal_or_the_control_tells_it():
    frame = trial(["none", "coupon"], cost=[0, 1])
    np.testing.assert_array_equal(trial_table(frame, columns(propensities=(0.5, 0.5))).p, [0.5, 0.5])
    told = trial_table(frame, columns(propensities=(0.25, 0.75), control="coupon"))
    assert told.arms == ("coupon", "none")
    np.testing.assert_array_equal(told.p, [0.25, 0.75])


def test_columns_are_matched_by_the_names_of_treatments():
    frame = trial(["none", "coupon"], cost=[0, 1]).assign(p_coupon=0.25, p_none=0.75, r_coupon=2.0, r_none=1.0)
    table = trial_table(frame, columns(features=("age",), propensity_columns=("p_coupon", "p_none")))
    np.testing.assert_array_equal(table.p, np.tile([0.75, 0.25], (N, 1)))
    model = PredictedColumns(revenue=("r_coupon", "r_none"), cost=("p_coupon", "p_none"))
    judged = predicted_trial(frame, columns(features=("age",)), {"model": model})
    np.testing.assert_array_equal(judged.outcomes["model"].r, np.tile([1.0, 2.0], (N, 1)))
    assert judged.table is not None
    assert judged.table.arms == ("none", "coupon")
    unnamed = frame.rename(columns={"r_coupon": "r0", "r_none": "r1"})
    model = PredictedColumns(revenue=("r0", "r1"), cost=("p_coupon", "p_none"))
    with pytest.raises(InputError, match="predicted revenue of model: found r0, r1 for treatments in no given order"):
        predicted_trial(unnamed, columns(features=("age",)), {"model": model})
    stated = predicted_trial(unnamed, columns(features=("age",), arms=("coupon", "none")), {"model": model})
    np.testing.assert_array_equal(stated.outcomes["model"].r, np.tile([2.0, 1.0], (N, 1)))


@pytest.mark.parametrize("total", [0.9995, 0.99999, 1.0005])
def test_propensities_that_are_rounded_sum_to_1_once_read(total: float):
    frame = trial([0, 1], cost=[0, 1]).assign(p0=0.3 * total, p1=0.7 * total)
    shared = trial_table(frame, columns(features=("age",), propensities=(0.3 * total, 0.7 * total))).p
    own = predicted_trial(
        frame,
        columns(features=("age",), propensity_columns=("p0", "p1")),
        {"model": PredictedColumns(("p0", "p1"), ("p0", "p1"))},
    ).trial.p
    # Two numbers in float32, each off by at most 2**-25.
    np.testing.assert_allclose(shared.sum(dtype=np.float64), 1, atol=2**-24)
    np.testing.assert_allclose(np.asarray(own, np.float64).sum(axis=1), 1, atol=2**-24)
    np.testing.assert_allclose(shared, [0.3, 0.7], rtol=1e-6)
    with pytest.raises(InputError, match="sum to 1"):
        trial_table(frame, columns(propensities=(0.3, 0.698)))


def test_propensities_that_the_shares_contradict_are_doubted():
    frame = trial([0, 1], cost=[0, 1])
    doubts = [note for note in trial_table(frame, columns(propensities=(0.8, 0.2))).notes if "contradict" in note]
    # 120 of 240 where 48 are expected: chi-square 135.
    assert len(doubts) == 1
    assert "1 120 for 48" in doubts[0]
    assert not [note for note in trial_table(frame, columns(propensities=(0.52, 0.48))).notes if "contradict" in note]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_cost_that_never_varied_or_is_given_is_known(tmp_path: Path, streamed: bool):
    frame = trial(["none", "small", "large"], cost=[0, 1, 2], n=3 * LEAST_EQUAL)
    frame.loc[frame.arm == "large", "spend"] = 2.5
    frame.to_csv(tmp_path / "a.csv", index=False)

    def known(**options) -> np.ndarray:
        source = open_trial if streamed else trial_table
        return source(tmp_path / "a.csv", columns(**options)).known_costs

    np.testing.assert_array_equal(known(), [0, np.nan, 2.5])
    arms = ("none", "small", "large")
    np.testing.assert_array_equal(known(arms=arms, costs=(0.0, 1.0, np.nan)), [0, 1, np.nan])


@pytest.mark.parametrize("streamed", [False, True])
def test_a_cost_that_did_not_vary_in_few_rows_is_an_estimate(tmp_path: Path, streamed: bool):
    frame = trial(["none", "coupon"], cost=[0, 1], n=2 * LEAST_EQUAL)
    frame = frame.drop(index=frame.index[frame.arm == "none"][0])
    frame.assign(spend=frame.spend + 1).to_csv(tmp_path / "a.csv", index=False)
    read = (open_trial if streamed else trial_table)(tmp_path / "a.csv", columns())
    assert np.isnan(read.known_costs).all()
    assert "treatment none cost 1 in each of its 99 rows: too few to take it as known (at least 100)" in str(read.notes)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_control_that_alone_cost_nothing_costs_nothing_however_few_its_rows(tmp_path: Path, streamed: bool):
    def known(email: float) -> list:
        frame = trial(["none", "email", "coupon"], cost=[0, email, 2], n=60)
        frame.to_csv(tmp_path / f"{email}.csv", index=False)
        return (open_trial if streamed else trial_table)(tmp_path / f"{email}.csv", columns()).known_costs.tolist()

    np.testing.assert_array_equal(known(1), [0, np.nan, np.nan])
    # E-mails that nobody has redeemed yet are not known to be free.
    assert np.isnan(known(0)).all()


def test_small_arms_and_equal_costs_are_noted():
    frame = trial(["a", "b", "c"], cost=[1, 1, 2]).assign(spend=1.0)
    frame.loc[0, "arm"] = "cc"
    notes = "\n".join(trial_table(frame, columns()).notes)
    assert "treatment cc has only 1 of 240 rows" in notes
    assert "a and b and c and cc cost the same on average" in notes


def test_eight_rows_are_a_table():
    frame = trial(["none", "coupon"], cost=[0, 1])[:8].reset_index(drop=True)
    table = trial_table(frame, columns())
    assert table.arms == ("none", "coupon")
    assert np.isnan(table.known_costs[1])


@pytest.mark.parametrize(
    ("rare", "rows", "hint"),
    [
        ("Coupon ", 1, "'Coupon ' (1 of 240 rows: is it 'coupon' misspelt?)"),
        ("cuopon", 2, "'cuopon' (2 of 240 rows: is it 'coupon' misspelt?)"),
        ("gift", 1, "none, coupon, gift"),
        ("coupon", 0, "none, coupon"),
    ],
)
def test_a_refusal_says_which_treatment_is_perhaps_misspelt(rare: str, rows: int, hint: str):
    frame = trial(["none", "coupon"], cost=[0, 1]).assign(p=0.5, q=0.25)
    frame.loc[frame.index[frame.arm == "coupon"][:rows], ["arm", "spend"]] = [rare, 9.0]
    named = columns(arms=("none", "coupon", rare)[: 2 + (rows > 0)], propensity_columns=("p", "q", "p", "q"))
    with pytest.raises(InputError) as error:
        trial_table(frame, named)
    assert hint in str(error.value)
