"""What a policy spends and brings at every multiplier, with standard errors: how a budget becomes decisions."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtri

from dfcl_jax.errors import refuse
from dfcl_jax.metrics.intervals import z_score
from dfcl_jax.metrics.rests import rests_on, weakest
from dfcl_jax.metrics.value_steps import value_steps
from dfcl_jax.solvers import Rule, check_budgets
from dfcl_jax.types import Outcomes, Scores, Trial

# Points of a curve: one budget is then mixed of decisions that differ for about 1 / POINTS of the people who move.
POINTS = 2048
# Points at which people are counted that a curve rests on.
_COUNTED = 64


class Expected(NamedTuple):
    """What a policy is expected to spend and to bring under a rule, per person."""

    rule: Rule
    spend: float
    spend_error: float  # standard error
    revenue: float
    revenue_error: float
    least: np.ndarray = np.full(2, -np.inf)  # below which nobody's spend and revenue can be
    rests: np.ndarray = np.zeros(0)  # [3] as a row of `SpendCurve.rests`; empty if not known

    def interval(self, people: int, held_out: int, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Intervals [low, high] of the spend and of the revenue of other `people` of the same population.

        The error of the estimate and the luck of who the people are add up: error sqrt(1 + held_out / people), where
        the spread of a score stands for that of what a person spends and brings. It is the larger of the two, so the
        interval is a little too wide where there are few people. It ends where no person's spend or revenue can be
        below (`least`), which keeps its coverage.

        Args:
            people: how many the rule decides for.
            held_out: how many people the curve was estimated on.
            level: coverage.
        """
        reach = z_score(level) * np.sqrt(1 + held_out / people) * np.array([-1, 1])
        spend, revenue = self.spend + reach * self.spend_error, self.revenue + reach * self.revenue_error
        return np.maximum(spend, self.least[0]), np.maximum(revenue, self.least[1])


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
    least: np.ndarray = np.full(2, -np.inf)  # below which nobody's spend and revenue can be
    rests: np.ndarray = np.zeros(0)  # [v, 3] `metrics.weakest` at each point; empty if not known

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

        figures = map(between, (self.spend, self.spend_error, self.revenue, self.revenue_error))
        # Of the two points that are mixed the one that rests on fewer people.
        rests = min(self.rests[[low, high]], key=lambda row: row[1]) if len(self.rests) else self.rests
        return Expected(rule, *figures, least=self.least, rests=rests)

    def aim(self, risk: float | None = None) -> np.ndarray:
        """What must come up to a budget at each point, [v]: the spend, with `risk` e plus z_{1-e} standard errors.

        Raises:
            InputError: a risk that is not above 0 and below 0.5.
        """
        if risk is None:
            return self.spend
        if not 0 < risk < 0.5:
            refuse("risk", found=risk, expected="a probability above 0 and below 0.5")
        return self.spend + ndtri(1 - risk) * self.spend_error


def spend_curve(outcomes: Outcomes, scores: Scores, *, points: int = POINTS, seen: Trial | None = None) -> SpendCurve:
    """The spend curve of the policy that `outcomes` decide, as `scores` of the same people estimate it.

    At each multiplier the estimate is a mean of scores picked at the decided treatments, and its standard error the
    spread of those scores over sqrt(n): the decisions are held, for a multiplier is one number chosen from n people.

    Args:
        outcomes: what decides, [n, m] each, for people it was not trained on.
        scores: estimates of the same people's outcomes, [n, m] each, with the level of cost in them: `aipw` or `ipw`.
        points: of the curve at most; those that are kept lie evenly along the budget path.
        seen: what was seen of these people, to count whom each point rests on; where all of them cost, or brought, at
            least 0, no interval reaches below.

    Raises:
        InputError: surfaces that disagree in shape or hold NaN.
    """
    curve = value_steps(outcomes, scores).curve()
    squares = value_steps(outcomes, Scores(scores.r**2, scores.c**2, scores.w)).curve()
    n = scores.r.shape[0]
    vertices = np.flatnonzero(np.asarray(curve.vertex))
    kept = vertices[np.unique(np.linspace(0, len(vertices) - 1, points).round().astype(int))]
    mean_cost = np.asarray(scores.c, np.float64).mean(axis=0)
    cheapest = int(np.argmin(mean_cost))

    def with_cheapest(of: jax.Array, surface: jax.Array) -> np.ndarray:
        first = np.asarray(surface[:, cheapest], np.float64).mean()
        return np.concatenate([[first], np.asarray(of, np.float64)[kept]])

    spend, revenue = with_cheapest(curve.cost, scores.c), with_cheapest(curve.revenue, scores.r)
    spend2, revenue2 = with_cheapest(squares.cost, scores.c**2), with_cheapest(squares.revenue, scores.r**2)
    lam = np.concatenate([[np.inf], np.asarray(curve.price, np.float64)[kept]])
    return SpendCurve(
        lam=lam,
        spend=spend,
        revenue=revenue,
        spend_error=np.sqrt(np.clip(spend2 - spend**2, 0, None) / n),
        revenue_error=np.sqrt(np.clip(revenue2 - revenue**2, 0, None) / n),
        cheapest=cheapest,
        people=n,
        least=np.full(2, -np.inf) if seen is None else at_least(seen),
        rests=np.zeros(0) if seen is None else _rests(outcomes, scores, seen, lam, cheapest),
    )


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
