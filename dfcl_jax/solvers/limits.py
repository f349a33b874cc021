"""Limits that people share: a budget, budgets of segments, capacities of treatments."""

import math
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike

from dfcl_jax.errors import refuse
from dfcl_jax.solvers.checks import check_budgets


class Limits(NamedTuple):
    """What people may use together: money in total and in each segment, places at each treatment."""

    segment: np.ndarray  # [n] int
    size: np.ndarray  # [g] number of people in each segment
    budget: float  # per person
    segment_budgets: np.ndarray  # [g] per person of the segment; inf if unlimited
    capacity: np.ndarray  # [m] number of people; inf if unlimited


def checked_limits(
    c: np.ndarray,
    budget: ArrayLike,
    capacity: ArrayLike | None,
    segment: ArrayLike | None,
    segment_budgets: ArrayLike | None,
) -> Limits:
    """Check the limits and lift those that cannot bind."""
    n, m = c.shape
    cheapest = c.min(axis=1)
    least = math.fsum(cheapest) / n
    check_budgets(budget, cheapest=least)
    if (segment is None) != (segment_budgets is None):
        refuse("segment and segment_budgets", found="one without the other", expected="both or none")
    labels = np.zeros(n, int) if segment is None else np.asarray(segment)
    budgets = np.array([np.inf]) if segment_budgets is None else np.asarray(segment_budgets, np.float64)
    if labels.shape != (n,) or not np.issubdtype(labels.dtype, np.integer):
        refuse("segment", found=f"{labels.dtype} {labels.shape}", expected=f"an integer for each of {n} units")
    if budgets.ndim != 1:
        refuse("segment_budgets", found=f"shape {budgets.shape}", expected="one for each segment")
    outside = np.flatnonzero((labels < 0) | (labels >= budgets.size))
    if outside.size:
        expected = f"0 to {budgets.size - 1}, as there are {budgets.size} segment_budgets"
        refuse(f"segment, unit {outside[0]}", found=int(labels[outside[0]]), expected=expected)
    size = np.bincount(labels, minlength=budgets.size)
    least_of = np.bincount(labels, cheapest, budgets.size) / np.maximum(size, 1)
    for g in np.flatnonzero(~(budgets >= np.where(size, least_of - 1e-6 * abs(least_of) - 1e-12, 0))):
        expected = f"at least {least_of[g]:.6g}, the spend per person of its cheapest plan"
        refuse(f"segment_budgets, segment {g}", found=float(budgets[g]), expected=expected)
    places = np.full(m, np.inf) if capacity is None else np.floor(np.asarray(capacity, np.float64))
    if places.shape != (m,):
        refuse("capacity", found=f"shape {places.shape}", expected=f"one for each of {m} treatments")
    for j in np.flatnonzero(~(places >= 0)):
        refuse(f"capacity, treatment {j}", found=float(places[j]), expected="a number of at least 0")
    if places.sum() < n:
        refuse("capacity", found=f"{places.sum():.0f} people in all", expected=f"at least {n}, as there are units")
    budgets = np.where(size, np.maximum(budgets, least_of), np.inf)
    return Limits(labels, size, max(float(np.asarray(budget)), least), budgets, np.where(places < n, places, np.inf))


def by_limit(money: np.ndarray, limits: Limits) -> np.ndarray:
    """Return the total of `money` [n] and its total in each segment, [1 + g], without rounding."""
    order = np.argsort(limits.segment, kind="stable")
    parts = np.split(money[order], np.cumsum(limits.size)[:-1])
    return np.array([math.fsum(part) for part in (money, *parts)])
