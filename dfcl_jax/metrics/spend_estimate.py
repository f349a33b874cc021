"""A policy's spend curve, estimated on people whom no model has seen."""

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from dfcl_jax.metrics.parts import by_cluster
from dfcl_jax.metrics.rests import rests_on, weakest
from dfcl_jax.metrics.spend_curve import SpendCurve
from dfcl_jax.metrics.value_steps import Curve, value_steps
from dfcl_jax.solvers import Rule, hard
from dfcl_jax.types import Outcomes, Scores, Trial

# Points of a curve: one budget is then mixed of decisions that differ for about 1 / POINTS of the people who move.
POINTS = 2048
# Points at which it is found by how much clusters widen a curve's errors.
DESIGN_POINTS = 17
# Points at which people are counted that a curve rests on.
_COUNTED = 64


def spend_curve(
    outcomes: Outcomes,
    scores: Scores,
    *,
    weights: ArrayLike | None = None,
    clusters: np.ndarray | None = None,
    points: int = POINTS,
    seen: Trial | None = None,
) -> SpendCurve:
    """The spend curve of the policy that `outcomes` decide, as `scores` of the same people estimate it.

    At each multiplier the estimate is a mean of scores G_i picked at the decided treatments, V = sum_i w_i G_i / W, and
    its standard error sqrt(sum_i w_i^2 (G_i - V)^2) / W: the decisions are held, for a multiplier is one number chosen
    from n people. Where people come in clusters, errors are multiplied by the square root of the design effect, the
    variance of the sum over clusters to that over people, found at `DESIGN_POINTS` and interpolated.

    Args:
        outcomes: what decides, [n, m] each, for people it was not trained on.
        scores: estimates of the same people's outcomes, [n, m] each, with the level of cost in them: `aipw` or `ipw`.
        weights: how many people each row stands for, [n]; one if not given.
        clusters: [n] the cluster of each row.
        points: of the curve at most; those that are kept lie evenly along the budget path.
        seen: what was seen of these people, to count whom each point rests on; where all of them cost, or brought, at
            least 0, no interval reaches below.

    Raises:
        InputError: surfaces that disagree in shape or hold NaN.
    """
    n = scores.r.shape[0]
    w = np.ones(n) if weights is None else np.asarray(weights, np.float64)
    steps = value_steps(outcomes, scores)
    curve = steps.curve(weights=w)
    squared = value_steps(outcomes, Scores(scores.r**2, scores.c**2, scores.w)).curve(weights=w**2)
    again = curve if weights is None else steps.curve(weights=w**2)
    vertices = np.flatnonzero(np.asarray(curve.vertex))
    kept = vertices[np.unique(np.linspace(0, len(vertices) - 1, points).round().astype(int))]
    cheapest = int(np.argmin(w @ np.asarray(scores.c, np.float64)))

    def estimated(name: str, surface: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means and standard errors at all points, the cheapest treatment for everybody first."""
        first = surface[:, cheapest]

        def at_points(of: Curve, one: np.ndarray, size: np.ndarray) -> np.ndarray:
            return np.concatenate([[size @ one / size.sum()], np.asarray(getattr(of, name), np.float64)[kept]])

        mean = at_points(curve, first, w)
        square, cross = at_points(squared, first**2, w**2), at_points(again, first, w**2)
        variance = np.clip(square - 2 * mean * cross + mean**2, 0, None)
        return mean, np.sqrt(variance * (w**2).sum()) / w.sum()

    lam = np.concatenate([[np.inf], np.asarray(curve.price, np.float64)[kept]])
    (spend, spend_error), (revenue, revenue_error) = (
        estimated(name, np.asarray(surface, np.float64))
        for name, surface in (("cost", scores.c), ("revenue", scores.r))
    )
    if clusters is not None:
        effects = _design_effects(outcomes, scores, w, clusters, lam, cheapest)
        spend_error, revenue_error = spend_error * np.sqrt(effects[0]), revenue_error * np.sqrt(effects[1])
    return SpendCurve(
        lam=lam,
        spend=spend,
        revenue=revenue,
        spend_error=spend_error,
        revenue_error=revenue_error,
        cheapest=cheapest,
        people=n,
        least=np.full(2, -np.inf) if seen is None else at_least(seen),
        rests=np.zeros(0) if seen is None else _rests(outcomes, scores, seen, lam, cheapest),
    )


def _design_effects(
    outcomes: Outcomes, scores: Scores, w: np.ndarray, clusters: np.ndarray, lam: np.ndarray, cheapest: int
) -> np.ndarray:
    """How much larger clusters make the variance of spend and of revenue at each of `lam` [v], [2, v]."""
    at = np.unique(np.linspace(0, len(lam) - 1, DESIGN_POINTS).round().astype(int))
    found = np.ones((2, len(at)))
    for k, point in enumerate(at):
        arm = np.full(len(w), cheapest) if np.isinf(lam[point]) else np.asarray(hard(outcomes, float(lam[point])))
        for part, surface in enumerate((scores.c, scores.r)):
            earned = np.asarray(surface, np.float64)[np.arange(len(w)), arm]
            off = w * (earned - w @ earned / w.sum())
            alone, together = (off**2).sum(), (by_cluster(off[None], clusters) ** 2).sum()
            found[part, k] = together / alone if alone > 0 else 1.0
    return np.stack([np.interp(np.arange(len(lam)), at, row) for row in found])


def _rests(outcomes: Outcomes, scores: Scores, seen: Trial, lam: np.ndarray, cheapest: int) -> np.ndarray:
    """On whom each point rests, [v, 3]: counted at some points, of which others have the weaker neighbour's."""
    v = len(lam)
    counted = np.unique(np.linspace(0, v - 1, _COUNTED).round().astype(int))
    at = lam[counted]
    alone = np.isinf(at)  # one treatment for everybody
    rule = Rule(
        jnp.asarray(at), jnp.asarray(np.where(alone, 0, at)), jnp.asarray(1.0 - alone), jnp.full(len(at), cheapest)
    )
    found = weakest(rests_on(outcomes, scores, rule, revenue=seen.r))
    before, after = (
        found[np.searchsorted(counted, np.arange(v), side) - (side == "right")] for side in ("right", "left")
    )
    return np.where(before[:, 1:2] <= after[:, 1:2], before, after)


def at_least(trial: Trial) -> np.ndarray:
    """Below which nobody's cost and revenue can be, [2]: 0 where all that was seen is at least 0, else -inf."""
    return np.array([0.0 if (np.asarray(seen) >= 0).all() else -np.inf for seen in (trial.c, trial.r)])
