"""Pacing: a policy follows the spend that it sees, so that budgets are met when demand is not what it was in the trial.

People arrive in batches, and a spend curve S(lam) was estimated before: a sum of money w that is wanted from a batch is
asked of the curve as c w, which decides at the multiplier lam with S(lam) = c w. The correction c starts at 1 and takes
a step of dual mirror descent after each batch,

    c <- c exp(-rate (spend - w) / plan),

where `plan` is the batch's part of the budget. With the mirror map h'(lam) = -log S(lam), which rises as S falls, this
is h'(lam) <- h'(lam) + rate (spend - w) / plan: the multiplier rises when too much is spent (Balseiro, Lu and Mirrokni
2020, "The best of many worlds: dual mirror descent for online allocation problems", Algorithm 1). The entropic map
h'(lam) = log lam gives lam <- lam exp(rate (spend - w) / plan). It is not used here, because what a change of lam does
to the spend depends on the unit that a method counts in, while S measures it; and a rule of S mixes decisions exactly.

What is wanted carries over- and underspend to all the people who are still to come:

    w = min(plan min(money left / budgets left, CEILING), CEILING budget of the day - spend of the day),  at least 0.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

# A batch that spends a share e too much lowers what is asked of the curve by the factor exp(-RATE e).
RATE = 0.2
# The part of its budget that a day may want; the errors of batches come on top of it.
CEILING = 1.05
# The correction stays between 1 / REACH and REACH, so that it comes back soon from a budget that could not be met.
REACH = 10.0


class Pace(NamedTuple):
    """Where a policy stands, in money; leaves of any one shape, such as one number for each policy."""

    correction: Array  # c, money asked of the spend curve for each unit of money that is wanted
    money: Array  # left for all who are still to come
    budgets: Array  # sum of the budgets of all who are still to come
    room: Array  # what today may still want: CEILING times the day's budget, less today's spend


def start(total: ArrayLike) -> Pace:
    """The pace before the first day, for the sum of the budgets of all days."""
    total = jnp.asarray(total, float)
    return Pace(jnp.ones_like(total), total, total, jnp.full_like(total, jnp.inf))


def new_day(pace: Pace, budget: ArrayLike) -> Pace:
    """The pace on the morning of a day with this budget."""
    return pace._replace(room=jnp.full_like(pace.room, CEILING * budget))


def wanted(pace: Pace, plan: ArrayLike) -> Array:
    """Money that the next batch should spend; 0: the cheapest treatment for everybody.

    Args:
        pace: before the batch.
        plan: budget of the batch's people.
    """
    share = jnp.where(pace.budgets > 0, pace.money / pace.budgets, 0)
    return jnp.clip(plan * jnp.minimum(share, CEILING), 0, jnp.maximum(pace.room, 0))


@jax.jit
def asked(pace: Pace, plan: ArrayLike) -> Array:
    """Money to ask of the spend curve for the next batch, c w."""
    return pace.correction * wanted(pace, plan)


@jax.jit
def step(pace: Pace, plan: ArrayLike, spend: ArrayLike, *, rate: float | Array = RATE) -> Pace:
    """The pace after a batch.

    Args:
        pace: before the batch.
        plan: budget of the batch's people.
        spend: money that the batch was seen to spend; where nothing was wanted it leaves the correction as it is.
        rate: of the descent.
    """
    part, spent, target = jnp.asarray(plan), jnp.asarray(spend), wanted(pace, plan)
    error = jnp.where(target > 0, (spent - target) / part, 0)
    correction = jnp.clip(pace.correction * jnp.exp(-rate * error), 1 / REACH, REACH)
    return Pace(correction, pace.money - spent, pace.budgets - part, pace.room - spent)
