"""What a policy spends and brings at every multiplier, with standard errors: how a budget becomes decisions."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from scipy.special import ndtri

from dfcl_jax.errors import refuse
from dfcl_jax.metrics.intervals import z_score
from dfcl_jax.metrics.parts import by_cluster
from dfcl_jax.metrics.value_steps import Curve, value_steps
from dfcl_jax.solvers import Rule, check_budgets, hard
from dfcl_jax.types import Outcomes, Scores

# Points of a curve: one budget is then mixed of decisions that differ for about 1 / POINTS of the people who move.
POINTS = 2048
# Points at which it is found by how much clusters widen a curve's errors.
DESIGN_POINTS = 17


class Expected(NamedTuple):
    """What a policy is expected to spend and to bring under a rule, per person."""

    rule: Rule
    spend: float
    spend_error: float  # standard error
    revenue: float
    revenue_error: float

    @property
    def at_random(self) -> float:
        """The share of people who get the cheapest treatment at random, for the method overspends at any multiplier."""
        return float(np.mean(np.where(np.isinf(self.rule.lam), 1 - np.asarray(self.rule.share), 0)))

    def interval(self, people: int, held_out: int, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Intervals [low, high] of the spend and of the revenue of other `people` of the same population.

        The error of the estimate and the luck of who the people are add up: error sqrt(1 + held_out / people), where
        the spread of a score stands for that of what a person spends and brings. It is the larger of the two, so the
        interval is a little too wide where there are few people.

        Args:
            people: how many the rule decides for.
            held_out: how many people the curve was estimated on.
            level: coverage.
        """
        reach = z_score(level) * np.sqrt(1 + held_out / people) * np.array([-1, 1])
        return self.spend + reach * self.spend_error, self.revenue + reach * self.revenue_error


class SpendCurve(NamedTuple):
    """Spend and revenue per person of a policy at falling multipliers, estimated on people it was not trained on.

    Point 0 is the one treatment of least estimated cost for everybody (multiplier inf); between two points people are
    mixed at random. Arrays are NumPy's.
    """

    lam: np.ndarray  # [v] falling
    spend: np.ndarray  # [v]
    revenue: np.ndarray  # [v]
    spend_error: np.ndarray  # [v] standard errors
    revenue_error: np.ndarray  # [v]
    cheapest: int  # the treatment of least estimated cost
    people: int  # how many the curve was estimated on

    def at(self, budget: float, *, risk: float | None = None) -> Expected:
        """The rule whose estimated spend first comes up to a budget, and what it is expected to bring.

        With `risk` e it is the estimate plus z_{1-e} standard errors that comes up to the budget: the true spend is
        then above the budget with probability e, as far as errors are normal.

        Args:
            budget: cost per person.
            risk: probability of a true spend above the budget, below 0.5; None: 0.5, the spend itself is aimed at.

        Returns:
            A budget that even the cheapest treatment for everybody is above gets that treatment: its `spend` says so.

        Raises:
            InputError: a budget that is negative or not finite; a bad risk.
        """
        check_budgets(budget)
        aim = self.aim(risk)
        over = np.flatnonzero(aim > budget)
        high = int(over[0]) if over.size else len(aim) - 1
        low = max(high - 1, 0) if over.size else high
        room = aim[high] - aim[low]
        share = float(np.clip((budget - aim[low]) / room, 0, 1)) if room > 0 else 0.0
        rule = Rule(*map(jnp.asarray, (self.lam[low], self.lam[high], share, self.cheapest)))

        def between(of: np.ndarray) -> float:
            return float((1 - share) * of[low] + share * of[high])

        return Expected(rule, *map(between, (self.spend, self.spend_error, self.revenue, self.revenue_error)))

    def least(self, risk: float | None = None) -> float:
        """The smallest budget that can be met: what must come up to it with the cheapest treatment for everybody."""
        return float(self.aim(risk)[0])

    def is_spent(self, rule: Rule) -> bool:
        """Whether a rule gives everybody their best treatment, so that more budget would buy nothing."""
        return bool(rule.lam == self.lam[-1])

    def aim(self, risk: float | None = None) -> np.ndarray:
        """What must come up to a budget at each point, [v]: the spend, with `risk` e plus z_{1-e} standard errors.

        Raises:
            InputError: a risk that is not above 0 and below 0.5.
        """
        if risk is None:
            return self.spend
        return self.spend + z_of(risk) * self.spend_error


class MixedCurve(NamedTuple):
    """The spend curve of K policies that each decide for a K-th of the people.

    Each curve was estimated on people of its own, so variances add: the mean of K estimates has the error
    sqrt(sum_k e_k^2) / K.
    """

    curves: tuple[SpendCurve, ...]

    @property
    def people(self) -> int:
        """How many people the curves were estimated on."""
        return sum(curve.people for curve in self.curves)

    def at(self, budget: float, *, risk: float | None = None) -> Expected:
        """The rules, leaves [K], under which each policy is estimated to spend the budget; see `SpendCurve.at`.

        With `risk` all aim at one smaller spend: the largest whose mean estimate plus z_{1-e} errors of the mean is at
        most the budget.

        Raises:
            InputError: as `SpendCurve.at`.
        """
        check_budgets(budget)
        if risk is None:
            return self._at(budget)
        reach = z_of(risk)
        low, high = 0.0, float(budget)
        # The aimed spend is continuous in what is aimed at; 50 halvings leave less than rounding does.
        for _ in range(50):
            middle = (low + high) / 2
            found = self._at(middle)
            low, high = (middle, high) if found.spend + reach * found.spend_error <= budget else (low, middle)
        return self._at(low)

    def least(self, risk: float | None = None) -> float:
        """The smallest budget that can be met."""
        cheapest = self._at(0.0)
        return cheapest.spend + (0 if risk is None else z_of(risk) * cheapest.spend_error)

    def is_spent(self, rule: Rule) -> bool:
        """Whether everybody gets their best treatment."""
        return all(lam == curve.lam[-1] for lam, curve in zip(np.asarray(rule.lam), self.curves, strict=True))

    def _at(self, budget: float) -> Expected:
        each = [curve.at(budget) for curve in self.curves]
        rule = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(one.rule for one in each))

        def error(of: Sequence[float]) -> float:
            return float(np.sqrt(np.square(of).sum()) / len(of))

        return Expected(
            rule,
            float(np.mean([one.spend for one in each])),
            error([one.spend_error for one in each]),
            float(np.mean([one.revenue for one in each])),
            error([one.revenue_error for one in each]),
        )


def z_of(risk: float) -> float:
    """Standard errors z_{1-e} that an estimate must stay below a budget by.

    Raises:
        InputError: a risk that is not above 0 and below 0.5.
    """
    if not 0 < risk < 0.5:
        refuse("risk", found=risk, expected="a probability above 0 and below 0.5")
    return float(ndtri(1 - risk))


def spend_curve(
    outcomes: Outcomes,
    scores: Scores,
    *,
    weights: ArrayLike | None = None,
    clusters: np.ndarray | None = None,
    points: int = POINTS,
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
    return SpendCurve(lam, spend, revenue, spend_error, revenue_error, cheapest, n)


def _design_effects(
    outcomes: Outcomes, scores: Scores, w: np.ndarray, clusters: np.ndarray, lam: np.ndarray, cheapest: int
) -> np.ndarray:
    """How much larger clusters make the variance of spend and of revenue at each of `lam` [v], [2, v]."""
    at = np.unique(np.linspace(0, len(lam) - 1, DESIGN_POINTS).round().astype(int))
    found = np.ones((2, len(at)))
    for k, point in enumerate(at):
        arm = np.full(len(w), cheapest) if np.isinf(lam[point]) else np.asarray(hard(outcomes, lam[point]))
        for part, surface in enumerate((scores.c, scores.r)):
            earned = np.asarray(surface, np.float64)[np.arange(len(w)), arm]
            off = w * (earned - w @ earned / w.sum())
            alone, together = (off**2).sum(), (by_cluster(off[None], clusters) ** 2).sum()
            found[part, k] = together / alone if alone > 0 else 1.0
    return np.stack([np.interp(np.arange(len(lam)), at, row) for row in found])
