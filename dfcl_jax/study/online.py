"""The online experiment (DFCL section 5): policies side by side on randomised groups of the people of each day."""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import numpy as np
import pandas as pd
from jax import Array

from dfcl_jax import metrics
from dfcl_jax.data.simulate import Population, draw
from dfcl_jax.errors import refuse
from dfcl_jax.solvers import check_budgets, hard
from dfcl_jax.types import Outcomes, Scores

# (features [k, d] of people, budget per person) -> their treatments, [k] int
Policy = Callable[[Array, float], Array]


def policy_of(predict: Callable[[Array], Outcomes], held_out: Array, settling: Scores, *, unit: float = 1.0) -> Policy:
    """argmax_j r_hat - lam c_hat at the multiplier whose spend, estimated on people of a trial, meets the budget.

    As in `metrics.eom` (Algorithm 3): budgets are met in money that was measured, whatever the model predicts.

    Args:
        predict: x [k, d] -> predictions in any unit that revenue and cost share, [k, m] each.
        held_out: features of people of a trial that the model was not trained on, [n, d].
        settling: scores of the same people with the level of cost in them, [n, m] each, in `unit`s of money.
        unit: money that the scores count in.
    """
    steps = metrics.value_steps(predict(held_out), settling)

    def policy(x: Array, budget: float) -> Array:
        return hard(predict(x), steps.at(np.array([budget / unit])).lam[0])

    return policy


def online(
    key: Array,
    population_on: Callable[[int], Population],
    policies: dict[str, Policy],
    budgets: Sequence[float],
    people: int,
    *,
    on_day: Callable[[int], None] = lambda day: None,
) -> pd.DataFrame:
    """Give the people who arrive each day to the policies at random, in groups of one size, and see what they bring.

    Args:
        key: of people, groups and outcomes.
        population_on: day from 0 -> the population of that day, of one structure, such as `Marketing.in_week`.
        policies: by name.
        budgets: cost per person of each day, the same for every group.
        people: who arrive each day; those that groups of one size leave over get no policy.
        on_day: told each day that is over.

    Returns:
        A row for each day and policy: day (from 1), policy, people, budget, revenue and cost per person as seen.

    Raises:
        InputError: no policy, no days, a bad budget, or fewer people than policies.
    """
    if not policies:
        refuse("policies", found="none", expected="at least one")
    if len(budgets) == 0:
        refuse("budgets", found="none", expected="one for each day")
    check_budgets(np.asarray(budgets))
    size = people // len(policies)
    if size < 1:
        refuse("people", found=people, expected=f"at least {len(policies)}, one for each policy")
    rows = []
    for day, budget in enumerate(budgets):
        population = population_on(day)
        people_key, *noise_keys = jax.random.split(jax.random.fold_in(key, day), len(policies) + 1)
        groups = _groups(population, people_key, people, len(policies))
        for (name, policy), (x, truth), noise_key in zip(policies.items(), groups, noise_keys, strict=True):
            revenue, cost = _seen(population, noise_key, truth, policy(x, float(budget)))
            rows.append((day + 1, name, size, float(budget), float(revenue), float(cost)))
        on_day(day)
    return pd.DataFrame(rows, columns=["day", "policy", "people", "budget", "revenue", "cost"])


@partial(jax.jit, static_argnums=(2, 3))
def _groups(population: Population, key: Array, people: int, groups: int) -> list[tuple[Array, Outcomes]]:
    """Features and truth of each group."""
    people_key, group_key = jax.random.split(key)
    trial, truth = draw(population, people_key, people)
    order = jax.random.permutation(group_key, people)[: people // groups * groups].reshape(groups, -1)
    return [(trial.x[rows], jax.tree.map(lambda surface, rows=rows: surface[rows], truth)) for rows in order]


@jax.jit
def _seen(population: Population, key: Array, truth: Outcomes, arm: Array) -> tuple[Array, Array]:
    r, c = population.respond(key, truth, arm)
    return r.mean(), c.mean()


def online_lifts(daily: pd.DataFrame, base: str, *, level: float = 0.95) -> pd.DataFrame:
    """Lift of each policy over `base` in per cent, the mean over days, with Student's t interval.

    The groups of a day share its population and budget, so what differs between days cancels in each day's
    100 (revenue / revenue of base - 1).

    Args:
        daily: of `online`.
        base: one of its policies.
        level: coverage.

    Returns:
        A row for each policy: policy, revenue and cost per person and day, spend (% of the budgets), and lift, low and
        high; 0 for the base itself.
    """
    revenue, cost = (daily.pivot(index="day", columns="policy", values=what) for what in ("revenue", "cost"))
    if base not in revenue:
        refuse("base", found=base, expected=f"one of {', '.join(map(str, revenue))}")
    budget = daily.groupby("day").budget.first().mean()
    rows = []
    for policy in dict.fromkeys(daily.policy):
        lift = metrics.paired_interval(100 * (revenue[policy] / revenue[base] - 1).to_numpy(), level=level)
        spent = cost[policy].mean()
        rows.append((policy, revenue[policy].mean(), spent, 100 * spent / budget, *lift))
    return pd.DataFrame(rows, columns=["policy", "revenue", "cost", "spend", "lift", "low", "high"])
