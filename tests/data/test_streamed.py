from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dfcl_jax import InputError
from dfcl_jax.data import Columns, encode, fit_encoder, open_trial, trial_table
from dfcl_jax.data.streamed import PIECE

N, M = 1000, 3
COLUMNS = Columns("arm", "sales", "spend")


def frame(n: int = N) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    age = rng.integers(18, 80, n).astype(float)
    age[::7] = np.nan
    return pd.DataFrame(
        {
            "row": np.arange(n, dtype=float),
            "age": age,
            "region": rng.choice(["north", "south"], n),
            "arm": rng.integers(0, M, n),
            "sales": rng.gamma(2.0, size=n),
            "spend": rng.random(n),
        }
    )


def write(folder: Path, table: pd.DataFrame, *, files: int = 3, group: int = 50) -> Path:
    folder.mkdir(exist_ok=True)
    for k, rows in enumerate(np.array_split(np.arange(len(table)), files)):
        part = pa.Table.from_pandas(table.iloc[rows], preserve_index=False)
        pq.write_table(part, folder / f"part-{k}.parquet", row_group_size=group)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data") / "trial", frame())


def test_a_trial_read_from_its_parts_is_the_table_in_memory(folder):
    table = trial_table(frame(), COLUMNS)
    encoder = fit_encoder(table.features, np.arange(N))
    trial = open_trial(folder, COLUMNS)
    assert trial.encoder == encoder
    assert trial.arms == table.arms
    expected = (encode(encoder, table.features), *table[1:5])
    for part, same in zip(trial.read()[:5], expected, strict=True):
        np.testing.assert_array_equal(part, same)
        assert part.dtype == same.dtype


def rows_of(trial, batches) -> list[np.ndarray]:
    """Which rows batches have: the first feature says so."""
    row = trial.encoder.columns[0]
    return [np.rint(batch.x[:, 0] * row.scale + row.shift).astype(int) for batch in batches]


@pytest.mark.parametrize(("size", "buffer"), [(64, 200), (100, 100), (300, 10_000), (128, 1)])
def test_batches_have_every_row_once_but_for_fewer_than_a_batch(folder, size, buffer):
    trial = open_trial(folder, COLUMNS)
    batches = list(trial.batches(0, size, buffer=buffer))
    rows = np.concatenate(rows_of(trial, batches))
    assert [len(batch.t) for batch in batches] == [size] * (N // size)
    assert len(set(rows)) == len(rows) == N // size * size
    whole = trial.read()
    for name in ("x", "t", "r", "c"):
        column = np.concatenate([getattr(batch, name) for batch in batches])
        np.testing.assert_array_equal(column, getattr(whole, name)[rows])
    np.testing.assert_array_equal(batches[0].p, whole.p)


def test_the_seed_determines_the_batches(folder):
    trial = open_trial(folder, COLUMNS)
    one, same, other = (rows_of(trial, trial.batches(seed, 100, buffer=300)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (np.sort(one, axis=None) != np.sort(other, axis=None)).any() or (np.array(one) != np.array(other)).any()


@pytest.mark.thorough
def test_a_buffer_of_all_rows_makes_every_batch_a_random_sample(folder):
    trial = open_trial(folder, COLUMNS)
    means = [np.mean(rows_of(trial, trial.batches(seed, 100, buffer=N)), axis=1) for seed in range(40)]
    # The mean of 100 of 0..999 without replacement: standard deviation sqrt((N^2 - 1) / 12 / 100 (1 - 99 / 999)).
    error = np.sqrt((N**2 - 1) / 12 / 100 * (1 - 99 / (N - 1)))
    # Of 40 epochs, each batch by its place in the epoch; 4 standard errors.
    np.testing.assert_allclose(np.mean(means, axis=0), (N - 1) / 2, atol=4 * error / np.sqrt(40))
    # The relative error of a standard deviation from 400 numbers is 1 / sqrt(800); again 4 of them.
    np.testing.assert_allclose(np.std(means), error, rtol=4 / np.sqrt(800))


def test_a_small_buffer_still_mixes_row_groups_from_all_over(folder):
    trial = open_trial(folder, COLUMNS)
    batch = rows_of(trial, trial.batches(0, 100, buffer=400))[0]
    # Eight or more groups of 50 are in the buffer, out of 21 in random order; a contiguous block would span 100 rows.
    assert len(set(batch // 50)) >= 5
    assert np.ptp(batch) > N / 2


def test_memory_holds_the_buffer_and_a_piece(folder, monkeypatch):
    trial, most = open_trial(folder, COLUMNS), 0
    from dfcl_jax.data.buffer import Buffer

    add = Buffer.add

    def watched(self, leaves):
        nonlocal most
        add(self, leaves)
        most = max(most, self.rows)

    monkeypatch.setattr(Buffer, "add", watched)
    list(trial.batches(0, 50, buffer=100))
    # A row group has 50 rows, far fewer than a piece may have.
    assert most <= 100 + 50 <= 100 + PIECE


def test_shares_have_every_row_between_them(folder):
    trial = open_trial(folder, COLUMNS)
    shares = [trial.share(k, 4) for k in range(4)]
    rows = [rows_of(trial, [share.read()])[0] for share in shares]
    assert [len(part) for part in rows] == [share.rows for share in shares]
    np.testing.assert_array_equal(np.sort(np.concatenate(rows)), np.arange(N))
    assert all(share.encoder is trial.encoder and share.p is trial.p for share in shares)
    with pytest.raises(InputError, match="share: found 0 of 22, expected one of at most 21"):
        trial.share(0, 22)


def test_an_encoder_of_a_sample_sees_rows_from_all_over(folder):
    whole, sampled = (open_trial(folder, COLUMNS, sample=sample).encoder for sample in (N, 100))
    rows = frame().iloc[::10].reset_index(drop=True)
    assert sampled == fit_encoder(rows.drop(columns=["arm", "sales", "spend"]), np.arange(100))
    # Every tenth of 0..999 has a mean within a tenth's spacing.
    assert abs(sampled.to_json()[0]["shift"] - whole.to_json()[0]["shift"]) < 10


def test_propensities_are_numbers_or_columns_or_shares(folder, tmp_path):
    p = np.random.default_rng(1).dirichlet([5] * M, N).astype(np.float32)
    names = ("p0", "p1", "p2")
    own = write(tmp_path / "own", frame().assign(**{name: p[:, j] for j, name in enumerate(names)}))
    trial = open_trial(own, Columns("arm", "sales", "spend", propensity_columns=names))
    np.testing.assert_array_equal(trial.read().p, p)
    batch = next(trial.batches(0, 100, buffer=N))
    np.testing.assert_array_equal(batch.p, p[rows_of(trial, [batch])[0]])
    given = open_trial(folder, Columns("arm", "sales", "spend", propensities=(0.2, 0.3, 0.5)))
    np.testing.assert_array_equal(given.p, np.array([0.2, 0.3, 0.5], np.float32))


def test_treatments_may_have_names_in_an_order(tmp_path):
    named = frame().assign(arm=lambda f: f.arm.map({0: "none", 1: "mail", 2: "call"}))
    path = write(tmp_path / "named", named)
    trial = open_trial(path, Columns("arm", "sales", "spend", arms=("none", "mail", "call")))
    np.testing.assert_array_equal(trial.read().t, frame().arm)
    # Without an order they are in that of their mean cost, as in memory.
    opened = open_trial(path, COLUMNS)
    assert opened.arms == trial_table(named, COLUMNS).arms
    assert sorted(opened.arms) == ["call", "mail", "none"]
    np.testing.assert_array_equal(np.array(opened.arms)[opened.read().t], named.arm)


def test_another_part_is_encoded_as_the_training_part_was(folder, tmp_path):
    other = frame().sample(frac=0.2, random_state=0).reset_index(drop=True)
    trial = open_trial(folder, COLUMNS)
    valid = open_trial(write(tmp_path / "valid", other), COLUMNS, like=trial).read()
    np.testing.assert_array_equal(valid.x, encode(trial.encoder, other))
    np.testing.assert_array_equal(valid.p, trial.p)


# The third file has the rows from 667 on: 700 is its 34th.
@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("sales", np.inf, "column 'sales', row 34 of {}: found inf, expected a finite number"),
        ("spend", np.nan, "column 'spend', row 34 of {}: found None, expected a finite number"),
        ("row", -np.inf, "column 'row', row 34 of {}: found -inf, expected a finite number or a gap"),
        ("arm", -1, "column 'arm', row 34 of {}: found -1, expected a treatment code"),
    ],
)
def test_a_value_that_cannot_be_is_named_with_row_and_file(tmp_path, column, value, message):
    bad = frame()
    bad.loc[700, column] = value
    file = write(tmp_path / "bad", bad) / "part-2.parquet"
    with pytest.raises(InputError) as error:
        open_trial(file.parent, COLUMNS)
    assert message.format(file) in str(error.value)


def test_a_treatment_that_training_did_not_have_is_named_when_it_is_read(folder, tmp_path):
    bad = frame(100)
    bad.loc[10, "arm"] = 3
    trial = open_trial(write(tmp_path / "valid", bad, files=1), COLUMNS, like=open_trial(folder, COLUMNS))
    with pytest.raises(InputError, match=r"column 'arm', row 11 of .*part-0.parquet: found 3, expected one of 0, 1, 2"):
        trial.read()


def test_a_part_with_another_schema_is_refused(tmp_path):
    folder = write(tmp_path / "trial", frame())
    frame(50).assign(sales="much").to_parquet(folder / "part-3.parquet")
    with pytest.raises(InputError, match=r"column 'sales' of .*part-3.parquet: found .*string, expected double, as in"):
        open_trial(folder, COLUMNS)
    frame(50).assign(age=pd.Timestamp("2024-01-01")).to_parquet(folder / "part-3.parquet")
    with pytest.raises(
        InputError, match=r"column 'age' of .*part-3.parquet: found timestamp.*, expected double, as in"
    ):
        open_trial(folder, COLUMNS)
