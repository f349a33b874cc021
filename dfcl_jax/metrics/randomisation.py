"""A randomisation test: were treatments drawn without regard to the features? Its level is exact in any sample."""

from typing import NamedTuple

import numpy as np

# Once as many draws are as extreme as the trial, more of them would only sharpen a large p value.
_ENOUGH = 20
# Treatments that are held in memory at a time.
_AT_ONCE = 2**24
# Rounding of a sum in float32, relative: draws as close to the trial as this count as equal to it.
_ROUNDING = 1e-5
# A p value that no draw has to confirm.
_CERTAIN = 1e-6


class Randomisation(NamedTuple):
    """What a randomisation test finds."""

    p_value: float
    statistic: float  # evidence of the comparison that is furthest off
    column: int  # its column
    treatment: int  # and its treatment


def randomisation_test(
    t: np.ndarray, p: np.ndarray, x: np.ndarray, *, draws: int = 999, seed: int = 0
) -> Randomisation:
    """Compare treatments with `draws` others that the design could have given instead.

    Each column k and treatment j is compared by D = sum_i (1[t_i = j] - p_ij) x_ik. Its evidence is the exponent of
    Bennett's inequality, P(|D| >= s) <= 2 exp(-(V / M^2) h(M s / V)) with V = sum_i p_ij (1 - p_ij) x_ik^2,
    M = max_i |x_ik| and h(u) = (1 + u) log(1 + u) - u. It is D^2 / 2V where the central limit theorem holds, and
    does not take one person of a rare level for a surprise. The statistic is the largest evidence of all.

    - Propensities shared by all people, [m]: treatments are permuted. Given how often each was given, every order is
      equally likely, whether the shares are those of the design or estimated from the trial.
    - A person's own, [n, m]: treatments are drawn anew from them, so propensities that are wrong are found as well.

    Either way the trial is one of draws + 1 that are exchangeable, and P(p value <= a) <= a in any sample, for any
    columns. Drawing ends early when 20 draws are as extreme as the trial, which keeps that (Besag and Clifford 1991,
    Sequential Monte Carlo p-values). Nothing is drawn where Bennett's inequality, for all comparisons together, already
    gives a p value below 1e-6: this bound is then the p value.

    Args:
        t: treatments given, [n] int.
        p: propensities, [m] or [n, m].
        x: columns known before treatment, [n, d]; with shared propensities each of mean 0.
        draws: how many other trials are drawn at most.
        seed: the same seed gives the same p value.
    """
    n, m = len(t), p.shape[-1]
    rng = np.random.default_rng(seed)
    x = x.astype(np.float32)
    if p.ndim == 1:
        expected = np.outer(p[1:], x.sum(axis=0, dtype=np.float64))
        squares = np.square(x).sum(axis=0, dtype=np.float64)
        variance = np.outer(p * (1 - p), squares)
        # Drawn without return, a sum is at most as far off as with it (Hoeffding 1963, theorem 4): of those who had
        # the treatment or of the others, whichever are fewer.
        share = np.bincount(t, minlength=m) / n
        most = np.outer(np.minimum(share, 1 - share), squares)
    else:
        expected, variance = p[:, 1:].T @ x, (p * (1 - p)).T @ np.square(x)
        most = variance
    largest = np.abs(x).max(axis=0, initial=0)

    def differences(treatments: np.ndarray) -> np.ndarray:
        """|D| of b draws of treatments [b, n] for every treatment and column, [b, m, d]."""
        off = np.stack([(treatments == j).astype(np.float32) @ x for j in range(1, m)], axis=1) - expected
        return np.abs(np.concatenate([-off.sum(axis=1, keepdims=True), off], axis=1))

    off = differences(t[None, :])[0]
    seen = _bennett(off, variance, largest)
    statistic = float(seen.max(initial=0))
    treatment, column = np.unravel_index(int(seen.argmax()), seen.shape) if seen.size else (0, 0)
    size = int(np.clip(_AT_ONCE // n, 1, 128))
    bound = float(2 * off.size * np.exp(-_bennett(off, most, largest).max(initial=0)))
    if bound < _CERTAIN:
        return Randomisation(bound, statistic, int(column), int(treatment))
    extreme = np.zeros(0, bool)
    while len(extreme) < draws and extreme.sum() < _ENOUGH:
        drawn = _drawn(rng, t, p, min(size, draws - len(extreme)))
        top = _bennett(differences(drawn), variance, largest).max(axis=(1, 2), initial=0)
        extreme = np.concatenate([extreme, top >= statistic * (1 - _ROUNDING)])
    if extreme.sum() >= _ENOUGH:
        p_value = _ENOUGH / (1 + np.flatnonzero(extreme)[_ENOUGH - 1])
    else:
        p_value = (1 + extreme.sum()) / (1 + draws)
    return Randomisation(float(p_value), statistic, int(column), int(treatment))


def ranks(x: np.ndarray) -> np.ndarray:
    """The columns of x [n, d] as ranks with mean 0 and variance 1, equal values at their mean rank; 0 if all are equal.

    A column of two values keeps its two values. Ranks have no heavy tails, and no unit.
    """
    ranked = np.empty(x.shape, np.float32)
    for k, column in enumerate(x.T.astype(np.float32)):
        low, high = column.min(initial=np.inf), column.max(initial=-np.inf)
        if ((column == low) | (column == high)).all():
            ranked[:, k] = column == high if high > low else 0
        else:
            ranked[:, k] = _mean_rank(column)
    ranked -= ranked.mean(axis=0, dtype=np.float64)
    spread = ranked.std(axis=0, dtype=np.float64)
    return ranked / np.where(spread > 0, spread, 1).astype(np.float32)


def _mean_rank(column: np.ndarray) -> np.ndarray:
    order = np.argsort(column)
    rising = column[order]
    first = np.flatnonzero(np.concatenate([[True], rising[1:] != rising[:-1]]))
    sizes = np.diff(np.append(first, len(column)))
    rank = np.empty(len(column))
    rank[order] = np.repeat(first + (sizes - 1) / 2, sizes)
    return rank / len(column)


def _drawn(rng: np.random.Generator, t: np.ndarray, p: np.ndarray, size: int) -> np.ndarray:
    """Treatments of `size` other trials of the same design, [size, n]."""
    kind = np.int8 if p.shape[-1] < 128 else np.int64
    if p.ndim == 1:
        return rng.permuted(np.tile(t.astype(kind), (size, 1)), axis=1)
    u = rng.random((size, len(t)), np.float32)
    bounds = np.cumsum(p, axis=1)[:, :-1].T.astype(np.float32)
    return sum(((u >= bound) for bound in bounds), np.zeros(u.shape, kind)).astype(kind)


def _bennett(off: np.ndarray, variance: np.ndarray, largest: np.ndarray) -> np.ndarray:
    some = (variance > 0) & (largest > 0)
    variance, largest = np.where(some, variance, 1), np.where(some, largest, 1)
    u = np.where(some, largest * off / variance, 0)
    return variance / largest**2 * ((1 + u) * np.log1p(u) - u)
