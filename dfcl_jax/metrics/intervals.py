"""Intervals on means, on differences between methods, and over several seeds."""

from typing import Any, NamedTuple

import numpy as np
from jax.typing import ArrayLike
from scipy.special import ndtri, stdtrit


class Interval(NamedTuple):
    """An estimate and its two-sided confidence interval: numbers, or arrays of one shape."""

    mean: Any
    low: Any
    high: Any


def z_score(level: float) -> float:
    """How many standard errors either side of the mean a normal interval of coverage `level` reaches."""
    return float(ndtri((1 + level) / 2))


def normal_interval(parts: ArrayLike, *, level: float = 0.95) -> Interval:
    """Mean +- z sd / sqrt(n) of what each of n people contributes, [n, ...]: `influence`, or a difference of two."""
    parts = np.asarray(parts, np.float64)
    mean = parts.mean(axis=0)
    half = z_score(level) * parts.std(axis=0, ddof=1) / np.sqrt(len(parts))
    return Interval(mean, mean - half, mean + half)


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


def seeds_interval(estimates: ArrayLike, error: float, *, level: float = 0.95) -> Interval:
    """The mean over s seeds of training that are judged on one and the same test part.

    Seeds differ by their training, var / s; all share the test part's error, which no number of seeds averages out:

        mean +- t_v sqrt(var / s + error^2),  v = (var / s + error^2)^2 / ((var / s)^2 / (s - 1))  (Satterthwaite).

    Where every seed has a test part of its own, their spread already holds both: `paired_interval`.

    Args:
        estimates: [s], one for each seed.
        error: standard error of their mean over people of the test part: `bootstrap` of the mean over seeds.
        level: coverage.
    """
    estimates = np.asarray(estimates, np.float64)
    s, mean = len(estimates), float(np.mean(estimates))
    if s < 2:
        return Interval(mean, float("nan"), float("nan"))
    training = np.var(estimates, ddof=1) / s
    total = training + error**2
    freedom = total**2 / (training**2 / (s - 1)) if training > 0 else np.inf
    reach = stdtrit(min(freedom, 1e9), 0.5 + level / 2)
    half = float(reach * np.sqrt(total))
    return Interval(mean, mean - half, mean + half)


def clearly_positive(base: ArrayLike, base_error: ArrayLike) -> np.ndarray:
    """Whether numbers are more than two standard errors above 0, bool of their shape; NaN is not."""
    return np.asarray(base, np.float64) - 2 * np.asarray(base_error, np.float64) > 0


def per_cent(difference: ArrayLike, base: ArrayLike, base_error: ArrayLike) -> np.ndarray:
    """100 difference / base, in the shape of all three together; NaN unless the base is `clearly_positive`.

    A ratio to a base that may be 0 or negative says nothing: it changes sign with the base, and the worse of two
    methods has the larger one. Compare differences in money, and print this beside them.

    Args:
        difference: in money.
        base: what it is a share of, in money.
        base_error: standard error of the base, 0 if the base is known.
    """
    clear = clearly_positive(base, base_error)
    base = np.where(clear, np.asarray(base, np.float64), np.nan)
    return 100 * np.asarray(difference, np.float64) / base
