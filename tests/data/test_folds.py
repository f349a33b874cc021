import numpy as np
import pandas as pd
import pytest

from dfcl_jax import InputError
from dfcl_jax.data import Columns, Table, fold_of, split_folds, trial_table

N = 600


def frame(seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    t = rng.integers(0, 2, N)
    home = rng.integers(0, 150, N)
    return pd.DataFrame(
        {"x": rng.standard_normal(N), "t": t, "r": rng.random(N), "c": t * 0.5, "home": home, "w": rng.random(N) + 0.1}
    )


def table(**columns: str) -> Table:
    return trial_table(frame(), Columns("t", "r", "c", ("x",), **columns))  # pyright: ignore[reportArgumentType]


@pytest.mark.thorough
@pytest.mark.parametrize("folds", [2, 5, 7])
def test_every_row_is_in_the_exam_of_exactly_one_fold(folds):
    splits = split_folds(table(), 3, folds=folds)
    assert sorted(np.concatenate([split.rows for split in splits])) == list(range(N))
    assert [split.task.seed for split in splits] == [3 * folds + k for k in range(folds)]


def test_no_row_of_an_exam_is_trained_or_validated_on():
    # The outcome is the row's number, so that parts tell whom they have.
    numbered = table()._replace(r=np.arange(N, dtype=np.float32))
    for split in split_folds(numbered, 0, folds=5):
        seen = [
            set(np.asarray(part.r).astype(int))
            for part in (split.task.train.sample(N), split.task.valid, split.exam.test)
        ]
        assert seen[2] == set(split.rows)
        assert not seen[0] & seen[1]
        assert not (seen[0] | seen[1]) & seen[2]
        assert len(seen[0]) + len(seen[1]) == N - N // 5
        assert len(seen[1]) == round(0.1 * (N - N // 5))


def test_no_cluster_of_an_exam_is_trained_or_validated_on_and_validation_shares_none_with_training():
    clustered = table(cluster="home")._replace(r=np.arange(N, dtype=np.float32))
    home = clustered.cluster
    assert home is not None
    splits = split_folds(clustered, 0, folds=5)
    assert sorted(np.concatenate([split.rows for split in splits])) == list(range(N))
    for split in splits:
        parts = [
            np.asarray(part.r).astype(int) for part in (split.task.train.sample(N), split.task.valid, split.exam.test)
        ]
        train, valid, test = (set(home[part]) for part in parts)
        assert not train & valid
        assert not (train | valid) & test
    # Folds of whole clusters of about 4 rows are as long as each other to within the largest cluster.
    assert np.ptp([split.exam.test.rows for split in splits]) <= np.bincount(home).max()


def test_parts_of_all_folds_are_equally_long_so_that_one_program_trains_them():
    splits = split_folds(table(cluster="home"), 1, folds=5)
    assert len({(split.task.train.rows, split.task.valid.rows) for split in splits}) == 1
    # At most the largest cluster, of about 12 rows, is lost of each part.
    assert splits[0].task.train.rows + splits[0].task.valid.rows > 0.95 * 0.8 * N


def test_partitions_differ_and_each_is_always_the_same():
    rows = [tuple(split_folds(table(), number, folds=5)[0].rows) for number in (0, 0, 1)]
    assert rows[0] == rows[1] != rows[2]


def test_the_weights_of_an_exam_are_those_of_its_rows():
    weighted = table(weight="w")
    split = split_folds(weighted, 0, folds=3)[1]
    assert weighted.weight is not None
    assert split.exam.test.weight is not None
    np.testing.assert_array_equal(split.exam.test.weight, weighted.weight[split.rows])


def test_neither_cluster_nor_weight_is_a_feature():
    read = trial_table(frame(), Columns("t", "r", "c", cluster="home", weight="w"))
    assert list(read.features.columns) == ["x"]


@pytest.mark.parametrize(
    ("change", "columns", "said"),
    [
        ({"home": None}, {"cluster": "home"}, "column 'home', row 3: found a gap"),
        ({"w": -1.0}, {"weight": "w"}, "column 'w', row 3: found -1.0, expected a weight of at least 0"),
        ({}, {"weight": "r"}, "column 'r': found it with two parts to play"),
    ],
)
def test_bad_clusters_and_weights_are_refused_by_their_row(change, columns, said):
    bad = frame().astype({"home": object})
    for name, value in change.items():
        bad.loc[2, name] = value
    with pytest.raises(InputError, match=said):
        trial_table(bad, Columns("t", "r", "c", ("x",), **columns))


def test_weights_that_are_all_zero_are_refused():
    with pytest.raises(InputError, match="found only zeros"):
        trial_table(frame().assign(w=0.0), Columns("t", "r", "c", ("x",), weight="w"))


@pytest.mark.parametrize("folds", [1, 700])
def test_too_few_or_too_many_folds_are_refused(folds):
    with pytest.raises(InputError, match="folds"):
        split_folds(table(), 0, folds=folds)


def test_streamed_rows_are_in_one_fold_each_and_validation_has_its_share():
    rows, folds = np.arange(100_000), 5
    parts = [fold_of(2, folds, k, valid=0.125) for k in range(folds)]
    test = np.stack([of[2](rows) for of in parts])
    assert (test.sum(axis=0) == 1).all()
    for train, valid, own in parts:
        assert not (train(rows) & valid(rows)).any()
        assert not ((train(rows) | valid(rows)) & own(rows)).any()
        assert ((train(rows) | valid(rows)) == ~own(rows)).all()
        # Four standard errors of 80,000 draws.
        assert valid(rows).sum() / 80_000 == pytest.approx(0.125, abs=4 * np.sqrt(0.125 * 0.875 / 80_000))
