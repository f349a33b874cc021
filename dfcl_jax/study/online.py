"""The online experiment (DFCL section 5): policies side by side on randomised groups of the people of each day."""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
import pandas as pd
from jax import Array

from dfcl_jax import metrics, scores
from dfcl_jax.data.simulate import Population, draw
from dfcl_jax.errors import refuse
from dfcl_jax.methods import Policy
from dfcl_jax.solvers import check_budgets, pacing
from dfcl_jax.types import Outcomes, Trial


def daily_budgets(trial: Trial, days: int, *, share: float = 0.3, spread: float = 0.2, seed: int = 0) -> list[float]:
    """Budgets per person of an experiment's days, log-normal, no larger than the dearest treatment's mean cost.

    Args:
        trial: what tells the mean cost of each treatment.
        days: how many.
        share: mean of the budgets, on the way from the cheapest to the dearest treatment's mean cost.
        spread: standard deviation of the log of that share.
        seed: of the days.
    """
    mean_costs = np.asarray(scores.ipw(trial).c.mean(axis=0))
    normal = np.random.default_rng(seed).normal(size=days)
    on_the_way = np.minimum(share * np.exp(spread * normal - spread**2 / 2), 1)
    return (mean_costs.min() + on_the_way * np.ptp(mean_costs)).tolist()


class Group(NamedTuple):
    """The people of one policy on one day."""

    x: Array  # features, [k, d]
    truth: Outcomes  # expected outcomes, [k, m] each


def online(
    key: Array,
    population_on: Callable[[int], Population],
    policies: dict[str, Policy],
    budgets: Sequence[float],
    people: int,
    *,
    paced: Collection[str] = (),
    batches: int = 24,
    on_day: Callable[[int], None] = lambda day: None,
) -> pd.DataFrame:
    """Give the people who arrive each day to the policies at random, in groups of one size, and see what they bring.

    Args:
        key: of people, groups, decisions and outcomes.
        population_on: day from 0 -> the population of that day, of one structure, such as `Marketing.in_week`.
        policies: by name.
        budgets: cost per person of each day, the same for every group.
        people: who arrive each day; those that groups of one size leave over get no policy.
        paced: names of the policies that follow the spend they see (`solvers.pacing`); the others ask their spend
            curve for the day's budget, whatever it turned out to be on days before.
        batches: in which the people of a day arrive; a paced policy sees the spend of each before the next.
        on_day: told each day that is over.

    Returns:
        A row for each day and policy: day (from 1), policy, people, budget, revenue and cost per person as seen.

    Raises:
        InputError: no policy, no days, a bad budget, a paced policy that there is none of, no batches, or fewer people
            in a group than batches.
    """
    size = _group_size(policies, budgets, people, paced, batches)
    total = size * float(np.sum(budgets))
    paces = {name: pacing.start(total) if name in paced else None for name in policies}
    rows = []
    for day, budget in enumerate(map(float, budgets)):
        population = population_on(day)
        people_key, *group_keys = jax.random.split(jax.random.fold_in(key, day), len(policies) + 1)
        groups = _groups(population, people_key, people, len(policies))
        for (name, policy), group, group_key in zip(policies.items(), groups, group_keys, strict=True):
            arrivals = np.array_split(np.arange(size), batches)
            revenue, cost, paces[name] = _day(population, group_key, policy, group, budget, arrivals, paces[name])
            rows.append((day + 1, name, size, budget, revenue / size, cost / size))
        on_day(day)
    return pd.DataFrame(rows, columns=["day", "policy", "people", "budget", "revenue", "cost"])


def _group_size(
    policies: dict[str, Policy], budgets: Sequence[float], people: int, paced: Collection[str], batches: int
) -> int:
    """People in a group, where the arguments of `online` make sense."""
    if not policies:
        refuse("policies", found="none", expected="at least one")
    if len(budgets) == 0:
        refuse("budgets", found="none", expected="one for each day")
    check_budgets(np.asarray(budgets))
    for name in paced:
        if name not in policies:
            refuse("paced", found=name, expected=f"one of {', '.join(policies)}")
    if batches < 1:
        refuse("batches", found=batches, expected="at least 1")
    size = people // len(policies)
    if size < batches:
        refuse("people", found=people, expected=f"at least {batches} for each of {len(policies)} policies")
    return size


def _day(
    population: Population,
    key: Array,
    policy: Policy,
    group: Group,
    budget: float,
    arrivals: list[np.ndarray],
    pace: pacing.Pace | None,
) -> tuple[float, float, pacing.Pace | None]:
    """Revenue and cost of a group's day, and the pace after it, if the policy has one."""
    dice_key, noise_key = jax.random.split(key)
    predicted, truth = jax.tree.map(np.asarray, (policy.predict(group.x), group.truth))
    if pace is None:
        arrivals = [np.concatenate(arrivals)]
    else:
        pace = pacing.new_day(pace, budget * len(group.x))
    total = np.zeros(2)
    for k, rows in enumerate(arrivals):
        plan = budget * len(rows)
        asked = plan if pace is None else float(pacing.asked(pace, plan))
        batch = slice(rows[0], rows[-1] + 1)
        outcomes, expected = (Outcomes(both.r[batch], both.c[batch]) for both in (predicted, truth))
        arm = policy.decide_by(policy.curve.at(asked / len(rows)).rule, outcomes, dice_key, rows=rows)
        seen = np.asarray(_seen(population, jax.random.fold_in(noise_key, k), expected, arm))
        total += seen
        if pace is not None:
            pace = pacing.step(pace, plan, seen[1])
    return float(total[0]), float(total[1]), pace


@partial(jax.jit, static_argnums=(2, 3))
def _groups(population: Population, key: Array, people: int, groups: int) -> list[Group]:
    people_key, group_key = jax.random.split(key)
    trial, truth = draw(population, people_key, people)
    order = jax.random.permutation(group_key, people)[: people // groups * groups].reshape(groups, -1)
    return [Group(trial.x[rows], jax.tree.map(lambda surface, rows=rows: surface[rows], truth)) for rows in order]


@jax.jit
def _seen(population: Population, key: Array, truth: Outcomes, arm: Array) -> tuple[Array, Array]:
    """Revenue and cost of all these people together, as they are observed."""
    r, c = population.respond(key, truth, arm)
    return r.sum(), c.sum()


def online_lifts(daily: pd.DataFrame, base: str, *, level: float = 0.95) -> pd.DataFrame:
    """Lift of each policy over `base` in per cent, the mean over days, with Student's t interval.

    The groups of a day share its population and budget, so what differs between days cancels in each day's
    100 (revenue / revenue of base - 1).

    Args:
        daily: of `online`.
        base: one of its policies.
        level: coverage.

    Returns:
        A row for each policy: policy, revenue and cost per person and day, spend (% of the budgets), largest_day (the
        largest spend of a day, % of its budget), and lift, low and high; 0 for the base itself.
    """
    revenue, cost = (daily.pivot(index="day", columns="policy", values=what) for what in ("revenue", "cost"))
    if base not in revenue:
        refuse("base", found=base, expected=f"one of {', '.join(map(str, revenue))}")
    budget = daily.groupby("day").budget.first()
    rows = []
    for policy in dict.fromkeys(daily.policy):
        lift = metrics.paired_interval(100 * (revenue[policy] / revenue[base] - 1).to_numpy(), level=level)
        spent = cost[policy].mean()
        largest = 100 * (cost[policy] / budget).max()
        rows.append((policy, revenue[policy].mean(), spent, 100 * spent / budget.mean(), largest, *lift))
    columns = ["policy", "revenue", "cost", "spend", "largest_day", "lift", "low", "high"]
    return pd.DataFrame(rows, columns=columns)
