"""The budgeted plan: who is given what, at each budget."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from dfcl_jax import metrics, scores, solvers
from dfcl_jax.methods import TWO_STAGE
from dfcl_jax.report.predictor import Predictor
from dfcl_jax.report.summary import lifts
from dfcl_jax.study import CHEAPEST, ORACLE, Study
from dfcl_jax.types import Trial, in_units


class Plan(NamedTuple):
    """Decisions at each budget, and what they are expected to bring."""

    assignments: pd.DataFrame  # row of the table, from 1, and a column of treatment names for each budget
    budgets: pd.DataFrame  # budget, lam, spend and revenue per person on held-out people, share of each treatment
    notes: list[str]  # what is out of the ordinary


def proven_best(study: Study) -> str:
    """The method whose interval of lift over two-stage learning lies highest above 0; two-stage learning if none does.

    With k methods to choose from each interval has coverage 1 - 0.05 / k (Bonferroni): where none is better, one is
    chosen 2.5% of the time at most.
    """
    rivals = lifts(study).drop(columns=[TWO_STAGE, ORACLE, CHEAPEST], errors="ignore")
    best, highest = TWO_STAGE, 0.0
    for method in rivals:
        level = 1 - 0.05 / len(rivals.columns)
        low = metrics.paired_interval(rivals[method].to_numpy(), test_share=study.test_share, level=level).low
        if low > highest:
            best, highest = str(method), low
    return best


def plan_for(
    decider: Predictor,
    two_stage: Predictor,
    held_out: Trial,
    features: pd.DataFrame,
    rows: np.ndarray,
    budgets: Sequence[float],
) -> Plan:
    """Decide at the multiplier whose spend, as estimated on held-out people of the trial, meets each budget.

    Predicted spend would not do: decisions seek out the people whose cost is predicted too low, and a model trained on
    decisions alone predicts no money. So the plan is the policy that `metrics.eom` values on `held_out` by doubly
    robust scores, with its shares of people at random where it mixes.

    Args:
        decider: the model that ranks treatments.
        two_stage: the model of the doubly robust scores.
        held_out: people of the trial that no model was trained on.
        features: people to plan for, [n, columns], from the same population.
        rows: their rows in the table, from 0, [n].
        budgets: cost per person.

    Raises:
        InputError: features that the models do not know.
    """
    trial = in_units(held_out, decider.unit)
    predicted = two_stage.in_units(held_out.x)
    settling = scores.aipw(trial, predicted)
    value = metrics.eom(decider.in_units(held_out.x), settling, np.asarray(budgets) / decider.unit)
    cheapest = int(settling.c.mean(axis=0).argmin())
    deciding, chance = decider(features), np.random.default_rng(0).random(len(rows))
    assignments, summary, notes = {"row": rows + 1}, [], []
    for k, budget in enumerate(budgets):
        lam, dearer, mixed = float(value.lam[k]), float(value.dearer[k]), float(value.mixed[k])
        # Scores that tie at lam in the units of training round apart, to either side, in those of the data: decide
        # clearly on each side of it instead.
        cheaper, dearer_arm = (np.asarray(solvers.hard(deciding, lam * side)) for side in (1 + 1e-5, 1 - 1e-5))
        arm = np.where(chance < dearer, dearer_arm, cheaper)
        # Where nothing meets the budget `mixed` is NaN, and everybody is moved.
        arm = np.where(chance < (1 if np.isnan(mixed) else mixed), cheapest, arm)
        names = np.asarray(decider.arms)
        assignments[f"budget {budget:.10g}"] = names[arm]
        entry = {
            "budget": budget,
            "lam": lam,
            "spend": float(value.cost[k]) * decider.unit,
            "revenue": float(value.revenue[k]) * decider.unit,
        }
        summary.append(entry | {f"share {name}": float((arm == j).mean()) for j, name in enumerate(names)})
        if note := _note(lam, mixed):
            notes.append(f"Budget {budget:.10g}: {note}")
    return Plan(pd.DataFrame(assignments), pd.DataFrame(summary), notes)


def _note(lam: float, mixed: float) -> str:
    if np.isnan(mixed):
        return "below the estimated cost of the cheapest treatment, which everybody is given"
    if mixed > 0:
        return f"the method overspends at any multiplier, so {mixed:.0%} are given the cheapest treatment at random"
    return "" if lam > 0 else "above the largest useful spend, everybody has their best treatment"
