"""The budgeted plan: who is given what, at each budget."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array

from dfcl_jax import solvers
from dfcl_jax.methods import TWO_STAGE
from dfcl_jax.report.predictor import Predictor
from dfcl_jax.study import CHEAPEST, ORACLE
from dfcl_jax.types import Allocation, Outcomes, pick


class Plan(NamedTuple):
    """Decisions at each budget, and what they are expected to bring."""

    assignments: pd.DataFrame  # row of the table, from 1, and a column of treatment names for each budget
    budgets: pd.DataFrame  # budget, lam, spend, revenue per person, share of each treatment
    notes: list[str]  # what is out of the ordinary


def proven_best(summary: pd.DataFrame) -> str:
    """The method whose interval of lift over two-stage learning lies highest above 0; two-stage if none does."""
    trained = summary[~summary.method.isin((TWO_STAGE, ORACLE, CHEAPEST)) & (summary.lift_low > 0)]
    return TWO_STAGE if trained.empty else str(trained.sort_values("lift_low").method.iloc[-1])


def plan_for(
    decider: Predictor, two_stage: Predictor, features: pd.DataFrame, rows: np.ndarray, budgets: Sequence[float]
) -> Plan:
    """Decide by one model, at the multiplier that keeps another's predicted spend within each budget.

    A model trained on decisions alone predicts scores, no longer money, so the two-stage model prices the plan.

    Args:
        decider: the model that ranks treatments.
        two_stage: the model that predicts revenue and cost.
        features: people to plan for, [n, columns].
        rows: their rows in the table, from 0, [n].
        budgets: cost per person.

    Raises:
        InputError: features that the models do not know.
    """
    deciding, priced = decider(features), two_stage(features)
    assignments, summary, notes = {"row": rows + 1}, [], []
    for budget in budgets:
        plan, note = _decide(deciding, priced, budget)
        arm = np.asarray(plan.arm)
        assignments[f"budget {budget:.10g}"] = np.asarray(decider.arms)[arm]
        entry = {"budget": budget, "lam": float(plan.lam), "spend": float(plan.spend), "revenue": float(plan.value)}
        summary.append(entry | {f"share {name}": float((arm == j).mean()) for j, name in enumerate(decider.arms)})
        notes += [f"Budget {budget:.10g}: {note}"] if note else []
    return Plan(pd.DataFrame(assignments), pd.DataFrame(summary), notes)


def _decide(deciding: Outcomes, priced: Outcomes, budget: float) -> tuple[Allocation, str]:
    plan = _within(deciding, priced, jnp.asarray(budget, priced.c.dtype))
    if plan.spend <= budget:
        return plan, "" if plan.lam > 0 else "above the largest useful spend, everybody has their best treatment"
    plan = _within(priced, priced, jnp.asarray(budget, priced.c.dtype))
    if plan.spend <= budget:
        return plan, f"the method cannot meet it, so {TWO_STAGE} decides"
    return plan, f"below {plan.spend:.4g}, the predicted spend of the cheapest plan, which is given"


@jax.jit
def _within(deciding: Outcomes, priced: Outcomes, budget: Array) -> Allocation:
    lam, arm = solvers.decide_within(deciding, priced.c, budget)
    return Allocation(arm, lam, pick(priced.c, arm).mean(), pick(priced.r, arm).mean())
