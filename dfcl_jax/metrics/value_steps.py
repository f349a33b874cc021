"""A policy at every budget in steps, each with what scores say of it: the whole value curve at once."""

from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.metrics.checks import check_settling
from dfcl_jax.solvers import BudgetPath, Rule, budget_path
from dfcl_jax.sums import prefix_sums
from dfcl_jax.types import Outcomes, Scores, pick

Normalise = Literal["sample", "matched"]
Spend = Literal["estimated", "predicted"]

# Compiled code serves every path of as many steps; paths of one trial differ, so their lengths are rounded up to one of
# these parts of the longest path that is possible.
_SHARES = (4, 2, 1)
# Columns of a path, one for each step.
_STEPS = ("unit", "before", "arm", "lam")


class PolicyValue(NamedTuple):
    """What a policy brings at each budget, per person."""

    revenue: Array  # [b]
    cost: Array  # [b] NaN, as is revenue, where nothing meets the budget
    lam: Array  # [b] multiplier of the decisions
    dearer: Array  # [b] share of the people tied at lam who get the dearer of their two treatments
    mixed: Array  # [b] share of people moved at random to the cheapest treatment to meet the budget
    rule: Rule  # leaves [b], how `solvers.decide` makes these decisions


class Curve(NamedTuple):
    """A value curve at its v vertices, per person; between them people who are tied are mixed."""

    lam: Array  # [v] multiplier below which decisions go past the vertex
    price: Array  # [v] a multiplier between those of the vertex's two sides: `solvers.hard` there makes its decisions
    predicted: Array  # [v] predicted spend
    cost: Array  # [v] estimated spend
    revenue: Array  # [v] estimated revenue
    weight: Array  # [v] share of people who had the treatment decided for them, weighted to stand for everybody
    vertex: Array  # [v] bool; where not, the people tied at one multiplier are not through yet


class Settled(NamedTuple):
    """Per person decided for, [...]."""

    predicted: Array  # cost, by what decides
    cost: Array  # cost score
    revenue: Array  # revenue score
    weight: Array  # weight of the observation


class Treatment(NamedTuple):
    """One treatment for everybody, per person."""

    arm: Array  # [] int
    revenue: Array  # []
    cost: Array  # []


class ValueSteps(NamedTuple):
    """The steps of a policy from the cheapest plan to the richest, and what scores say of each; s steps."""

    scores: Scores  # [n, m] each, what settles
    start: Settled  # [n] each, of everybody's first treatment
    rise: Settled  # [s] each, of what the step gives less what it takes
    unit: Array  # [s] int, the person it moves
    lam: Array  # [s] its slope, falling; 0 where there is no step
    end: Array  # [s] bool, whether the next step's slope is another
    tie: Array  # [s] int, steps before the first of the same slope
    length: Array  # [] int, steps there are

    @partial(jax.jit, static_argnames="normalise")
    def curve(self, *, weights: ArrayLike | None = None, normalise: Normalise = "sample") -> Curve:
        """The value curve, s + 1 points.

        Args:
            weights: how many people each row stands for, [n]; the policy stays as it is.
            normalise: see `policy_value`.
        """
        totals, people = self._totals(Settled._fields, weights)
        size = _size(totals["weight"] if normalise == "matched" else people)
        return Curve(
            lam=jnp.append(self.lam, 0),
            price=self.prices(),
            predicted=totals["predicted"] / people,
            cost=totals["cost"] / size,
            revenue=totals["revenue"] / size,
            weight=totals["weight"] / people,
            vertex=_with_start(self.end),
        )

    @partial(jax.jit, static_argnames=("normalise", "spend"))
    def at(
        self,
        budgets: ArrayLike,
        *,
        weights: ArrayLike | None = None,
        normalise: Normalise = "sample",
        spend: Spend = "estimated",
    ) -> PolicyValue:
        """The value at each of `budgets` [b]: `eom`, for as many `weights` [n] as one likes to vmap over."""
        budgets = jnp.asarray(budgets, self.lam.dtype)
        names = ["revenue", "cost"] + ["weight"] * (normalise == "matched") + ["predicted"] * (spend == "predicted")
        totals, people = self._totals(names, weights)
        size = _size(totals["weight"] if normalise == "matched" else people)
        revenue, cost = totals["revenue"] / size, totals["cost"] / size
        meter = totals["predicted"] / people if spend == "predicted" else cost

        vertices = jnp.where(_with_start(self.end), meter, -jnp.inf)
        over = _first_above(vertices, budgets)  # s + 1 where none is
        paid = over > self.length
        high = jnp.where(paid, self.length, over)
        low = jnp.where(paid | (high == 0), high, self.tie[jnp.maximum(high - 1, 0)])
        share = _mixing_share(budgets, meter[low], meter[high])
        lam = jnp.where(paid, 0, self.lam[jnp.maximum(high - 1, 0)])
        prices = self.prices()
        least = self._cheapest_treatment(weights, normalise)
        cheapest = jnp.broadcast_to(least.arm, share.shape)
        result = PolicyValue(
            revenue=revenue[low] + share * (revenue[high] - revenue[low]),
            cost=cost[low] + share * (cost[high] - cost[low]),
            lam=lam,
            dearer=share,
            mixed=jnp.zeros_like(share),
            rule=Rule(prices[low], prices[high], share, cheapest),
        )
        fits = over > 0
        if spend == "predicted":
            none = jax.tree.map(lambda part: jnp.full(part.shape, jnp.nan), result._replace(rule=None))
            none = none._replace(rule=result.rule)
            return jax.tree.map(lambda part, other: jnp.where(fits, part, other), result, none)
        share = _mixing_share(budgets, least.cost, cost[0])
        met = least.cost <= budgets
        everybody = jnp.full_like(share, jnp.inf)
        mixed = PolicyValue(
            revenue=jnp.where(met, (1 - share) * least.revenue + share * revenue[0], jnp.nan),
            cost=jnp.where(met, (1 - share) * least.cost + share * cost[0], jnp.nan),
            lam=lam,
            dearer=jnp.zeros_like(share),
            mixed=jnp.where(met, 1 - share, jnp.nan),
            rule=Rule(everybody, jnp.broadcast_to(prices[0], share.shape), jnp.where(met, share, 0), cheapest),
        )
        return jax.tree.map(lambda one, other: jnp.where(fits, one, other), result, mixed)

    def prices(self) -> Array:
        """Multipliers that lie between the slopes on the two sides of each point of the path, [s + 1].

        Twice the steepest slope before the first step, 0 after the last: `solvers.hard` at the price of a vertex makes
        the vertex's decisions, and no rounding can tip them.
        """
        above = jnp.concatenate([3 * self.lam[:1], self.lam]) if self.lam.size else jnp.zeros(1, self.lam.dtype)
        below = jnp.append(self.lam, 0)
        return jnp.where(jnp.arange(below.shape[0]) < self.length, (above + below) / 2, 0)

    def _totals(self, names, weights: ArrayLike | None) -> tuple[dict[str, Array], Array]:
        """Sums over people after each step, [s + 1], by name, and the number of people."""
        n = self.start.cost.shape[0]
        w = None if weights is None else jnp.asarray(weights, self.lam.dtype)
        start = jnp.stack([getattr(self.start, name) for name in names])
        rise = jnp.stack([getattr(self.rise, name) for name in names])
        first = start.sum(axis=1) if w is None else start @ w
        steps = prefix_sums(rise if w is None else rise * w[self.unit][None, :])
        sums = jnp.concatenate([first[:, None], first[:, None] + steps], axis=1)
        return dict(zip(names, sums, strict=True)), jnp.asarray(n, self.lam.dtype) if w is None else w.sum()

    def _cheapest_treatment(self, weights: ArrayLike | None, normalise: Normalise) -> "Treatment":
        """The one treatment for everybody whose estimated cost is least."""
        w = jnp.ones_like(self.start.cost) if weights is None else jnp.asarray(weights, self.lam.dtype)
        revenue, cost, weight = (w @ surface for surface in self.scores)
        size = _size(weight if normalise == "matched" else w.sum())
        least = jnp.argmin(cost / size)
        return Treatment(least, (revenue / size)[least], (cost / size)[least])


def value_steps(outcomes: Outcomes, scores: Scores) -> ValueSteps:
    """The budget path of `outcomes`, each step with what `scores` say of it.

    What a bootstrap needs: a replicate weighs people anew, and the steps, which predictions alone decide, stay.

    Args:
        outcomes: what decides, [n, m] each.
        scores: what settles, [n, m] each.

    Raises:
        InputError: surfaces that disagree in shape or hold NaN, or a score with a negative weight (outside `jit`).
    """
    outcomes, scores = check_settling(outcomes, scores)
    path = budget_path(outcomes)
    if isinstance(path.lam, np.ndarray):
        path = _padded(path, outcomes)
    # Only what has the padded length: a program would be compiled for each length of the others.
    return _gathered(outcomes, scores, path.arms[0], *(getattr(path, name) for name in _STEPS))


def _padded(path: BudgetPath, outcomes: Outcomes) -> BudgetPath:
    n, m = outcomes.r.shape
    most = n * (m - 1)
    length = next(size for share in _SHARES if (size := -(-most // share)) >= len(path.lam))
    return path._replace(**{name: np.pad(getattr(path, name), (0, length - len(path.lam))) for name in _STEPS})


@jax.jit
def _gathered(
    outcomes: Outcomes, scores: Scores, first: Array, unit: Array, before: Array, arm: Array, lam: Array
) -> ValueSteps:
    lam = jnp.asarray(lam, outcomes.c.dtype)
    real = lam > 0
    unit = jnp.where(real, unit, 0)
    surfaces = Settled(outcomes.c, scores.c, scores.r, scores.w)
    start = Settled(*(pick(surface, first) for surface in surfaces))
    rise = Settled(*(jnp.where(real, s[unit, arm] - s[unit, before], 0) for s in surfaces))
    end = real & (lam != jnp.append(lam[1:], 0))
    places = jnp.arange(lam.shape[0])
    tie = jax.lax.cummax(jnp.where(_with_start(end[:-1]), places, 0))
    return ValueSteps(scores, start, rise, unit, lam, end, tie, real.sum())


def _first_above(values: Array, levels: Array) -> Array:
    """The first place of `values` [v] above each of `levels` [b], [b]; v where none is."""
    v, width = values.shape[0], 64
    blocks = jnp.pad(values, (0, -v % width), constant_values=-jnp.inf).reshape(-1, width)
    number = blocks.shape[0]
    over = blocks.max(axis=1)[None, :] > levels[:, None]
    block = jnp.where(over, jnp.arange(number)[None, :], number).min(axis=1)
    inside = jnp.argmax(blocks[jnp.minimum(block, number - 1)] > levels[:, None], axis=1)
    return jnp.where(block < number, block * width + inside, v)


def _with_start(end: Array) -> Array:
    """Whether a vertex lies between two slopes, from whether a step is the last of its slope: the start does."""
    return jnp.concatenate([jnp.ones(1, bool), end])


def _mixing_share(budget: Array, low: Array, high: Array) -> Array:
    """The share of the dearer of two policies at which their mixture costs the budget."""
    return jnp.where(high > low, jnp.clip((budget - low) / jnp.where(high > low, high - low, 1), 0, 1), 0)


def _size(people: Array) -> Array:
    return jnp.where(people > 0, people, 1)
