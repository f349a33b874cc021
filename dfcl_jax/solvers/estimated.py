"""The multiplier of a budget where what people spend is estimated, by scores or by predictions."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax.solvers.multiplier import for_each, largest_multiplier, least_multiplier
from dfcl_jax.types import Outcomes

# People of a large batch who tell about where its multipliers are.
SAMPLE = 2**15


def crossings(outcomes: Outcomes, spend: Array, size: Array | None, budgets: Array) -> Array:
    """Find for each budget B a lam where sum_i (spend - B size)_{i,z_i(lam)} crosses 0 from above, [b].

    z_i(lam) = argmax_j (r_hat - lam c_hat)_ij. The result is the least lam at which the sum is not above 0 if it
    decreases in lam, as an estimate need not; otherwise it is one of the crossings. It is exact to the last bit of lam.
    If even the cheapest treatments overspend, it is a lam at which everybody takes them. Of many people a sample tells
    about where the crossing is, which spares almost half of the passes over all of them.

    Args:
        outcomes: predictions that the decisions are made by, [n, m] each.
        spend: what people spend at each treatment, as it is estimated, [n, m].
        size: how many people each entry stands for, [n, m]; None: one.
        budgets: cost per person, [b]; NaN gives NaN.
    """
    ceiling = largest_multiplier(outcomes)
    arms = _Arms(outcomes.r.T, outcomes.c.T, spend.T, None if size is None else size.T)
    n = outcomes.r.shape[0]
    some = jax.tree.map(lambda surface: surface[:, :: n // SAMPLE], arms) if n >= 4 * SAMPLE else None

    def at(budget: Array) -> Array:
        def among(people: _Arms, near: Array | None = None) -> Array:
            return least_multiplier(lambda lam: people.overspend(lam, budget) <= 0, ceiling, near=near)

        lam = among(arms, None if some is None else among(some))
        return jnp.where(jnp.isnan(budget), budget, lam)

    return for_each(at, budgets)


class _Arms(NamedTuple):
    """Surfaces by treatment, [m, n] each: a pass over people reads the numbers of a treatment one after another."""

    r: Array  # predicted
    c: Array
    spend: Array
    size: Array | None

    def overspend(self, lam: Array, budget: Array) -> Array:
        """What the decisions at lam spend above the budget, per person, []; the first of tied treatments is taken."""
        best, spend = self.r[0] - lam * self.c[0], self.spend[0]
        size = None if self.size is None else self.size[0]
        for j in range(1, self.r.shape[0]):
            value = self.r[j] - lam * self.c[j]
            better = value > best
            best, spend = jnp.where(better, value, best), jnp.where(better, self.spend[j], spend)
            size = None if size is None or self.size is None else jnp.where(better, self.size[j], size)
        return spend.mean() - budget * (1 if size is None else size.mean())
