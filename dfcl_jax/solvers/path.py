"""The budget path: every plan that is optimal at some budget, from the cheapest to the one of highest revenue."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.errors import is_concrete
from dfcl_jax.solvers.checks import check_budgets, check_outcomes, check_weights
from dfcl_jax.solvers.hull import Hull, at_level, upper_hull
from dfcl_jax.sums import exact_cumsum, exact_sum, two_sum
from dfcl_jax.types import Outcomes, pick

# Steps whose totals are taken at a time, outside of XLA.
_AT_ONCE = 2**17

Numbers = Array | np.ndarray
S = TypeVar("S")
T = TypeVar("T")


class PathPoint(NamedTuple):
    """The optimum of the LP relaxation at a budget: whole steps of the path, and a share of one more."""

    steps: Numbers  # [...] int, whole steps taken
    share: Numbers  # [...] in [0, 1], share of the next step that is taken; it splits one person
    lam: Numbers  # [...] multiplier, the slope of that step; 0 if all steps are taken
    spend: Numbers  # [...] cost per person, at most the budget
    value: Numbers  # [...] revenue per person


class BudgetPath(NamedTuple):
    """The solution path of the LP relaxation of the budgeted plan, s steps (DFCL, D1 to D3).

    Step k moves one person along their hull; people with tied slopes move in the order of their rows.
    """

    arms: Numbers  # [m, n] int, each person's hull; the first row is the cheapest plan
    unit: Numbers  # [s] int, the person that step k moves; n if there is no step
    before: Numbers  # [s] int, the person's treatment before the step
    arm: Numbers  # [s] int, the person's treatment after the step
    lam: Numbers  # [s] slope of the step, revenue per cost, decreasing
    spend: Numbers  # [s+1] cost per person after k steps
    value: Numbers  # [s+1] revenue per person after k steps

    def at(self, budgets: ArrayLike) -> PathPoint:
        """Return the optimum at each of `budgets` [...], per person: (D2) solved exactly.

        Raises:
            InputError: a budget that is negative, not finite, or below the cheapest plan (outside `jit`).
        """
        if not is_concrete(budgets):
            # Traced values can index JAX arrays only.
            self = BudgetPath(*(jnp.asarray(column) for column in self))
        xp = self.spend.__array_namespace__()
        if is_concrete(self, budgets):
            check_budgets(budgets, cheapest=float(self.spend[0]))
        budgets = xp.asarray(budgets, dtype=self.spend.dtype)
        steps = xp.clip(xp.searchsorted(self.spend, budgets, side="right") - 1, 0, None)
        last = self.lam.shape[0]
        following = xp.minimum(steps + 1, last)
        room = self.spend[following] - self.spend[steps]
        share = xp.where(room > 0, (budgets - self.spend[steps]) / xp.where(room > 0, room, 1), 0)
        share = xp.clip(share, 0, None)
        lam = xp.concatenate([self.lam, xp.zeros(1, self.lam.dtype)])[steps]
        value = self.value[steps] + share * (self.value[following] - self.value[steps])
        return PathPoint(steps, share, lam, self.spend[steps] + share * room, value)

    def decisions(self, steps: ArrayLike) -> Numbers:
        """Return everybody's treatment after whole `steps` [] or [b] of the path, [n] or [b, n]."""
        if isinstance(self.unit, np.ndarray) and is_concrete(steps):
            return self._walk(np.asarray(steps))
        arms, unit = jnp.asarray(self.arms), jnp.asarray(self.unit)
        decide = jnp.vectorize(lambda k: at_level(arms, levels_after(unit, k, arms.shape[1])), signature="()->(n)")
        return decide(jnp.asarray(steps))

    def _walk(self, steps: np.ndarray) -> np.ndarray:
        # From one budget to the next larger one, only the people who move change, not all n.
        rising = np.argsort(steps, axis=None)
        plans = np.empty((rising.size, self.arms.shape[1]), self.arms.dtype)
        level, plan, done = np.zeros(self.arms.shape[1], np.intp), np.array(self.arms[0]), 0
        for b in rising:
            moved = np.asarray(self.unit[done : (done := int(steps.flat[b]))])
            np.add.at(level, moved, 1)
            plan[moved] = self.arms[level[moved], moved]
            plans[b] = plan
        return plans.reshape(*steps.shape, -1)

    def fractions(self, budget: ArrayLike) -> Numbers:
        """Return z [n, m], the LP's optimal treatment shares at `budget` []: whole except for one split person."""
        point = self.at(budget)
        z = jax.nn.one_hot(self.decisions(point.steps), self.arms.shape[0])
        if not self.unit.shape[0]:
            return z
        k = jnp.minimum(point.steps, self.unit.shape[0] - 1)
        unit, before, arm = (jnp.asarray(column)[k] for column in (self.unit, self.before, self.arm))
        return z.at[unit, before].add(-point.share, mode="drop").at[unit, arm].add(point.share, mode="drop")


def levels_after(unit: Array, steps: Array, n: int) -> Array:
    """Return how far along their hulls `n` people are after whole `steps` [] of a path that moves `unit` [s], [n]."""
    taken = jnp.arange(unit.shape[0]) < steps
    return jnp.zeros(n, jnp.int32).at[unit].add(taken.astype(jnp.int32), mode="drop")


def budget_path(outcomes: Outcomes, *, weights: ArrayLike | None = None) -> BudgetPath:
    """Find the solution path of max_z sum_ij z_ij r_ij s.t. sum_ij z_ij c_ij <= n B, 0 <= z_ij, sum_j z_ij = 1.

    Everybody starts at their cheapest treatment. The steps of all upper hulls are taken in the order of decreasing
    slope (Dantzig's greedy algorithm, exact for the LP relaxation of (D1); between two vertices of the path one person
    is split). Any costs are allowed: no treatment needs to be free, and treatments may be dominated, tied or equal in
    cost.

    Outside `jit` on a CPU, NumPy sorts the steps and totals are float64. Inside `jit` or `vmap`, or on an accelerator,
    XLA sorts them, totals are exact sums rounded to the outcomes' precision, and the path has its largest possible
    length, n (m-1), padded with steps that do nothing (`lam` 0, `unit` n).

    Args:
        outcomes: predicted revenue and cost, [n, m] each.
        weights: number of people each row stands for, [n] (a bootstrap replicate); spend and value are then sums over
            people divided by the sum of weights.

    Raises:
        InputError: surfaces or weights that disagree in shape or are not finite.
    """
    outcomes = check_outcomes(outcomes)
    check_weights(weights, outcomes)
    return path_along(outcomes, _vertices(outcomes), weights)


class Vertices(NamedTuple):
    """What a path needs of `Hull`: of tens of millions of people, their costs are worth their memory."""

    arm: Array  # [m, n] int
    slope: Array  # [m-1, n]


@jax.jit
def _vertices(outcomes: Outcomes) -> Vertices:
    return vertices_of(upper_hull(outcomes))


def vertices_of(hull: Hull) -> Vertices:
    """Return the hulls without the costs at their vertices."""
    return Vertices(hull.arm, hull.slope)


def path_along(outcomes: Outcomes, hull: Vertices, weights: ArrayLike | None) -> BudgetPath:
    """Compute `budget_path` on hulls that are already known."""
    if is_concrete(outcomes, hull, weights) and jax.default_backend() == "cpu":
        arms = np.asarray(hull.arm)
        steps = _steps(arms, np.asarray(hull.slope))
        del hull  # and with it the slopes, if nobody else has them
        return _numpy_path(outcomes, arms, steps, None if weights is None else np.asarray(weights, np.float64))
    return _xla_path(outcomes, hull, None if weights is None else jnp.asarray(weights, outcomes.c.dtype))


class _Steps(NamedTuple):
    """The steps of all hulls, person by person."""

    unit: np.ndarray  # [s] people
    before: np.ndarray  # [s] their treatments
    arm: np.ndarray  # [s] those after the step
    slope: np.ndarray  # [s]


def _numpy_path(outcomes: Outcomes, arms: np.ndarray, steps: _Steps, weights: np.ndarray | None) -> BudgetPath:
    unit, before, arm, slope = steps
    m = outcomes.r.shape[1]
    order = _falling(slope)
    size = float(arms.shape[1] if weights is None else weights.sum())

    def totals(surface: Array) -> np.ndarray:
        flat = np.asarray(surface).ravel()
        first = flat.take(m * np.arange(arms.shape[1]) + arms[0])
        total = np.empty(len(unit) + 1)
        total[0] = first.sum(dtype=np.float64) if weights is None else (weights * first).sum()
        rise = np.empty(len(unit))
        # Where to look is worked out for some steps at a time: of all it would be as much memory as the path.
        for some in (slice(k, k + _AT_ONCE) for k in range(0, len(unit), _AT_ONCE)):
            row = m * unit[some].astype(np.intp)
            after, now = flat.take(row + arm[some]), flat.take(row + before[some])
            np.subtract(after, now, out=rise[some], dtype=np.float64)
            if weights is not None:
                rise[some] *= weights[unit[some]]
        np.take(rise, order, out=total[1:], mode="clip")  # not "raise", which copies
        np.cumsum(total, out=total)
        total /= size
        return total

    spend, value = _in_threads(totals, (outcomes.c, outcomes.r))
    return BudgetPath(arms, unit[order], before[order], arm[order], slope[order], spend, value)


def _steps(arms: np.ndarray, slope: np.ndarray) -> _Steps:
    """List the steps of hulls of vertices `arms` [m, n] and slope [m-1, n]."""
    movers = []
    for level in slope:
        people = np.flatnonzero(level > 0)
        # Nobody takes a step beyond the first that nobody takes.
        if not people.size:
            break
        movers.append(people)
    count = np.zeros(slope.shape[1], np.int32)
    for people in movers:
        count[people] += 1
    first = np.cumsum(count, dtype=np.intp) - count
    total = int(count.sum())
    unit, steepness = np.empty(total, np.int32), np.empty(total, slope.dtype)
    before, arm = np.empty(total, arms.dtype), np.empty(total, arms.dtype)
    for k, people in enumerate(movers):
        place = first[people] + k
        unit[place], steepness[place] = people, slope[k][people]
        before[place], arm[place] = arms[k][people], arms[k + 1][people]
    return _Steps(unit, before, arm, steepness)


def _falling(slopes: np.ndarray) -> np.ndarray:
    """Return the order of decreasing positive `slopes`; equal slopes keep their order."""
    if slopes.dtype != np.float32:
        return np.argsort(-slopes, kind="stable")
    # Positive float32 numbers have the order of their bits. With the position in the low 32 of 64 bits, one integer
    # sort orders by both.
    keys = (~slopes.view(np.uint32)).astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= np.arange(slopes.size, dtype=np.uint64)
    half = slopes.size // 2
    if half:
        keys.partition(half)
    _in_threads(np.ndarray.sort, (keys[:half], keys[half:]))
    keys &= np.uint64(2**32 - 1)
    return keys.view(np.intp)


def _in_threads(function: Callable[[T], S], items: Sequence[T]) -> list[S]:
    """Apply a function to each item side by side; NumPy lets other threads run while it computes."""
    with ThreadPoolExecutor(len(items)) as threads:
        return list(threads.map(function, items))


@jax.jit
def _xla_path(outcomes: Outcomes, hull: Vertices, weights: Array | None) -> BudgetPath:
    m, n = hull.arm.shape
    slope = hull.slope.T.ravel()
    order = jnp.argsort(-slope, stable=True)
    unit, step = jnp.divmod(order, m - 1)
    taken = slope[order] > 0
    before, arm = hull.arm[step, unit], hull.arm[jnp.where(taken, step + 1, step), unit]
    size = jnp.asarray(n, slope.dtype) if weights is None else weights.sum()
    totals = []
    for surface in (outcomes.c, outcomes.r):
        start, rise = pick(surface, hull.arm[0]), two_sum(surface[unit, arm], -surface[unit, before])
        rise = jax.tree.map(lambda part: jnp.where(taken, part, 0), rise)
        if weights is not None:
            start, rise = start * weights, jax.tree.map(lambda part: part * weights[unit], rise)
        steps = jax.tree.map(lambda one, more: jnp.append(one, more), exact_sum(start), rise)
        totals.append(exact_cumsum(steps).hi / size)
    return BudgetPath(hull.arm, jnp.where(taken, unit, n), before, arm, slope[order], *totals)
