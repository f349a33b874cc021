"""On how many people the value of a policy rests, and whether they are enough for an interval."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.errors import shown
from dfcl_jax.metrics.checks import as_array, check_people, check_settling
from dfcl_jax.solvers import Rule, hard
from dfcl_jax.types import Outcomes, Scores, Trial, num_arms

# What an interval asks of every treatment that more than this share of people get.
LEAST_SHARE = 0.01
LEAST_PEOPLE = 30.0
LEAST_CONVERSIONS = 10.0


def rests_on(
    outcomes: Outcomes, scores: Scores, at: ArrayLike | Rule, *, revenue: ArrayLike | None = None
) -> pd.DataFrame:
    """The people on whom the value of a policy rests: a row for each of its b budgets and m treatments.

    With q_ij the chance that the policy gives person i treatment j, and w_ij the weight of what was seen of them,

        effective_size_j = (sum_i q_ij w_ij)^2 / sum_i (q_ij w_ij)^2

    people drawn alike would tell as much (Kish). Below about 30 an interval cannot be trusted, whatever n is.

    Args:
        outcomes: what decides, [n, m] each.
        scores: what settles, [n, m] each, with the weights of the observations.
        at: the decisions, `eom(...).rule` with leaves [b], or multipliers [b], at which all people are decided for by
            `solvers.hard`.
        revenue: seen, `trial.r` [n], to count conversions (people whose revenue is not 0).

    Returns:
        Columns: budget (int, the place in `at`); treatment; share of people who are given it; matched, how many of them
        had it; effective_size; conversions of those matched, and expected, how many conversions as many effective
        people would have at the trial's overall rate. Both are NaN if no revenue is given.

    Raises:
        InputError: as `checks.check_settling`; a revenue that is not [n] finite numbers.
    """
    outcomes, scores = check_settling(outcomes, scores)
    n, m = outcomes.r.shape
    if not isinstance(at, Rule):
        lams = jnp.atleast_1d(as_array(at))
        at = Rule(lams, lams, jnp.ones_like(lams), jnp.zeros(lams.shape, int))
    converted = None if revenue is None else check_people("revenue", revenue, n) != 0
    table = np.asarray(_counts(outcomes, scores.w, at, jnp.zeros(n, bool) if converted is None else converted))
    b = len(table)
    frame = pd.DataFrame(table.reshape(b * m, 4), columns=["share", "matched", "effective_size", "conversions"])
    frame.insert(0, "budget", np.repeat(np.arange(b), m))
    frame.insert(1, "treatment", np.tile(np.arange(m), b))
    rate = np.nan if converted is None else float(converted.mean())
    return frame.astype({"matched": int}).assign(
        conversions=frame.conversions if converted is not None else np.nan, expected=rate * frame.effective_size
    )


@jax.jit
def _counts(outcomes: Outcomes, weights: Array, rule: Rule, converted: Array) -> Array:
    """Share, matched, effective size and conversions at every budget and treatment, [b, m, 4]."""
    m = weights.shape[1]

    def of_one(one: Rule) -> Array:
        at_random = jnp.isinf(one.lam)
        # Where everybody is decided for at random, the multiplier only has to be a number.
        lower = jnp.where(at_random, one.cheapest, hard(outcomes, jnp.where(at_random, 0, one.lam)))
        higher = hard(outcomes, one.dearer)
        chance = one.share * jax.nn.one_hot(higher, m) + (1 - one.share) * jax.nn.one_hot(lower, m)
        w = chance * weights
        matched, squares = w > 0, (w**2).sum(axis=0)
        effective = jnp.where(squares > 0, w.sum(axis=0) ** 2 / jnp.where(squares > 0, squares, 1), 0)
        conversions = (matched & converted[:, None]).sum(axis=0)
        return jnp.stack([chance.mean(axis=0), matched.sum(axis=0), effective, conversions], axis=1)

    return jax.lax.map(of_one, rule)


def trustworthy(rests: pd.DataFrame) -> np.ndarray:
    """Whether an interval may be given at each budget of `rests_on`, [b] bool; `why_withheld` says why not."""
    return np.array([reason is None for reason in why_withheld(rests)], bool)


def why_withheld(rests: pd.DataFrame, arms: Sequence[object] | None = None) -> list[str | None]:
    """A sentence for each budget of `rests_on` whose value rests on too few people for an interval, None for others.

    Every treatment that more than 1% of people are given must rest on at least 30 effective people and on 10
    conversions: seen, or expected of as many people at the trial's overall rate, so that a treatment that brings
    nothing is known to once many had it. Without revenue only people are asked for.

    Args:
        rests: what `rests_on` returns.
        arms: the names of the m treatments.
    """
    return [
        next((_lack(row, arms) for row in rows.to_dict("records") if _lack(row, arms)), None)
        for _, rows in rests.groupby("budget")
    ]


def weakest(rests: pd.DataFrame) -> np.ndarray:
    """The treatment that rests on fewest people at each budget of `rests_on`, [b, 3]: its number, people, conversions.

    Only treatments that more than 1% of people are given count. People are the effective size; conversions are those
    seen or expected, whichever are more, of the treatment that has fewest of them.
    """
    rows = []
    for _, table in rests.groupby("budget"):
        given = table[table.share > LEAST_SHARE]
        thinnest = given.iloc[int(np.argmin(given.effective_size))]
        rows.append([thinnest.treatment, thinnest.effective_size, given[["conversions", "expected"]].max(axis=1).min()])
    return np.array(rows, np.float64)


def _lack(row: dict, arms: Sequence[object] | None) -> str | None:
    if row["share"] <= LEAST_SHARE:
        return None
    arm = f"treatment {row['treatment']}" if arms is None else shown(arms[row["treatment"]])
    given = f"{row['share']:.1%} of people are given {arm}"
    if row["effective_size"] < LEAST_PEOPLE:
        size = f" (worth {row['effective_size']:.1f} of equal weight)" if row["matched"] else ""
        return f"No interval: {given}, but only {row['matched']} of them had it in the trial{size}."
    if max(row["conversions"], row["expected"]) < LEAST_CONVERSIONS:
        return (
            f"No interval: {given}, but of the {row['matched']} of them who had it in the trial "
            f"only {row['conversions']:.0f} brought any revenue."
        )
    return None


def why_areas_withheld(trial: Trial, arms: Sequence[object] | None = None) -> str | None:
    """A sentence if the area of a curve, which rests on all people of every treatment, can have no interval.

    What is asked for is as of `why_withheld`: of every treatment 30 people and 10 conversions, seen or expected.

    Args:
        trial: n people.
        arms: the names of the m treatments.
    """
    t, converted = np.asarray(trial.t), np.asarray(trial.r) != 0
    counts = np.bincount(t, minlength=num_arms(trial))
    conversions = np.maximum(np.bincount(t, converted, minlength=len(counts)), converted.mean() * counts)
    names = [f"treatment {j}" if arms is None else shown(arms[j]) for j in range(len(counts))]
    for name, count, conversion in zip(names, counts, conversions, strict=True):
        if count < LEAST_PEOPLE:
            return f"No interval of an area: {name} was given to only {count} people."
        if conversion < LEAST_CONVERSIONS:
            return f"No interval of an area: of {count} people given {name} only {conversion:.0f} brought any revenue."
    return None
