"""Derivatives of the budgeted optimum (envelope theorem) and of a soft multiplier (implicit function theorem)."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.errors import is_concrete, refuse
from dfcl_jax.solvers.checks import check_budget, check_budgets, check_outcomes
from dfcl_jax.solvers.decision import soft
from dfcl_jax.solvers.hull import Hull, at_level, level_above, upper_hull
from dfcl_jax.solvers.multiplier import hull_multiplier, least_multiplier, over_budget
from dfcl_jax.sums import exact_sum
from dfcl_jax.types import Outcomes


def optimal_value(outcomes: Outcomes, budget: ArrayLike) -> Array:
    """Return V(B) = min_lam G(lam), the LP's optimal revenue per person, with derivatives (DFCL, D1 and D2).

    By the envelope theorem, with z the LP's optimal treatment shares (whole except for tied people),

        dV/dr_ij = z_ij / n,    dV/dc_ij = -lam z_ij / n,    dV/dB = lam.

    At a kink of V (the budget ends at a vertex of the path) lam is the right-hand derivative. All people tied at lam
    take the same share of their steps, so that they use what is left of the budget.

    Args:
        outcomes: revenue and cost, [n, m] each.
        budget: cost per person, [].

    Raises:
        InputError: as `allocate` (outside `jit`).
    """
    outcomes = check_outcomes(outcomes)
    budget, cheapest = check_budget(budget, outcomes.c.dtype), jnp.min(outcomes.c, axis=1).mean()
    if is_concrete(budget, cheapest):
        check_budgets(budget, cheapest=float(cheapest))
    return _optimal_value(outcomes, budget)


@jax.custom_vjp
def _optimal_value(outcomes: Outcomes, budget: Array) -> Array:
    return _optimal_value_fwd(outcomes, budget)[0]


def _optimal_value_fwd(outcomes: Outcomes, budget: Array) -> tuple[Array, tuple[Array, Array]]:
    n, m = outcomes.r.shape
    hull = upper_hull(outcomes)
    lam = hull_multiplier(hull, budget)
    z = _fractions(hull, lam, budget, m)
    return exact_sum((z * outcomes.r).sum(axis=1)).hi / n, (z, lam)


def _optimal_value_bwd(residuals: tuple[Array, Array], cotangent: Array) -> tuple[Outcomes, Array]:
    z, lam = residuals
    slope = cotangent * z / z.shape[0]
    return Outcomes(slope, -lam * slope), cotangent * lam


_optimal_value.defvjp(_optimal_value_fwd, _optimal_value_bwd)


def _fractions(hull: Hull, lam: Array, budget: Array, m: int) -> Array:
    """Return shares z [n, m] that are optimal at `lam` and spend the budget."""
    within, over = level_above(hull, lam), (hull.slope >= lam).sum(axis=0)
    low, high = (at_level(hull.cost, level) for level in (within, over))
    room, tied = -over_budget(low, budget).hi, exact_sum(high - low).hi
    share = jnp.where((tied > 0) & (lam > 0), jnp.clip(room / jnp.where(tied > 0, tied, 1), 0, 1), 0)
    dearer, cheaper = (jax.nn.one_hot(at_level(hull.arm, level), m, dtype=low.dtype) for level in (over, within))
    return share * dearer + (1 - share) * cheaper


def soft_multiplier(outcomes: Outcomes, budget: ArrayLike, temperature: ArrayLike) -> Array:
    """Find the multiplier at which *softened* decisions cost the budget, differentiable in every input, [].

    Solves s(lam) = mean_i sum_j softmax_j((r_ij - lam c_ij) / temperature) c_ij = B for lam >= 0, where s decreases in
    lam; the result is 0 if s(0) <= B. By the implicit function theorem, for every input x,

        dlam/dx = - (ds/dx) / (ds/dlam),   dlam/dB = 1 / (ds/dlam),   ds/dlam = - mean_i var_softmax(c_i) / temperature,

    and 0 if the budget does not bind.

    Args:
        outcomes: revenue and cost, [n, m] each.
        budget: cost per person, [].
        temperature: of the softmax, in the unit of revenue, [].

    Raises:
        InputError: surfaces that are not finite or disagree in shape; a temperature that is not positive; a budget that
            is not finite, negative or not above the cheapest plan, which no soft decision reaches (outside `jit`).
    """
    outcomes = check_outcomes(outcomes)
    temperature = jnp.asarray(temperature, outcomes.c.dtype)
    if is_concrete(temperature) and not float(temperature) > 0:
        refuse("temperature", found=float(temperature), expected="a positive number")
    budget, cheapest = check_budget(budget, outcomes.c.dtype), jnp.min(outcomes.c, axis=1).mean()
    if is_concrete(budget, cheapest) and not budget > cheapest:
        expected = f"more than {float(cheapest):.6g}, the spend of the cheapest plan"
        refuse("budget", found=float(budget), expected=expected)
    return _soft_multiplier(outcomes, budget, temperature)


def _soft_spend(outcomes: Outcomes, lam: Array, temperature: Array) -> Array:
    # A softmax depends on differences only. Relative to the cheapest treatment, a huge lam cannot give NaN.
    dearer = outcomes.c - outcomes.c.min(axis=1, keepdims=True)
    return (soft(Outcomes(outcomes.r, dearer), lam, temperature) * outcomes.c).sum(axis=1).mean()


@jax.custom_vjp
def _soft_multiplier(outcomes: Outcomes, budget: Array, temperature: Array) -> Array:
    ceiling = jnp.asarray(jnp.finfo(outcomes.c.dtype).max, outcomes.c.dtype)
    return least_multiplier(lambda lam: _soft_spend(outcomes, lam, temperature) <= budget, ceiling)


def _soft_multiplier_fwd(
    outcomes: Outcomes, budget: Array, temperature: Array
) -> tuple[Array, tuple[Outcomes, Array, Array]]:
    lam = _soft_multiplier(outcomes, budget, temperature)
    return lam, (outcomes, lam, temperature)


def _soft_multiplier_bwd(residuals: tuple[Outcomes, Array, Array], cotangent: Array) -> tuple[Outcomes, Array, Array]:
    _, pull_back = jax.vjp(_soft_spend, *residuals)
    fall = pull_back(jnp.ones_like(cotangent))[1]
    binds = (residuals[1] > 0) & (fall < 0)
    per_spend = jnp.where(binds, cotangent / jnp.where(binds, fall, 1), 0)
    by_outcomes, _, by_temperature = pull_back(-per_spend)
    return by_outcomes, per_spend, by_temperature


_soft_multiplier.defvjp(_soft_multiplier_fwd, _soft_multiplier_bwd)
