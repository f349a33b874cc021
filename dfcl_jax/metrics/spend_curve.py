"""What a policy spends and brings at every multiplier, with standard errors: how a budget becomes decisions."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtri

from dfcl_jax.errors import refuse
from dfcl_jax.metrics.intervals import z_score
from dfcl_jax.solvers import Rule, check_budgets


class Expected(NamedTuple):
    """What a policy is expected to spend and to bring under a rule, per person."""

    rule: Rule
    spend: float
    spend_error: float  # standard error
    revenue: float
    revenue_error: float
    least: np.ndarray = np.full(2, -np.inf)  # below which nobody's spend and revenue can be
    rests: np.ndarray = np.zeros(0)  # [3] as a row of `SpendCurve.rests`; empty if not known

    @property
    def at_random(self) -> float:
        """The share of people who get the cheapest treatment at random, for the method overspends at any multiplier."""
        return float(np.mean(np.where(np.isinf(self.rule.lam), 1 - np.asarray(self.rule.share), 0)))

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
        # Of the points that are mixed the one that rests on fewer people.
        mixed = [point for point, part in ((low, 1 - share), (high, share)) if part > 0]
        rests = min(self.rests[mixed], key=lambda row: row[1]) if len(self.rests) else self.rests
        return Expected(rule, *figures, least=self.least, rests=rests)

    def least_budget(self, risk: float | None = None) -> float:
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

    def least_budget(self, risk: float | None = None) -> float:
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
            least=np.min([one.least for one in each], axis=0),
            rests=_together([one.rests for one in each]),
        )


def _together(rests: Sequence[np.ndarray]) -> np.ndarray:
    """On whom K policies rest: the people of all, and the treatment of the policy that rests on fewest."""
    if not all(len(row) for row in rests):
        return np.zeros(0)
    people, conversions = np.sum([row[1:] for row in rests], axis=0)
    return np.array([min(rests, key=lambda row: row[1])[0], people, conversions])


def z_of(risk: float) -> float:
    """Standard errors z_{1-e} that an estimate must stay below a budget by.

    Raises:
        InputError: a risk that is not above 0 and below 0.5.
    """
    if not 0 < risk < 0.5:
        refuse("risk", found=risk, expected="a probability above 0 and below 0.5")
    return float(ndtri(1 - risk))
