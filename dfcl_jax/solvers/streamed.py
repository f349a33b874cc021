"""The budgeted plan for people who come in batches; memory holds one batch at a time."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import numpy as np

from dfcl_jax.solvers.checks import check_budgets, rounded_down
from dfcl_jax.solvers.hull import upper_hull
from dfcl_jax.types import Outcomes

_HALF = 16  # number of bits of a float32 that one pass resolves


class Cut(NamedTuple):
    """The point on the budget path where a budget ends."""

    budget: float  # per person, rounded down to float32
    lam: float  # slope of the first step that does not fit; 0 if all fit
    room: float  # what is left of the total budget for steps tied at lam; -inf after one of them did not fit


def find_cut(batches: Callable[[], Iterable[Outcomes]], n: int, budget: float) -> Cut:
    """Find the exact multiplier of a budget in two passes over people, with 65,536 numbers of memory.

    Non-negative floats have the order of their bit patterns. The first pass sums the costs of hull steps by the upper
    16 bits of their slope. The second pass sums by the lower 16 bits, for the slopes that share the upper bits at which

        sum_i c_i(cheapest) + sum of costs of steps of slope >= s  >  n B

    first holds as s decreases. Totals are float64: exact for costs that are multiples of some unit, for example 2^-28,
    as long as they stay below 2^53 units.

    Args:
        batches: starts a pass over all people; outcomes are float32, [k, m] each. Batches of one size compile once:
            fill up the last one with rows of zeros, which add nothing.
        n: number of people.
        budget: cost per person.

    Raises:
        InputError: a budget that is negative, not finite (before the first pass) or below the cheapest plan.
    """
    check_budgets(budget)
    budget = float(rounded_down(budget, np.dtype(np.float32)))
    cheapest, costs = 0.0, np.zeros(2**_HALF)
    for outcomes in batches():
        start, bits, rise = _steps(outcomes)
        cheapest += start
        costs += np.bincount(bits >> _HALF, rise, 2**_HALF)
    check_budgets(budget, cheapest=cheapest / n)
    room = n * budget - cheapest
    if not costs.any() or costs.sum() <= room:
        return Cut(budget, 0.0, room)
    upper, room = _crossing(costs, room)
    costs = np.zeros(2**_HALF)
    for outcomes in batches():
        _, bits, rise = _steps(outcomes)
        here = bits >> _HALF == upper
        costs += np.bincount(bits[here] & (2**_HALF - 1), rise[here], 2**_HALF)
    lower, room = _crossing(costs, room)
    return Cut(budget, float(np.uint32(upper << _HALF | lower).view(np.float32)), room)


def decide(outcomes: Outcomes, cut: Cut) -> tuple[np.ndarray, Cut]:
    """Return the treatments of a batch of people, [k] int, and the cut that is left for later people.

    Everybody takes the steps that are steeper than lam. Then the steps tied at lam are taken, person by person, until
    one does not fit. Over all batches this is the plan of `allocate(..., top_ups=0)`.
    """
    arm, cost, slope = _hull(outcomes)
    lam, people = np.float32(cut.lam), np.arange(cost.shape[1])
    level = (slope > lam).sum(axis=0)
    if lam == 0:
        return arm[level, people], cut
    person, step = np.nonzero((slope == lam).T)
    spent = np.cumsum(np.append(0, cost[step + 1, person].astype(np.float64) - cost[step, person]))
    paid = int(np.searchsorted(spent[1:], cut.room, side="right"))
    level += np.bincount(person[:paid], minlength=len(people))
    room = cut.room - float(spent[-1]) if paid == len(person) else -np.inf
    return arm[level, people], cut._replace(room=room)


_upper_hull = jax.jit(upper_hull)


def _hull(outcomes: Outcomes) -> tuple[np.ndarray, ...]:
    """Return arm and cost [m, k] and slope [m-1, k] of `Hull`."""
    return tuple(np.asarray(part) for part in _upper_hull(outcomes))


def _steps(outcomes: Outcomes) -> tuple[float, np.ndarray, np.ndarray]:
    """Return the total cost of the cheapest treatments, and the slope's bit pattern and the cost of every hull step."""
    _, cost, slope = _hull(outcomes)
    steps = slope > 0
    rise = np.diff(cost.astype(np.float64), axis=0)[steps]
    return float(cost[0].sum(dtype=np.float64)), slope[steps].view(np.uint32), rise


def _crossing(costs: np.ndarray, room: float) -> tuple[int, float]:
    """Return the first bin with steps, from the top, that `room` does not cover, and what the bins above it leave."""
    bins = np.flatnonzero(costs)[::-1]
    falling = np.cumsum(costs[bins])
    # In another order of summation, a total just above the room may not exceed it; the last bin is then the answer.
    place = min(int(np.searchsorted(falling, room, side="right")), len(bins) - 1)
    return int(bins[place]), float(room - (falling[place - 1] if place else 0))
