"""Naive finite differences: move one prediction, decide again and compare the values."""

from functools import cache, partial

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.errors import check_option
from dfcl_jax.losses.dual import People, Term, Totals, dual_loss
from dfcl_jax.losses.finite_difference import Normalise, at, best, change
from dfcl_jax.types import Outcomes, Scores


def naive_finite_difference_loss(
    outcomes: Outcomes,
    scores: Scores,
    lams: ArrayLike,
    *,
    step: ArrayLike = 0.3,
    normalise: Normalise = "matched",
    weights: ArrayLike = 1.0,
) -> Array:
    """The dual value of the hard decision, with the naive finite differences of (DFCL, D9) as its gradient.

    L = - sum_k weights_k V_k as in `finite_difference_loss`, with the gradient
    dV/dr_hat_ij = (V with r_hat_ij + step - V) / step, and likewise for c_hat.

    This is a reference and an ablation. By definition it takes n m decisions of n people each. At a given multiplier
    nobody else's decision changes, so it is enough to decide again for the moved person: 2 n m decisions, 2 m times the
    work of the loss without its gradient. Most entries are 0: a step too short to flip a decision gives no gradient,
    and a long one jumps past the nearest flip. A positive step on r_hat flips nothing at the decided treatment; a
    positive step on c_hat flips nothing anywhere else (where lam > 0). So the two gradients touch different entries.

    Args:
        outcomes: predictions r_hat, c_hat, [n, m] each.
        scores: score surfaces G^r, G^c and weights w, [n, m] each.
        lams: multipliers, [k] or a scalar.
        step: how far each prediction is moved, of either sign, a scalar or [k].
        normalise: "matched" or "sample", as in `finite_difference_loss`.
        weights: of the multipliers' terms, a scalar or [k].

    Returns:
        The loss per person, summed over multipliers, [].
    """
    return dual_loss(_term(normalise), outcomes, scores, lams, step, weights)


@cache
def _term(normalise: Normalise) -> Term:
    check_option("normalise", normalise, Normalise)
    return Term(partial(_naive, normalise=normalise), whole=True)


def _naive(people: People, lam: Array, step: Array, totals: Totals, *, normalise: Normalise) -> tuple[Totals, Outcomes]:
    score, gain = people.score, people.gain
    count = people.w if normalise == "matched" else jnp.ones_like(people.w)
    old = best(score)

    def slope(j: int, move: Array) -> Array:
        new = best(score.at[j].add(move))
        return change(at(gain, new) - at(gain, old), at(count, new) - at(count, old), totals) / step

    arms = range(score.shape[0])
    tally = Totals(at(gain, old), at(count, old), jnp.zeros_like(at(count, old)))
    return tally, Outcomes(*(jnp.concatenate([slope(j, move) for j in arms]) for move in (step, -lam * step)))
