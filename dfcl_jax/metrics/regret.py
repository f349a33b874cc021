"""Regret: what a plan by predictions misses of the best plan, exactly, where the truth is known."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax import scores
from dfcl_jax.metrics.policy_value import eom
from dfcl_jax.metrics.value_steps import Spend
from dfcl_jax.solvers import budget_path
from dfcl_jax.types import Outcomes


class Regret(NamedTuple):
    """What plans bring and miss at each budget, per person."""

    regret: Array  # [b] optimum - value
    value: Array  # [b] true revenue of the plans
    optimum: Array  # [b] true revenue of the oracle's plans, the best there are within the budget


def regret(outcomes_hat: Outcomes, truth: Outcomes, budgets: ArrayLike, *, spend: Spend = "estimated") -> Regret:
    """Optimum less value at each budget, both by the true expected outcomes.

    The value is `eom` settled by the truth; the optimum is that of the linear programme (D1 with 0 <= z <= 1), read off
    the oracle's `budget_path`, which mixes at ties and between steps as `eom` does: the oracle has no regret, and with
    spend "estimated", which is then the true one, no plan has less than none.

    Args:
        outcomes_hat: what decides, [n, m] each.
        truth: true expected outcomes of the same people, [n, m] each.
        budgets: cost per person, [b].
        spend: "estimated" meets budgets in true cost, "predicted" in that of `outcomes_hat`, and may overspend.

    Raises:
        InputError: surfaces that disagree in shape or hold NaN; a budget that is negative, not finite or below the
            cheapest plan.
    """
    budgets = jnp.atleast_1d(jnp.asarray(budgets))
    value = eom(outcomes_hat, scores.truth(truth), budgets, spend=spend).revenue
    optimum = jnp.asarray(budget_path(truth).at(budgets).value, value.dtype)
    return Regret(optimum - value, value, optimum)
