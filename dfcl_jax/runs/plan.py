"""The budgeted plan of a table: who is given what, at each budget."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
import pandas as pd
from jax import Array

from dfcl_jax.methods import Mixture, Policy
from dfcl_jax.metrics import LEAST_CONVERSIONS, LEAST_PEOPLE, Expected, MixedCurve, SpendCurve

# People of equal weight who had what a plan gives them, of every treatment that more than 1% are given: the variance of
# ten is known to about half of itself, and that of two or three may be missed altogether.
LEAST_HAD = 10


class Plan(NamedTuple):
    """Decisions at each budget, and what they are expected to bring."""

    assignments: pd.DataFrame  # row of the table, from 1, and a column of treatment names for each budget
    budgets: pd.DataFrame  # budget, lam, spend and revenue per person with intervals, share of each treatment
    notes: list[str]  # what is out of the ordinary


def plan_for(
    policy: Policy | Mixture,
    people: pd.DataFrame,
    rows: np.ndarray,
    budgets: Sequence[float],
    *,
    models: np.ndarray | None = None,
    key: Array | None = None,
    risk: float | None = None,
    clip: bool = False,
) -> Plan:
    """Decide for people of a table by a policy, at each budget.

    Args:
        policy: with a spend curve of people from the same population.
        people: their features, [n, columns].
        rows: their rows in the table, from 0, [n]: whoever has the same row draws the same dice in every plan.
        budgets: cost per person.
        models: which policy of a mixture decides for each person, [n] int; drawn by dice if not given.
        key: of the dice; key 0 if not given.
        risk: probability of a true spend above the budget, see `SpendCurve.at`.
        clip: whether numbers outside the range of training are moved to its ends.

    Raises:
        InputError: features that the policy does not know, a bad budget or risk.
    """
    key = jax.random.key(0) if key is None else key
    outcomes, names = policy.predict(people, clip=clip), np.asarray(policy.arms)
    assignments, summary = {"row": rows + 1}, []
    notes = []
    for budget in budgets:
        expected = policy.curve.at(budget, risk=risk)
        chosen = {} if models is None else {"models": models}
        arm = policy.decide_by(expected.rule, outcomes, key, rows=rows, **chosen)
        assignments[f"budget {budget:.10g}"] = names[arm]
        shares = {f"share {name}": float((arm == j).mean()) for j, name in enumerate(names)}
        summary.append({"budget": budget} | foretold(expected, policy.curve, len(rows), policy.arms) | shares)
        said = (remark(expected, policy.curve, budget), why_withheld(expected, policy.curve, policy.arms))
        notes += [f"Budget {budget:.10g}: {note}" for note in said if note]
    return Plan(pd.DataFrame(assignments), pd.DataFrame(summary), notes)


def why_withheld(expected: Expected, curve: SpendCurve | MixedCurve, arms: Sequence[str]) -> str:
    """Why a plan has no interval of what rests on few people; empty where it has. It would be narrow for no reason."""
    few = _few_people(expected, curve, arms)
    if few or not len(expected.rests) or expected.rests[2] >= LEAST_CONVERSIONS:
        return few
    return f"no interval of revenue, which rests on {expected.rests[2]:.0f} conversions of a treatment"


def _few_people(expected: Expected, curve: SpendCurve | MixedCurve, arms: Sequence[str]) -> str:
    if curve.people < LEAST_PEOPLE * len(arms):
        return f"no intervals, of {curve.people} people to rest on there are fewer than {LEAST_PEOPLE:.0f} a treatment"
    if not len(expected.rests) or expected.rests[1] >= LEAST_HAD:
        return ""
    arm = arms[int(expected.rests[0])]
    worth = f"people worth {expected.rests[1]:.1f} of equal weight"
    return f"no intervals, of those given {arm} only {worth} had it in the trial"


def foretold(expected: Expected, curve: SpendCurve | MixedCurve, people: int, arms: Sequence[str]) -> dict[str, float]:
    """Multiplier, spend and revenue per person with intervals of 95%, of a plan for so many people.

    The ends of intervals that rest on hardly anybody are NaN (`why_withheld`).
    """
    spend, revenue = expected.interval(people, curve.people)
    if _few_people(expected, curve, arms):
        spend = (np.nan, np.nan)
    if why_withheld(expected, curve, arms):
        revenue = (np.nan, np.nan)
    return {
        "lam": float(np.mean(expected.rule.lam)),
        "spend": expected.spend,
        "spend_low": float(spend[0]),
        "spend_high": float(spend[1]),
        "revenue": expected.revenue,
        "revenue_low": float(revenue[0]),
        "revenue_high": float(revenue[1]),
    }


def remark(expected: Expected, curve: SpendCurve | MixedCurve, budget: float) -> str:
    """What is out of the ordinary in how a policy meets a budget; empty where nothing is."""
    if curve.least_budget() > budget:
        return "below the estimated cost of the cheapest treatment, which everybody is given"
    if expected.at_random > 0:
        share = f"{expected.at_random:.0%}"
        return f"the method overspends at any multiplier, so {share} are given the cheapest treatment at random"
    if expected.spend < budget and curve.is_spent(expected.rule):
        return "above the largest useful spend, everybody has their best treatment"
    return ""
