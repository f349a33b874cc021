"""Parts and samples of a data set that is read in place, and trials in CSV files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dfcl_jax import InputError
from dfcl_jax.data import Columns, StreamedTrial, encode, fit_encoder, fold_of, open_trial, part_of, trial_table
from dfcl_jax.data.rows import hashed

N = 3000
COLUMNS = Columns("arm", "sales", "spend")
FRACTIONS = (0.6, 0.1, 0.3)


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    t = rng.integers(0, 3, N)
    return pd.DataFrame(
        {
            "arm": np.array(["none", "small", "large"])[t],
            "sales": np.arange(N) / 8,  # names the row, exactly in float32
            "spend": 0.5 * t * rng.random(N),
            "age": rng.normal(40, 10, N),
            "size": rng.choice(["36", "38", "M", "L"], N),
            "member": rng.random(N) < 0.5,
        }
    )


FRAME = frame()


@pytest.fixture(scope="module", params=["parquet", "csv"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(request.param)
    for k, rows in enumerate(np.array_split(np.arange(N), 4)):
        if request.param == "csv":
            FRAME.iloc[rows].to_csv(path / f"{k}.csv", index=False)
        else:
            FRAME.iloc[rows].to_parquet(path / f"{k}.parquet", row_group_size=100)
    return path


@pytest.fixture(scope="module")
def trial(folder: Path) -> StreamedTrial:
    return open_trial(folder, COLUMNS)


def rows_of(*trials) -> np.ndarray:
    return np.concatenate([np.rint(8 * trial.r.astype(float)).astype(int) for trial in trials])


def test_a_trial_in_parts_is_the_table_in_memory(trial: StreamedTrial):
    table, read = trial_table(FRAME, COLUMNS), trial.read()
    encoder = fit_encoder(table.features, np.arange(N))
    assert (trial.arms, trial.encoder) == (table.arms, encoder)
    np.testing.assert_array_equal(trial.known_costs, table.known_costs)
    for part, same in zip(read[:5], (encode(encoder, table.features), *table[1:5]), strict=True):
        np.testing.assert_array_equal(part, same)


def test_three_parts_have_every_row_once(trial: StreamedTrial):
    parts = [trial.part(7, FRACTIONS, k) for k in range(3)]
    rows = [rows_of(part.read()) for part in parts]
    assert [len(part) for part in rows] == [part.rows for part in parts]
    np.testing.assert_array_equal(np.sort(np.concatenate(rows)), np.arange(N))
    assert all((np.diff(part) > 0).all() for part in rows)
    # Binomial: 5 standard deviations.
    for part, share in zip(parts, FRACTIONS, strict=True):
        assert abs(part.rows - N * share) < 5 * np.sqrt(N * share * (1 - share))
    again, other = trial.part(7, FRACTIONS, 0), trial.part(8, FRACTIONS, 0)
    np.testing.assert_array_equal(rows_of(again.read()), rows[0])
    assert set(rows_of(other.read())) != set(rows[0])


def test_a_part_is_shuffled_into_batches(trial: StreamedTrial):
    part = trial.part(7, FRACTIONS, 0)
    rows = rows_of(*part.batches(3, 64, buffer=500))
    assert len(set(rows)) == len(rows) == part.rows // 64 * 64
    assert set(rows) <= set(rows_of(part.read()))
    assert (np.diff(rows) < 0).any()
    np.testing.assert_array_equal(rows_of(*part.batches(3, 64, buffer=500)), rows)


@pytest.mark.thorough
def test_a_sample_is_a_uniform_choice_of_so_many_rows(trial: StreamedTrial):
    part = trial.part(7, FRACTIONS, 0)
    samples = [rows_of(part.sample(200, seed=seed)) for seed in range(20)]
    assert {len(set(sample)) for sample in samples} == {200}
    everybody = rows_of(part.read())
    assert all(set(sample) <= set(everybody) for sample in samples)
    # Means of 200 rows without replacement, over 20 samples: 4 standard errors.
    error = everybody.std() / np.sqrt(200 * 20)
    np.testing.assert_allclose(np.mean(samples), everybody.mean(), atol=4 * error)
    np.testing.assert_array_equal(rows_of(part.read(N)), everybody)
    np.testing.assert_array_equal(rows_of(part.read(200)), samples[0])


def test_rows_are_selected_by_their_number_in_the_whole(trial: StreamedTrial):
    even = trial.select(lambda rows: rows % 2 == 0)
    np.testing.assert_array_equal(rows_of(even.read()), np.arange(0, N, 2))
    sixth = even.select(lambda rows: rows % 3 == 0)
    np.testing.assert_array_equal(rows_of(sixth.read()), np.arange(0, N, 6))
    assert (even.rows, sixth.rows) == (N // 2, N // 6)


def test_shares_of_a_part_have_its_rows_between_them(trial: StreamedTrial):
    part = trial.part(7, FRACTIONS, 0)
    shares = [part.share(k, 3) for k in range(3)]
    rows = [rows_of(share.read()) for share in shares]
    assert [share.rows for share in shares] == [len(own) for own in rows]
    np.testing.assert_array_equal(np.sort(np.concatenate(rows)), rows_of(part.read()))


def test_the_encoder_learns_from_training_rows_alone(folder: Path):
    training = part_of(7, FRACTIONS, 0)
    trial = open_trial(folder, COLUMNS, training=training)
    rows = np.flatnonzero(training(np.arange(N)))
    assert trial.rows == N
    assert trial.encoder == fit_encoder(FRAME.drop(columns=["arm", "sales", "spend"]), rows)
    assert trial.encoder != open_trial(folder, COLUMNS).encoder


def test_hashes_are_spread_evenly_and_differ_by_seed():
    one, other = (hashed(np.arange(2**16), seed).astype(float) / 2**64 for seed in (0, 1))
    for uniform in (one, other):
        # Of 65,536 uniform numbers, 64 bins: chi-square of 63 degrees of freedom, 5 standard deviations.
        counts = np.histogram(uniform, bins=64, range=(0, 1))[0]
        assert ((counts - 1024) ** 2 / 1024).sum() < 63 + 5 * np.sqrt(2 * 63)
    assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(2**16)


@pytest.mark.parametrize(
    ("seed", "fractions", "k", "words"),
    [(-1, FRACTIONS, 0, "seed"), (0, (0.5, 0.1, 0.3), 0, "fractions"), (0, FRACTIONS, 3, "part")],
)
def test_parts_that_cannot_be_are_refused(trial: StreamedTrial, seed: int, fractions: tuple, k: int, words: str):
    with pytest.raises(InputError, match=words):
        trial.part(seed, fractions, k)


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_a_bad_row_of_a_part_is_named_by_its_place_in_its_file(tmp_path: Path, ending: str):
    good = open_trial(_saved(tmp_path / f"good.{ending}", FRAME), COLUMNS)
    late = FRAME.assign(arm=np.where(np.arange(N) == 2500, "huge", FRAME.arm))
    other = open_trial(_saved(tmp_path / f"late.{ending}", late), COLUMNS, like=good)
    assert other.select(lambda rows: rows < 2500).read().t.shape == (2500,)
    with pytest.raises(InputError, match=r"column 'arm', row 2501 of .*late.*: found 'huge', expected one of none"):
        other.select(lambda rows: rows >= 2400).read()


def _saved(path: Path, table: pd.DataFrame) -> Path:
    table.to_parquet(path) if path.suffix == ".parquet" else table.to_csv(path, index=False)
    return path


def test_texts_that_are_numbers_in_the_sample_alone_are_a_category(tmp_path: Path):
    table = FRAME.assign(size=np.where(np.arange(N) % 30 == 1, "M", "36"))
    trial = open_trial(_saved(tmp_path / "a.parquet", table), COLUMNS, sample=100)
    # Every thirtieth row from the first on is in the sample, the words are one row later.
    assert "size=36" in trial.encoder.names
    assert trial.read().x.shape == (N, len(trial.encoder.names))


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_an_index_and_a_leak_are_found_in_a_data_set_too(tmp_path: Path, ending: str):
    table = FRAME.assign(**{"id": np.arange(N), "sales.1": FRAME.sales, "told": 3 * FRAME.sales})
    trial = open_trial(_saved(tmp_path / f"a.{ending}", table), COLUMNS, sample=500)
    assert [column.name for column in trial.encoder.columns] == ["age", "size", "member", "told"]
    assert len([note for note in trial.notes if "left out" in note]) == 2
    assert [leak for leak in trial.leaks if leak.startswith("feature 'told' tells revenue")]


HOMES = FRAME.assign(home=np.arange(N) // 7, people=np.tile([0.5, 1.0, 3.0], N)[:N])
OF_HOMES = replace(COLUMNS, cluster="home", weight="people")


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> StreamedTrial:
    path = tmp_path_factory.mktemp("homes")
    for k, rows in enumerate(np.array_split(np.arange(N), 3)):
        HOMES.iloc[rows].to_parquet(path / f"{k}.parquet", row_group_size=100)
    return open_trial(path, OF_HOMES)


def test_folds_of_a_streamed_trial_keep_clusters_whole(homes: StreamedTrial):
    """Home by home the rows of a part are all seven or none."""
    seen = np.zeros(N, int)
    for k in range(3):
        train, valid, test = (homes.select(part) for part in fold_of(0, 3, k, valid=0.2))
        assert train.rows + valid.rows + test.rows == N
        for part in (train, valid, test):
            cluster = np.asarray(part.read().cluster)
            sizes = np.bincount(cluster)
            # The last home may have fewer.
            assert (np.sort(sizes)[1:] == 7).all()
            assert len(sizes) == cluster.max() + 1
        seen[rows_of(test.read())] += 1
    assert (seen == 1).all()


def test_a_sample_of_a_streamed_trial_has_whole_clusters(homes: StreamedTrial):
    sample = homes.read(N // 3)
    assert (np.sort(np.bincount(np.asarray(sample.cluster)))[1:] == 7).all()
    assert sample.rows < N // 3 + 7


def test_weights_of_a_streamed_trial_are_of_mean_1_in_all_rows_and_in_their_batches(homes: StreamedTrial):
    whole = homes.read()
    np.testing.assert_allclose(np.asarray(whole.weight), HOMES.people / HOMES.people.mean(), rtol=1e-6)
    (batch,) = homes.batches(0, N, buffer=N)
    np.testing.assert_allclose(np.sort(np.asarray(batch.weight)), np.sort(np.asarray(whole.weight)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"people": -1.0}, "column 'people', row 1 .*: found -1.0, expected a weight of at least 0"),
        ({"people": 0.0}, "column 'people': found only zeros, expected a weight above 0"),
        ({"home": None}, "column 'home', row 1 .*: found None, expected the cluster of the row"),
    ],
)
def test_bad_clusters_and_weights_are_refused_when_a_trial_is_opened(change, said, tmp_path):
    HOMES.assign(**change).to_parquet(tmp_path / "trial.parquet")
    with pytest.raises(InputError, match=said):
        open_trial(tmp_path / "trial.parquet", OF_HOMES)
