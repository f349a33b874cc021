"""The plan under several limits at once: a budget, budgets of segments, capacities of treatments."""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from scipy.optimize import Bounds, linprog, milp, minimize
from scipy.sparse import csr_array, eye_array, hstack, kron

from dfcl_jax.errors import is_concrete, refuse
from dfcl_jax.solvers.checks import check_outcomes
from dfcl_jax.solvers.limits import Limits, by_limit, checked_limits
from dfcl_jax.types import Outcomes

_TEMPERATURES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)  # in units of the mean spread of a person's revenue
_FEW = 2000  # number of people that one linear programme decides
_NODES = 100  # node limit of one integer search


class ConstrainedAllocation(NamedTuple):
    """One treatment for each person under a budget, budgets of segments and capacities, per person."""

    arm: Array  # [n] int, the treatment decided
    lam: Array  # [] multiplier of the budget: revenue that one more unit of it would bring
    nu: Array  # [g] multipliers of the segments' budgets, in the same unit; [0] without segments
    mu: Array  # [m] multipliers of the capacities: revenue that one more place would bring; 0 if unlimited
    spend: Array  # [] predicted cost per person, at most the budget
    value: Array  # [] predicted revenue per person
    bound: Array  # [] upper bound on the predicted revenue per person of any plan within all limits

    @property
    def gap(self) -> Array:
        """Return bound - value, []: the most that another plan could improve, per person."""
        return self.bound - self.value


class _Problem(NamedTuple):
    """Revenue and cost of each person above their minimum, in units of their mean spread."""

    r: np.ndarray  # [n, m]
    c: np.ndarray  # [n, m]
    segment: np.ndarray  # [n] int
    limit: np.ndarray  # [1 + g + m] totals of all people: budget, segment budgets, capacities; inf if unlimited


def allocate_within(
    outcomes: Outcomes,
    budget: ArrayLike,
    *,
    capacity: ArrayLike | None = None,
    segment: ArrayLike | None = None,
    segment_budgets: ArrayLike | None = None,
) -> ConstrainedAllocation:
    """Decide a treatment for each person within a budget, budgets of segments and capacities of treatments.

    max_z mean_i r_{i,z_i}  s.t.  sum_i c_{i,z_i} <= n B,  sum_{i in g} c_{i,z_i} <= n_g b_g,  #{i: z_i = j} <= K_j

    is (DFCL, D1) with more limits. For any multipliers lam, nu, mu >= 0, no plan within the limits brings more than

        G = lam B + sum_g nu_g b_g n_g / n + sum_j mu_j K_j / n + mean_i max_j (r_ij - (lam + nu_{g(i)}) c_ij - mu_j),

    as in (D2). First, G is minimised with a softened maximum, at decreasing temperatures. Then linear programmes decide
    again for the people nearest to indifference, while all others keep their choice. Few people are then still tied (a
    vertex of the programme splits at most as many people as there are limits). An integer search (branch and bound)
    decides for these and for those close to them. All computation is in float64 and outside `jit` and `vmap`. The same
    inputs give the same plan.

    Guaranteed: the plan keeps to every limit, as totals summed without rounding and divided in float64 (a budget below
    the cheapest plan by no more than rounding gives that plan); `bound` is G at the multipliers returned, so
    value <= optimum <= bound up to the rounding of a float64 mean. Not guaranteed: a small `gap`, or that a plan is
    found when hardly any keeps to the limits. Measured gap with 16 limits, in units of the largest step max_ij
    (r_ij - r_ik) / n: below 0.1 from 300 people on; up to 3.3 if all money is in small whole numbers.

    Args:
        outcomes: predicted revenue and cost, [n, m] each.
        budget: B, cost per person, [].
        capacity: K, the largest number of people for each treatment, [m]; inf, or None for all, if unlimited.
        segment: the segment of each person, [n] int, 0..g-1.
        segment_budgets: b, cost per person *of the segment*, [g], in addition to the budget; inf if unlimited.

    Raises:
        InputError: surfaces that disagree in shape or are not finite; a budget, overall or of a segment, that is
            negative, NaN, or below the cheapest plan; an infinite overall budget; capacities that are not [m], are
            negative or NaN, or take fewer than n people; labels that are not [n] int in 0..g-1; labels without budgets
            or budgets without labels; limits that no plan meets together, or for which none was found.
    """
    if not is_concrete(outcomes, budget, capacity, segment, segment_budgets):
        refuse("allocate_within", found="traced values", expected="numbers: it runs outside `jit` and `vmap` only")
    check_outcomes(outcomes)
    r, c = (np.asarray(surface, np.float64) for surface in outcomes)
    limits = checked_limits(c, budget, capacity, segment, segment_budgets)
    least, cheapest = r.min(axis=1, keepdims=True), c.min(axis=1, keepdims=True)
    r_unit, c_unit = ((x.max(axis=1) - x.min(axis=1)).mean() or 1.0 for x in (r, c))
    money = np.append(len(r) * limits.budget, np.maximum(limits.size, 1) * limits.segment_budgets)
    money = np.maximum(money - by_limit(cheapest[:, 0], limits), 0) / c_unit
    limit = np.concatenate([money, limits.capacity])
    problem = _Problem((r - least) / r_unit, (c - cheapest) / c_unit, limits.segment, limit)

    u, tie_free = _multipliers(problem)
    arm = _settled(problem, tie_free, u, c, limits)
    value, spend = (math.fsum(_at(surface, arm)) / len(r) for surface in (r, c))
    bound = max(float(least.mean()) + r_unit * _dual(problem, u), value)
    lam, nu, mu = np.split(u, [1, 1 + limits.size.size])
    slope = r_unit / c_unit
    money_like = partial(jnp.asarray, dtype=jnp.result_type(outcomes.r, outcomes.c, jnp.float32))
    return ConstrainedAllocation(
        jnp.asarray(arm, jnp.int32),
        *map(money_like, (slope * lam[0], slope * (nu if segment is not None else nu[:0]), r_unit * mu)),
        *map(money_like, (min(spend, limits.budget), value, bound)),
    )


def _at(surface: np.ndarray, arm: np.ndarray) -> np.ndarray:
    return np.take_along_axis(surface, arm[:, None], axis=1)[:, 0]


def _priced(problem: _Problem, u: Any) -> Any:
    """Return r_ij - (lam + nu_g(i)) c_ij - mu_j, [n, m]."""
    lam, nu, mu = u[0], u[1 : -problem.r.shape[1]], u[-problem.r.shape[1] :]
    return problem.r - (lam + nu[problem.segment])[:, None] * problem.c - mu[None]


def _dual(problem: _Problem, u: np.ndarray) -> float:
    """Return G with the hard maximum."""
    used = u > 0
    return float(u[used] @ problem.limit[used] / len(problem.r) + _priced(problem, u).max(axis=1).mean())


def _multipliers(problem: _Problem) -> tuple[np.ndarray, _Problem]:
    """Return multipliers [1 + g + m] that minimise the dual, and the tie-free problem that they were found for."""
    n, m = problem.r.shape
    u = _ascended(problem) if n > _FEW else np.zeros_like(problem.limit)
    # For Gumbel noise Z, E max_j (a_j + T Z_j) = T logsumexp(a / T). The noise keeps the optimum of the softened dual
    # but makes choices whole, and tied people are shared out among treatments as by the softmax.
    noise = np.random.default_rng(0).gumbel(size=(n, m))
    tie_free = problem._replace(r=problem.r + _TEMPERATURES[-1] * noise)
    least, radius = _dual(tie_free, u), 10.0 if n <= _FEW else 1e-3
    for _ in range(10):
        if _dual(problem, u) < -1e-9:  # any plan brings at least 0
            refuse("limits", found="no plan that keeps to all of them together", expected="more money or places")
        found, model = _relaxed(tie_free, u, radius)
        bound = _dual(tie_free, found)
        inside = (abs(found - u) < 0.999 * radius * (1 + u)).all()
        radius *= 10 if bound < least else 0.1
        least, u = (bound, found) if bound < least else (least, u)
        if inside and least - model < 1e-8:
            break
    return u, tie_free


def _ascended(problem: _Problem) -> np.ndarray:
    """Return multipliers that minimise the softened dual, at decreasing temperatures."""
    held = np.isfinite(problem.limit)
    share = np.bincount(problem.segment, minlength=held.size - 1 - problem.r.shape[1]) / len(problem.r)
    # The curvature in a segment's multiplier is proportional to its share of people; these units even it out.
    unit = np.ones_like(problem.limit)
    unit[1 : 1 + share.size] = 1 / np.sqrt(np.maximum(share, 1 / len(problem.r)))
    per_person = np.where(held, problem.limit, 0) / len(problem.r)
    v = np.zeros_like(problem.limit)
    with jax.enable_x64(True):
        on_device = jax.tree.map(jnp.asarray, problem)
        for temperature in _TEMPERATURES:
            v = minimize(
                lambda v, t: tuple(np.asarray(x) for x in _softened(v, unit, per_person, on_device, t)),
                v,
                args=(temperature,),
                jac=True,
                method="L-BFGS-B",
                bounds=[(0, None if free else 0) for free in held],
                options={"maxiter": 100, "ftol": 1e-12, "gtol": 1e-7, "maxcor": 20},
            ).x
    return v * unit


@jax.jit
@jax.value_and_grad
def _softened(v: Array, unit: Array, per_person: Array, problem: _Problem, temperature: Array) -> Array:
    score = _priced(problem, v * unit)
    return (v * unit) @ per_person + (temperature * jax.nn.logsumexp(score / temperature, axis=1)).mean()


def _undecided(problem: _Problem, u: np.ndarray, few: int) -> tuple[np.ndarray, np.ndarray]:
    """Return everybody's choice [n], and about `few` people nearest to another, from every segment and treatment."""
    score = _priced(problem, u)
    (n, m), people = score.shape, np.arange(len(score))
    arm = score.argmax(axis=1)
    if few >= n:
        return arm, people
    behind = score[people, arm][:, None] - score
    behind[people, arm] = np.inf
    behind[people, arm] = margin = behind.min(axis=1)
    order = np.lexsort((margin, problem.segment))
    sizes = np.bincount(problem.segment)
    segments = np.split(order, np.cumsum(sizes)[:-1])
    near = [one[: -(-few // (2 * sizes.size))] for one in segments]
    near += [np.argpartition(column, few // (2 * m))[: few // (2 * m) + 1] for column in behind.T]
    return arm, np.unique(np.concatenate(near))


def _uses(problem: _Problem, arm: np.ndarray, people: np.ndarray) -> tuple[csr_array, np.ndarray, csr_array]:
    """Return what choices of `people` use of finite limits, what others leave, and rows for one choice per person."""
    k, m = len(people), problem.r.shape[1]
    g = problem.limit.size - 1 - m
    segment, cost = problem.segment[people].repeat(m), problem.c[people].ravel()
    row = np.concatenate([np.zeros(k * m, int), 1 + segment, 1 + g + np.tile(np.arange(m), k)])
    entries = np.concatenate([cost, cost, np.ones(k * m)])
    uses = csr_array((entries, (row, np.tile(np.arange(k * m), 3))), shape=(1 + g + m, k * m))
    cost, count = _at(problem.c, arm), np.ones(len(arm))
    cost[people] = count[people] = 0
    others = [[cost.sum()], np.bincount(problem.segment, cost, g), np.bincount(arm, count, m)]
    held = np.isfinite(problem.limit)
    return uses[held], (problem.limit - np.concatenate(others))[held], csr_array(kron(eye_array(k), np.ones((1, m))))


def _relaxed(problem: _Problem, u: np.ndarray, radius: float) -> tuple[np.ndarray, float]:
    """Minimise G within `radius` of `u` if only the undecided change their choice; return where, and the minimum."""
    arm, people = _undecided(problem, u, _FEW)
    uses, left, one_each = _uses(problem, arm, people)
    held = np.isfinite(problem.limit)
    k = np.count_nonzero(held)
    # A limit may be exceeded at the highest price or given up at the lowest; this keeps multipliers between the two.
    price = u[held] + radius * np.outer((1, -1), 1 + u[held])
    price = np.maximum(price, 0)
    solution = linprog(
        -np.concatenate([problem.r[people].ravel(), -price[0], price[1]]),
        A_ub=hstack([uses, -eye_array(k), eye_array(k)]),
        b_ub=left,
        A_eq=hstack([one_each, csr_array((len(people), 2 * k))]),
        b_eq=np.ones(len(people)),
    )
    if solution.status != 0:
        return u, -np.inf
    found = np.zeros_like(u)
    found[held] = np.maximum(-solution.ineqlin.marginals, 0)
    kept = _at(problem.r, arm)
    kept[people] = 0
    return found, float(kept.sum() - solution.fun) / len(arm)


def _settled(problem: _Problem, tie_free: _Problem, u: np.ndarray, c: np.ndarray, limits: Limits) -> np.ndarray:
    """Return a plan [n] within all limits: the choices at `u`, with an integer search for some undecided people."""
    n, few = len(c), 16 + 4 * int(np.isfinite(problem.limit).sum())
    largest = np.append(limits.budget, limits.segment_budgets)
    people_in = np.append(n, np.maximum(limits.size, 1))
    while True:
        arm, people = _undecided(tie_free, u, few)
        uses, left, one_each = _uses(problem, arm, people)
        money = np.isfinite(problem.limit)[: largest.size].sum()
        # HiGHS allows an error of 1e-6 per row. If that overspends, use finer units for the rows, then lower the
        # limits.
        for fineness, slack in ((1.0, 0.0), (1e4, 0.0), (1e4, 2e-6)):
            unit = np.where(np.arange(left.size) < money, fineness, 1.0)
            most = unit * left - np.where(np.arange(left.size) < money, slack, 0.0)
            found = milp(
                -problem.r[people].ravel(),
                integrality=np.ones(people.size * c.shape[1]),
                bounds=Bounds(0, 1),
                constraints=[(uses * unit[:, None], -np.inf, most), (one_each, 1, 1)],
                options={"mip_rel_gap": 1e-3, "node_limit": _NODES},
            )
            if found.x is None:
                break
            arm[people] = found.x.reshape(-1, c.shape[1]).argmax(axis=1)
            spend = by_limit(_at(c, arm), limits) / people_in
            if (spend <= largest).all() and (np.bincount(arm, minlength=c.shape[1]) <= limits.capacity).all():
                return arm
        if few >= min(n, 32 * _FEW):
            refuse("limits", found="no plan that keeps to all of them together", expected="more money or places")
        few *= 4
