"""Rows chosen by a hash of their numbers: parts and samples of a data set that is read in place."""

from dataclasses import dataclass

import numpy as np

from dfcl_jax.errors import refuse

_LAST = 2**64 - 1


def hashed(rows: np.ndarray, seed: int) -> np.ndarray:
    """A random-looking number of each row, [n] uint64, evenly spread (SplitMix64, Steele et al. 2014)."""
    start = _mixed(np.array([seed % 2**64], np.uint64))
    return _mixed((rows.astype(np.uint64) + start) * np.uint64(0x9E3779B97F4A7C15))


def _mixed(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@dataclass(frozen=True)
class Hashed:
    """The rows whose hash is from `low` to `high`: called with numbers of rows, it says which they are."""

    seed: int
    low: int
    high: int  # included

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Which of the rows [n] these are, [n] bool."""
        z = hashed(rows, self.seed)
        return (z >= np.uint64(self.low)) & (z <= np.uint64(self.high))


def part_of(seed: int, fractions: tuple[float, float, float], k: int) -> Hashed:
    """The k-th of three parts of all rows, which are disjoint and have every row between them.

    Each row is in a part independently of all others, so a part has about its fraction of the rows.

    Raises:
        InputError: a negative seed, fractions that are not positive with sum 1, or no such part.
    """
    if seed < 0:
        refuse("seed", found=seed, expected="at least 0")
    if not (len(fractions) == 3 and min(fractions) > 0 and abs(sum(fractions) - 1) < 1e-9):
        refuse("fractions", found=fractions, expected="three positive numbers that sum to 1")
    if k not in (0, 1, 2):
        refuse("part", found=k, expected="0, 1 or 2")
    cuts = [0, int(fractions[0] * 2**64), int((fractions[0] + fractions[1]) * 2**64), 2**64]
    return Hashed(seed, cuts[k], cuts[k + 1] - 1)


@dataclass(frozen=True)
class Outside:
    """Rows that another choice leaves, and a second one has."""

    left: Hashed
    also: Hashed

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Which of the rows are meant, [n] bool."""
        return ~self.left(rows) & self.also(rows)


def fold_of(partition: int, folds: int, k: int, *, valid: float) -> tuple[Outside, Outside, Hashed]:
    """Training, validation and test rows of fold k: every row is a test row of exactly one fold.

    Args:
        partition: number of the partition.
        folds: K.
        k: from 0.
        valid: validation rows, as a share of the rows outside the fold.

    Raises:
        InputError: a negative partition or fewer than two folds.
    """
    if partition < 0:
        refuse("partition", found=partition, expected="at least 0")
    if folds < 2:
        refuse("folds", found=folds, expected="at least 2")
    # Who of the rest is for validation is drawn by another hash than the fold.
    test = Hashed(2 * partition, k * 2**64 // folds, (k + 1) * 2**64 // folds - 1)
    cut, seed = int(valid * 2**64), 2 * partition + 1
    return Outside(test, Hashed(seed, cut, _LAST)), Outside(test, Hashed(seed, 0, cut - 1)), test
