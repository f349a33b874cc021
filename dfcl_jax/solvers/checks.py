"""Checks of solver inputs, made wherever values can be seen."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from dfcl_jax.errors import is_concrete, refuse
from dfcl_jax.types import Outcomes


def check_budgets(budgets: ArrayLike, *, cheapest: float = 0.0) -> None:
    """Check that budgets are finite, not negative and not below the spend of the `cheapest` plan."""
    values = np.atleast_1d(np.asarray(budgets, np.float64))
    bad = values[~(np.isfinite(values) & (values >= 0))]
    if bad.size:
        refuse("budget", found=float(bad.flat[0]), expected="a finite number of at least 0, per person")
    # The spend of the cheapest plan is a sum in the outcomes' precision.
    low = values[values < cheapest - 1e-6 * abs(cheapest) - 1e-12]
    if low.size:
        refuse("budget", found=float(low.flat[0]), expected=f"at least {cheapest:.6g}, the spend of the cheapest plan")


def check_outcomes(outcomes: Outcomes) -> Outcomes:
    """Return the surfaces as arrays of one floating type, of at least 32 bits.

    Raises:
        InputError: surfaces that are not two of one shape [n, m], m at least 2, or a number that is not finite.
    """
    r, c = (jnp.shape(surface) for surface in outcomes)
    if len(r) != 2 or r != c or r[0] < 1 or r[1] < 2:
        refuse("outcomes", found=f"{r} and {c}", expected="two [n, m], m at least 2")
    dtype = jnp.result_type(outcomes.r, outcomes.c, jnp.float32)
    outcomes = Outcomes(*(jnp.asarray(surface, dtype) for surface in outcomes))
    finite = _all_finite(outcomes)
    if not is_concrete(finite) or finite:
        return outcomes
    for name, surface in (("revenue", outcomes.r), ("cost", outcomes.c)):
        bad = np.argwhere(~np.isfinite(np.asarray(surface)))
        if bad.size:
            refuse(
                f"outcomes, {name} of unit {bad[0, 0]} at treatment {bad[0, 1]}",
                found=float(surface[tuple(bad[0])]),
                expected="a finite number",
            )
    return outcomes


def check_budget(budget: ArrayLike, dtype: jnp.dtype) -> jax.Array:
    """Check one budget and round it down to the precision `dtype`."""
    if jnp.ndim(budget) != 0:
        refuse("budget", found=f"shape {jnp.shape(budget)}", expected="one number; `jax.vmap` over several")
    if is_concrete(budget):
        check_budgets(budget)
        budget = rounded_down(budget, dtype)
    return jnp.asarray(budget, dtype)


def rounded_down(budget: ArrayLike, dtype: jnp.dtype) -> np.ndarray:
    """Return the largest number of precision `dtype` that is not above each budget."""
    rounded = np.asarray(budget, dtype)
    return np.where(rounded > np.asarray(budget), np.nextafter(rounded, np.asarray(-np.inf, dtype)), rounded)


def check_weights(weights: ArrayLike | None, outcomes: Outcomes) -> None:
    """Check that weights are [n], finite, at least 0 and not all 0."""
    if weights is None:
        return
    n = outcomes.r.shape[0]
    if jnp.shape(weights) != (n,):
        refuse("weights", found=f"shape {jnp.shape(weights)}", expected=f"one for each of {n} units")
    if is_concrete(weights):
        values = np.asarray(weights, np.float64)
        bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
        if bad.size:
            refuse(f"weights, unit {bad[0]}", found=values[bad[0]], expected="a finite number of at least 0")
        if not values.any():
            refuse("weights", found="only zeros", expected="a positive sum")


@jax.jit
def _all_finite(outcomes: Outcomes) -> jax.Array:
    return jnp.isfinite(outcomes.r).all() & jnp.isfinite(outcomes.c).all()
