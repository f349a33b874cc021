from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from dfcl_jax.train import shuffle
from dfcl_jax.train.shuffle import HELD


@partial(jax.jit, static_argnums=1)
def order(key, n):
    return shuffle(key, n)(jnp.arange(n))


@pytest.fixture(scope="module")
def orders():
    """Orders of 4,999 rows, which are more than are held, from 400 keys: [400, 4999]."""
    keys = jax.random.split(jax.random.key(2), 400)
    return np.asarray(jax.vmap(lambda key: order(key, 4999))(keys))


# Below and above where an order is held; primes, squares, powers, and numbers beside them.
@pytest.mark.parametrize("n", [1, 2, 600, HELD, HELD + 1, 70**2, 70**2 - 1, 70**2 + 1, 8191, 100_003])
def test_every_row_comes_once(n):
    rows = np.asarray(order(jax.random.key(n), n))
    np.testing.assert_array_equal(np.sort(rows), np.arange(n))


def test_seeds_have_orders_of_their_own_under_vmap(orders):
    keys = jax.random.split(jax.random.key(2), 400)
    for s in (0, 399):
        np.testing.assert_array_equal(orders[s], order(keys[s], 4999))
    # Two random orders agree at Poisson(1) many places: 12 or more have a chance of 1e-9.
    assert (orders[0] == orders[1]).sum() < 12


def test_a_part_of_an_order_is_that_part_of_it(orders):
    keys, some = jax.random.split(jax.random.key(2), 400), np.array([[4998, 0], [17, 4000]])
    part = jax.jit(lambda key: shuffle(key, 4999)(jnp.asarray(some)))(keys[1])
    np.testing.assert_array_equal(part, orders[1][some])


# Chi-square statistics with a chance of 1e-4 to lie outside, for an order that is random. Keys are fixed.
def assert_even(counts):
    counts = np.ravel(counts)
    expected = counts.sum() / counts.size
    assert 5e-5 < stats.chi2.sf(((counts - expected) ** 2 / expected).sum(), counts.size - 1) < 1 - 5e-5


def test_a_position_holds_every_row_as_often(orders):
    for position in (0, 1, 70, 2500, 4998):
        assert_even(np.bincount(orders[:, position] * 20 // 4999, minlength=20))


def test_rows_spread_evenly_over_batches(orders):
    # 10 batches of an epoch against 10 tenths of the rows, of one order at a time.
    batch = np.arange(4999) * 10 // 4999
    worst = []
    for rows in orders:
        table = np.zeros((10, 10))
        np.add.at(table, (batch, rows * 10 // 4999), 1)
        worst.append(stats.chi2_contingency(table, correction=False)[0])
    # Of a table with both margins fixed: 81 degrees of freedom, times n / (n - 1); the mean of 400 within 5 errors.
    assert abs(np.mean(worst) - 81 * 4999 / 4998) < 5 * np.sqrt(2 * 81 / 400)
    assert np.var(worst) == pytest.approx(2 * 81, rel=0.35)


def test_neighbours_in_the_order_and_in_the_data_have_nothing_in_common(orders):
    scaled = (orders - 2499) / 4999 * np.sqrt(12)
    # Serial correlation at a lag, mean over orders and positions: standard error 1 / sqrt(400 n), mean -1 / n. Lags of
    # about 70, a side of the rectangle, are those that a weak order would show.
    for lag in (1, 2, 69, 70, 71, 72, 140):
        assert abs((scaled[:, lag:] * scaled[:, :-lag]).mean()) < 5 / np.sqrt(400 * 4999) + 1 / 4999
    # Steps from one row to the next: every distance (modulo n) as often.
    for lag in (1, 70, 71):
        distance = (orders[:, lag:] - orders[:, :-lag]) % 4999
        assert_even(np.bincount((distance.ravel() - 1) * 50 // 4998, minlength=50))
