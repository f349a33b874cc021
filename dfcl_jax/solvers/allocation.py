"""The budgeted plan: one treatment per person, with an upper bound on the revenue of any plan."""

from functools import partial, reduce
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.errors import is_concrete, refuse
from dfcl_jax.solvers.checks import check_budget, check_budgets, check_outcomes, check_weights
from dfcl_jax.solvers.hull import Hull, at_level, level_above, upper_hull
from dfcl_jax.solvers.multiplier import hull_multiplier, least, over_budget
from dfcl_jax.solvers.path import levels_after, path_along, vertices_of
from dfcl_jax.sums import Double, exact_sum, minus, two_sum
from dfcl_jax.types import Allocation, Outcomes, pick


def allocate(
    outcomes: Outcomes,
    budget: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    method: Literal["bisect", "path"] = "bisect",
    top_ups: int = 64,
) -> Allocation:
    """Decide a treatment for each person so that predicted revenue is high and predicted spend within `budget`.

    max_z sum_ij z_ij r_ij  s.t.  sum_ij z_ij c_ij <= n B  (DFCL, D1), one treatment each.

    People move along their upper hulls in the order of decreasing slope (ties in row order) until a step costs more
    than what is left. Then the steepest steps that still fit are taken one by one. The plan never spends more than the
    budget, in the outcomes' precision: totals are compared without rounding (with weights, only the products are
    rounded). With lam the slope of the first step that did not fit,

        value <= optimum <= bound = lam B + mean_i max_j (r_ij - lam c_ij)  (D2),

    and `plan.gap` = bound - value is at most the revenue of that one step, per person. A budget above the largest
    useful spend is allowed: `lam` is 0 and everybody gets their best treatment. A larger budget never brings less (as
    long as `top_ups` suffices).

    Args:
        outcomes: predicted revenue and cost, [n, m] each.
        budget: cost per person, [].
        weights: number of people each row stands for, [n]; "per person" then divides by the sum of weights.
        method: "bisect" searches the multiplier without a sort; "path" reads it from `budget_path`. Both give the same
            plan.
        top_ups: number of single steps tried after the first one that does not fit.

    Returns:
        The plan. For several budgets or weights use `jax.vmap`, which shares hulls and sort.

    Raises:
        InputError: surfaces or weights that disagree in shape or are not finite; a budget that is negative, not finite,
            or below the cheapest plan by more than 1e-6 of it (a smaller shortfall gives that plan). Inside `jit` and
            `vmap` values are unknown: only shapes are checked, and a budget below the cheapest plan gives that plan.
    """
    if method not in ("bisect", "path"):
        refuse("method", found=repr(method), expected="'bisect' or 'path'")
    outcomes = check_outcomes(outcomes)
    check_weights(weights, outcomes)
    weights = None if weights is None else jnp.asarray(weights, outcomes.c.dtype)
    budget = check_budget(budget, outcomes.c.dtype)
    hull = _upper_hull(outcomes)
    if method == "bisect":
        lam, level = _bisected(hull, budget, weights)
    else:
        path = path_along(outcomes, vertices_of(hull), weights)
        lam, level = _along_path(hull, path.unit, path.lam, path.at(budget).steps, budget, weights)
    plan, cheapest = _settled(outcomes, hull, lam, level, budget, weights, top_ups)
    if is_concrete(budget, cheapest):
        check_budgets(budget, cheapest=float(cheapest))
    return plan


_upper_hull = jax.jit(upper_hull)


@jax.jit
def _bisected(hull: Hull, budget: Array, weights: Array | None) -> tuple[Array, Array]:
    """Return the multiplier, and how far people get along their hulls before a step does not fit."""
    lam = hull_multiplier(hull, budget, weights)
    strict, tied = level_above(hull, lam), (hull.slope >= lam).sum(axis=0, dtype=jnp.int32)
    tied = jnp.where(lam > 0, tied, strict)
    (m, n), first = hull.cost.shape, jnp.arange(strict.shape[0]) * hull.slope.shape[0]

    def level(k: Array) -> Array:
        # Tied steps are taken person by person, up to m - 1 each, in the order of the path.
        return strict + jnp.clip(k - first, 0, tied - strict)

    def too_dear(k: Array) -> Array:
        return over_budget(at_level(hull.cost, level(k)), budget, weights).hi > 0

    # All tied steps together do not fit, so a single one needs no search.
    alone = (tied - strict).sum() <= 1
    return lam, level(least(too_dear, jnp.array(0), jnp.where(alone, 1, n * (m - 1))) - 1)


@jax.jit
def _along_path(
    hull: Hull, unit: Array, lams: Array, steps: Array, budget: Array, weights: Array | None
) -> tuple[Array, Array]:
    """Return the same, starting from the number of path steps that the budget covers."""

    def level(k: Array) -> Array:
        return levels_after(unit, k, hull.slope.shape[1])

    def too_dear(k: Array) -> Array:
        return over_budget(at_level(hull.cost, level(k)), budget, weights).hi > 0

    # The path's totals are rounded, but the budget must be kept exactly.
    lams = jnp.append(jnp.asarray(lams), 0)
    steps = jax.lax.while_loop(lambda k: (k > 0) & too_dear(k), lambda k: k - 1, jnp.asarray(steps))
    steps = jax.lax.while_loop(lambda k: (lams[k] > 0) & ~too_dear(k + 1), lambda k: k + 1, steps)
    return lams[steps].astype(budget.dtype), level(steps)


@partial(jax.jit, static_argnames="top_ups")
def _settled(
    outcomes: Outcomes, hull: Hull, lam: Array, level: Array, budget: Array, weights: Array | None, top_ups: int
) -> tuple[Allocation, Array]:
    """Return the plan that starts at the hull vertices `level` [n], and the spend of the cheapest plan."""
    over = over_budget(at_level(hull.cost, level), budget, weights)
    level = _top_up(hull, level, Double(-over.hi, -over.lo), weights, top_ups)
    size = jnp.asarray(level.shape[0], lam.dtype) if weights is None else exact_sum(weights).hi

    def mean(x: Array) -> Array:
        return exact_sum(x if weights is None else weights * x).hi / size

    arm, cost = at_level(hull.arm, level).astype(jnp.int32), at_level(hull.cost, level)
    # Computed once, not again in each of the sums.
    arm, cost, revenue = jax.lax.optimization_barrier((arm, cost, pick(outcomes.r, arm)))
    spend, value, cheapest = mean(cost), mean(revenue), mean(hull.cost[0])
    # bound - value as a sum of non-negative terms: what each person forgoes at lam, and the budget left at price lam.
    forgone = reduce(jnp.maximum, ((outcomes.r - revenue[:, None]) - lam * (outcomes.c - cost[:, None])).T)
    over = over_budget(cost, budget, weights).hi
    gap = mean(forgone) + lam * jnp.maximum(-over, 0) / size
    # The total is within the budget, but rounding may lift the mean above it.
    spend = jnp.where(over <= 0, jnp.minimum(spend, budget), spend)
    return Allocation(arm, lam, spend, value, value + gap), cheapest


class _TopUp(NamedTuple):
    level: Array  # [n] steps that people have taken along their hulls
    slope: Array  # [n] slope of their next step; 0 if there is none or it did not fit
    cost: Array  # [n] cost of their next step
    room: Double  # [] what is left of the budget
    best: Array  # [] person with the steepest next step that fits; n if nobody
    tried: Array  # [] number of steps tried


def _top_up(hull: Hull, level: Array, room: Double, weights: Array | None, tries: int) -> Array:
    """Take the steepest next step that costs at most `room`, repeatedly, up to `tries` times."""
    n = level.shape[0]
    weights = jnp.ones_like(hull.cost[0]) if weights is None else weights

    def entry(column: Array, k: Array, i: Array) -> Array:
        return column.at[k, i].get(mode="fill", fill_value=0)

    def steepest(slope: Array, cost: Array, room: Double) -> Array:
        fitting = jnp.where(cost <= room.hi, slope, 0)
        top = fitting.max()
        return jnp.where((fitting == top) & (top > 0), jnp.arange(n), n).min()

    def attempt(now: _TopUp) -> _TopUp:
        i, k = now.best, now.level[now.best]
        exact_cost = jax.tree.map(lambda part: weights[i] * part, two_sum(hull.cost[k + 1, i], -hull.cost[k, i]))
        left = minus(now.room, exact_cost)
        fits = left.hi >= 0
        room = jax.tree.map(lambda new, old: jnp.where(fits, new, old), left, now.room)
        k = k + fits
        slope = now.slope.at[i].set(jnp.where(fits, entry(hull.slope, k, i), 0))
        cost = now.cost.at[i].set(weights[i] * (entry(hull.cost, k + 1, i) - hull.cost[k, i]))
        return _TopUp(now.level.at[i].set(k), slope, cost, room, steepest(slope, cost, room), now.tried + 1)

    # A row of weight 0 stands for nobody, so it is not moved. Beyond the end of a hull the slope is 0.
    slope = jnp.where(weights > 0, at_level(hull.slope, level), 0)
    cost = weights * (at_level(hull.cost, level + 1) - at_level(hull.cost, level))
    start = _TopUp(level, slope, cost, room, steepest(slope, cost, room), jnp.array(0))
    return jax.lax.while_loop(lambda now: (now.best < n) & (now.tried < tries), attempt, start).level
