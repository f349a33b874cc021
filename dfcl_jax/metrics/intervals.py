"""Intervals on differences between methods."""

from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit


class Interval(NamedTuple):
    """A mean and its two-sided confidence interval."""

    mean: float
    low: float
    high: float


def paired_interval(differences: np.ndarray, *, test_share: float = 0.0, level: float = 0.95) -> Interval:
    """Student's t interval on the mean of paired differences, one for each seed.

    mean +- t_{s-1} sqrt((1/s + test_share) var), s the number of seeds. With `test_share` 0 the seeds are independent
    trials. Seeds that split one trial again and again are not: there `test_share` is test rows over training rows
    (Nadeau and Bengio's corrected resampled t-test), an approximation, for no unbiased variance estimate exists.

    Args:
        differences: [s], one for each seed.
        test_share: test rows over training rows of a resampled split.
        level: coverage.

    Returns:
        The mean and the interval's ends, NaN where a single seed gives no interval.
    """
    s = len(differences)
    mean = float(np.mean(differences))
    if s < 2:
        return Interval(mean, float("nan"), float("nan"))
    spread = np.sqrt((1 / s + test_share) * np.var(differences, ddof=1))
    half = float(stdtrit(s - 1, 0.5 + level / 2) * spread)
    return Interval(mean, mean - half, mean + half)
