import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from dfcl_jax import InputError, Outcomes, Trial
from dfcl_jax.data import Columns, Split, split_rows, split_simulation, split_table, trial_table
from dfcl_jax.data.simulate import Simulation

FRACTIONS = (0.6, 0.1, 0.3)
ROWS = np.arange(200)
# The feature is the outcome, and the cost and the propensity follow from it, so that a row out of step shows.
FRAME = pd.DataFrame(
    {
        "arm": ROWS % 2,
        "sales": ROWS.astype(float),
        "spend": 2.0 * ROWS,
        "copy": ROWS.astype(float),
        "p0": 0.25 + ROWS / 1000,
        "p1": 0.75 - ROWS / 1000,
    }
)
TABLE = trial_table(FRAME, Columns("arm", "sales", "spend", ("copy",), propensity_columns=("p0", "p1")))


@pytest.mark.parametrize("n", [10, 101, 1000])
def test_the_parts_hold_every_row_once(n: int):
    parts = split_rows(n, 0, FRACTIONS)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(n))


def test_the_parts_have_the_sizes_of_the_fractions():
    assert [len(part) for part in split_rows(1000, 0, (0.5, 0.2, 0.3))] == [500, 200, 300]


def test_the_same_seed_gives_the_same_rows_and_another_seed_others():
    for part, same, other in zip(*(split_rows(1000, seed, FRACTIONS) for seed in (3, 3, 4)), strict=True):
        np.testing.assert_array_equal(part, same)
        assert not np.array_equal(part, other)


@pytest.mark.parametrize(
    "fractions", [(0.6, 0.1, 0.2), (0.6, 0.1, 0.4), (0.7, 0.0, 0.3), (1.2, -0.5, 0.3), (np.nan, 0.5, 0.5)]
)
def test_fractions_that_are_not_positive_or_do_not_sum_to_1_are_refused(fractions: tuple[float, float, float]):
    with pytest.raises(InputError, match=r"fractions: found \(.*\), expected three positive numbers"):
        split_rows(1000, 0, fractions)


def test_too_few_rows_for_three_parts_are_refused():
    with pytest.raises(InputError, match="table: found 3 rows, expected enough rows"):
        split_rows(3, 0, FRACTIONS)


def parts_of(split: Split) -> list[Trial]:
    assert isinstance(split.task.train, Trial)
    return [split.task.train, split.task.valid, split.exam.test]


def test_features_outcomes_and_propensities_of_a_row_stay_together():
    split = split_table(TABLE, 0)
    train_rows, _, _ = split_rows(200, 0, FRACTIONS)
    shift, scale = ROWS[train_rows].mean(), ROWS[train_rows].std()
    for part, size in zip(parts_of(split), (120, 20, 60), strict=True):
        assert part.x.shape == (size, 1)
        # Outcomes up to 200 in float32, where neighbours are 1.5e-5 apart.
        np.testing.assert_allclose(part.x[:, 0] * scale + shift, part.r, atol=1e-4)
        np.testing.assert_array_equal(part.t, np.asarray(part.r) % 2)
        np.testing.assert_array_equal(part.c, 2 * np.asarray(part.r))
        np.testing.assert_allclose(part.p[:, 0], 0.25 + np.asarray(part.r) / 1000, atol=1e-6)


def test_the_split_says_which_rows_are_in_the_test_part():
    split = split_table(TABLE, 5)
    np.testing.assert_array_equal(split.exam.test.r, TABLE.r[split.test_rows])
    assert split.exam.truth is None


def test_features_are_scaled_by_the_training_part_alone():
    split = split_table(TABLE, 1)
    # 1e-6 is the rounding of float32 numbers near 1.
    np.testing.assert_allclose(np.asarray(parts_of(split)[0].x).mean(), 0, atol=1e-6)
    np.testing.assert_allclose(np.asarray(parts_of(split)[0].x).std(), 1, rtol=1e-6)
    assert abs(np.asarray(split.exam.test.x).mean()) > 1e-3


def test_minmax_scaling_reaches_the_encoder():
    x = np.asarray(parts_of(split_table(TABLE, 1, scaling="minmax"))[0].x)
    assert (x.min(), x.max()) == (0, 1)


def test_propensities_shared_by_all_rows_stay_shared():
    split = split_table(trial_table(FRAME, Columns("arm", "sales", "spend", ("copy",))), 0)
    for part in parts_of(split):
        np.testing.assert_array_equal(part.p, [0.5, 0.5])


def test_an_arm_without_rows_in_the_training_part_is_refused():
    _, _, test_rows = split_rows(200, 0, FRACTIONS)
    arm = np.where(np.isin(ROWS, test_rows[:1]), "rare", np.where(ROWS % 2 == 0, "none", "mail"))
    table = trial_table(FRAME.assign(arm=arm), Columns("arm", "sales", "spend", ("copy",)))
    with pytest.raises(InputError, match="training part of seed 0: found no row of treatment rare, expected rows of"):
        split_table(table, 0)


def _simulation(n: int) -> Simulation:
    rng = np.random.default_rng(0)
    truth = Outcomes(*(jnp.asarray(rng.normal(size=(n, 3))) for _ in "rc"))
    x, r, c = (jnp.asarray(rng.normal(size=shape)) for shape in ((n, 4), n, n))
    return Simulation(Trial(x, jnp.asarray(rng.integers(3, size=n)), r, c, jnp.array([0.5, 0.25, 0.25])), truth)


def test_a_simulation_keeps_the_truth_of_its_test_part():
    simulation = _simulation(100)
    split = split_simulation(simulation, 60, 15)
    assert split.exam.truth is not None
    np.testing.assert_array_equal(split.exam.truth.r, simulation.truth.r[75:])
    np.testing.assert_array_equal(split.exam.truth.c, simulation.truth.c[75:])


def test_a_simulation_is_cut_without_loss_and_in_order():
    simulation = _simulation(100)
    split = split_simulation(simulation, 60, 15)
    assert [len(part.t) for part in parts_of(split)] == [60, 15, 25]
    for whole, *parts in zip(simulation.trial[:4], *(part[:4] for part in parts_of(split)), strict=True):
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    for part in parts_of(split):
        np.testing.assert_array_equal(part.p, simulation.trial.p)
