"""Intervals from the part that each person, or each cluster of people, has in the error of an estimate.

Parts are [k, g, ...] of g independent people or clusters: first by the model that judges them, then, where known, by
each of the k - 1 models that have seen them (`FoldValue.parts`).
"""

from functools import cache

import numpy as np
from jax.typing import ArrayLike
from scipy.special import ndtri, stdtrit

from dfcl_jax.metrics.intervals import Interval


def by_cluster(parts: np.ndarray, clusters: np.ndarray | None) -> np.ndarray:
    """Parts of people [k, n, ...] summed over each cluster, [k, g, ...]; people themselves if there are no clusters."""
    if clusters is None:
        return parts
    codes = np.unique(clusters, return_inverse=True)[1]
    sums = np.zeros((codes.max() + 1, len(parts), *parts.shape[2:]))
    np.add.at(sums, codes, np.moveaxis(parts, 1, 0))
    return np.moveaxis(sums, 0, 1)


def standard_error(parts: np.ndarray, people: int, *, folds: int = 1) -> np.ndarray:
    """The standard error of an estimate, [...], from parts [k, g, ...] that sum to its error times n.

        sqrt(F sum_g S_g^2 g / (g - K)) / n,  F = 1 + kappa_K (1 - rho)

    One mean was taken out of each of K folds. F is for decisions that hang on who is in the training part: the luck of
    fold k then is in the policy of fold l, that of l in the policy of k, and the errors of the two folds are no longer
    independent. rho is the correlation of a person's part by the own model with that by the others: 1, so that F is 1,
    where models agree. Without parts by others F is 1. See `instability` for kappa_K.

    Args:
        parts: as above.
        people: n.
        folds: K.
    """
    own, groups = parts[0], parts.shape[1]
    square = (own**2).sum(axis=0, dtype=np.float64)
    return np.sqrt(inflation(parts) * square * groups / max(groups - folds, 1)) / people


def inflation(parts: np.ndarray) -> np.ndarray:
    """F of `standard_error`, [...], of parts [k, g, ...]: 1 where decisions do not hang on who is trained on."""
    if len(parts) == 1:
        return np.ones(parts.shape[2:])
    square = (parts[0] ** 2).sum(axis=0, dtype=np.float64)
    shared = (parts[0] * parts[1:].mean(axis=0)).sum(axis=0, dtype=np.float64)
    rho = np.clip(shared / np.where(square > 0, square, 1), 0, 1)
    return np.where(square > 0, 1 + instability(len(parts)) * (1 - rho), 1)


@cache
def instability(folds: int) -> float:
    """kappa_K of `standard_error`: what K folds lack in variance where a policy is chosen by noise alone.

    Let fold k measure the worth of a step z_k ~ N(0, 1), which is 0 in truth, and take the step or its opposite by the
    sign s_k of the other folds' sum. The variance of sum_k s_k z_k over that of K independent folds is

        F = 1 + (K - 1) (2 / pi) / sqrt(2 K - 3),

    and rho = E[s_k s_l z_k^2]. kappa_K = (F - 1) / (1 - rho): 0.6, 1.5 and 3.2 for 2, 5 and 10 folds. Where the step is
    worth something F and rho come to 1 together, F a little before the line between the two.
    """
    excess = (folds - 1) * (2 / np.pi) / np.sqrt(2 * folds - 3)
    z = np.random.default_rng(0).standard_normal((200_000, folds))
    signs = np.sign(z.sum(axis=1, keepdims=True) - z)
    rho = float((signs[:, 0] * signs[:, 1] * z[:, 0] ** 2).mean())
    return excess / (1 - rho)


def parts_interval(
    estimate: ArrayLike, parts: np.ndarray, people: int, *, folds: int = 1, level: float = 0.95
) -> Interval:
    """Student's t interval, g - K degrees of freedom, of an estimate with parts [k, g, ...]."""
    estimate = np.asarray(estimate, np.float64)
    reach = stdtrit(max(parts.shape[1] - folds, 1), 0.5 + level / 2) * standard_error(parts, people, folds=folds)
    return Interval(estimate, estimate - reach, estimate + reach)


def largest_t(parts: np.ndarray, *, level: float = 0.95, draws: int = 20_000, seed: int = 0) -> float:
    """The number of standard errors within which all of e estimates lie at once with probability `level`.

    The quantile of max_j |Z_j|, Z normal with the correlations of the parts (max-t; Hothorn, Bretz and Westfall, 2008).
    Between z_{(1 + level) / 2}, where all are one, and Sidak's number, where they are independent.

    Args:
        parts: [g, e] independent parts of each estimate.
        level: coverage of all together.
        draws: of Z; the quantile is exact to about .01.
        seed: of the draws.
    """
    size = np.sqrt((parts**2).sum(axis=0))
    parts = parts[:, size > 0] / size[size > 0]
    if not parts.shape[1]:
        return float(ndtri(0.5 + level / 2))
    values, vectors = np.linalg.eigh(parts.T @ parts)
    root = vectors * np.sqrt(np.clip(values, 0, None))
    z = np.random.default_rng(seed).standard_normal((draws, parts.shape[1])) @ root.T
    return float(np.quantile(np.abs(z).max(axis=1), level))
