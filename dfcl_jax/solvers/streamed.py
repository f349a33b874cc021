"""The budgeted plan of people who come in batches, of whom memory never holds more than one."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import numpy as np

from dfcl_jax.solvers.checks import check_budgets, rounded_down
from dfcl_jax.solvers.hull import upper_hull
from dfcl_jax.types import Outcomes

_HALF = 16  # bits of a float32's pattern that one pass resolves


class Cut(NamedTuple):
    """Where a budget ends on the budget path."""

    budget: float  # per person, as the float32 that is not above what was asked for
    lam: float  # slope of the first step that is not paid for; 0 where all are
    room: float  # what is left, of all people's budget, for those who tie at lam; -inf once one of them had no room


def find_cut(batches: Callable[[], Iterable[Outcomes]], n: int, budget: float) -> Cut:
    """The multiplier of a budget, exactly, in two passes over people and 65,536 numbers of memory.

    Non-negative floats are ordered as their bit patterns are. The first pass adds up what hull steps cost by the upper
    16 bits of their slope, the second by the lower 16 bits of those slopes that share the upper bits at which

        sum_i c_i(cheapest) + sum of costs of steps of slope >= s  >  n B

    first holds as s falls. Totals are float64: exact for costs that are multiples of some unit, be it 2^-28, as long as
    they stay below 2^53 units.

    Args:
        batches: begins a pass over all people; outcomes are float32, [k, m] each. Batches of one size compile once: a
            row of zeros, which fills up the last, adds nothing.
        n: how many people they are.
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
    """The treatments of a batch of people, [k] int, and what the cut leaves for the people who come after them.

    Everybody takes the steps that are steeper than lam; then the steps that tie at lam are taken, person by person,
    until one has no room. Over all batches that is the plan of `allocate(..., top_ups=0)`.
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
    """Arm and cost [m, k] and slope [m-1, k] of `Hull`."""
    return tuple(np.asarray(part) for part in _upper_hull(outcomes))


def _steps(outcomes: Outcomes) -> tuple[float, np.ndarray, np.ndarray]:
    """The cost of everybody's cheapest treatment, and of all hull steps the bit pattern of the slope and the cost."""
    _, cost, slope = _hull(outcomes)
    steps = slope > 0
    rise = np.diff(cost.astype(np.float64), axis=0)[steps]
    return float(cost[0].sum(dtype=np.float64)), slope[steps].view(np.uint32), rise


def _crossing(costs: np.ndarray, room: float) -> tuple[int, float]:
    """The first bin with steps, from the top, that `room` does not pay for, and what the bins above it leave."""
    bins = np.flatnonzero(costs)[::-1]
    falling = np.cumsum(costs[bins])
    # A total above the room by a last place may, added up in another order, not be so.
    place = min(int(np.searchsorted(falling, room, side="right")), len(bins) - 1)
    return int(bins[place]), float(room - (falling[place - 1] if place else 0))
