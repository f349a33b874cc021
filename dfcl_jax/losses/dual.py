"""The dual decision loss: a sum over multipliers whose gradient is supplied, not derived.

The value of a decision is a step function of the predictions, so its derivative teaches nothing. Every decision loss
of the papers is a value together with an estimate of its gradient; `dual_loss` is the one place that hands the pair to
JAX, and each loss is a `Term` given to it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.solvers.decision import priced
from dfcl_jax.types import Outcomes, Scores

# People taken at a time on a CPU: their surfaces then stay in its cache while every multiplier passes over them.
BLOCK = 4096


class People(NamedTuple):
    """Some people at one multiplier, b of them along the last axis, where processors compute side by side."""

    score: Array  # [m, b] a = r_hat - lam c_hat, what decides
    gain: Array  # [m, b] g = G^r - price G^c, what the decision brings
    w: Array  # [m, b] weights of the observations


class Totals(NamedTuple):
    """What a gradient may need to know of the whole batch; as a tally, what each person [1, b] adds to it."""

    gain: Array  # [] sum over people
    size: Array  # [] sum over people; the value is gain / size
    longest: Array  # [] largest over people of a length that is never negative


class Term(NamedTuple):
    """A decision's value at one multiplier and an estimate of its gradient."""

    # (people, lam [], scale, totals) -> (tally, gradient of the value with respect to the outcomes, [m, b] each).
    # `scale` is the term's own length, [] or a tuple of them: a temperature, or windows. The tally is not to depend on
    # the totals.
    at: Callable[[People, Array, Any, Totals], tuple[Totals, Outcomes]]
    # Whether the gradient needs the totals, for which people are passed over first. If not, it is given size = n.
    whole: bool = False


@partial(jax.jit, static_argnums=0)
def dual_loss(
    term: Term,
    outcomes: Outcomes,
    scores: Scores,
    lams: ArrayLike,
    scale: ArrayLike | tuple[ArrayLike, ...],
    weights: ArrayLike,
    prices: ArrayLike | None = None,
) -> Array:
    """- sum_k weights_k V_k, with V_k = gain_k / size_k and its gradient given by `term` (DFCL, D5).

    People are taken block by block and multipliers one after the other within a block, so memory does not grow with
    the number of multipliers. The derivative is with respect to `outcomes` alone: everything else is data, and its
    derivative is zero.

    Args:
        term: the value at one multiplier and the estimate of its gradient.
        outcomes: predictions, [n, m] each.
        scores: what the decision is judged by, [n, m] each.
        lams: multipliers of the decisions, [k] or a scalar.
        scale: one length for each multiplier, or a scalar for all; or a tuple of such, as the term has it.
        weights: one weight for each multiplier, or a scalar for all.
        prices: what a unit of cost is charged when the decision is judged, likewise; None: `lams`, as in (D5).

    Returns:
        The loss per person, [].
    """
    lams = jnp.atleast_1d(jnp.asarray(lams, outcomes.r.dtype))
    prices = lams if prices is None else prices
    constants = jax.tree.map(
        lambda v: jnp.broadcast_to(jnp.asarray(v, lams.dtype), lams.shape), (lams, prices, scale, weights)
    )
    return _dual_loss(term, outcomes, scores, constants)


# Multipliers, prices, scales and weights, [k] each.
Constants = tuple[Array, Array, Any, Array]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _dual_loss(term: Term, outcomes: Outcomes, scores: Scores, constants: Constants) -> Array:
    totals, _ = _pass(term, outcomes, scores, constants, _no_totals(outcomes, constants))
    return -(constants[3] * value(totals)).sum()


def _dual_loss_fwd(term: Term, outcomes: Outcomes, scores: Scores, constants: Constants) -> tuple[Array, Outcomes]:
    given = _no_totals(outcomes, constants)
    if term.whole:
        given, _ = _pass(term, outcomes, scores, constants, given)
    totals, gradient = _pass(term, outcomes, scores, constants, given)
    return -(constants[3] * value(totals)).sum(), gradient


def _dual_loss_bwd(term: Term, gradient: Outcomes, cotangent: Array) -> tuple[Outcomes, None, None]:
    return jax.tree.map(lambda g: cotangent * g, gradient), None, None


_dual_loss.defvjp(_dual_loss_fwd, _dual_loss_bwd)


def value(totals: Totals) -> Array:
    """Gain / size, and 0 where nobody counts."""
    return ratio(totals.gain, totals.size)


def ratio(total: Array, size: Array) -> Array:
    """Total / size; 0 for a size below half of the least weight, 1: dropping the only one leaves rounding."""
    return jnp.where(size > 0.5, total / jnp.where(size > 0.5, size, 1), 0)


def _no_totals(outcomes: Outcomes, constants: Constants) -> Totals:
    zero = jnp.zeros_like(constants[0])
    return Totals(zero, zero + outcomes.r.shape[0], zero)


def _pass(
    term: Term, outcomes: Outcomes, scores: Scores, constants: Constants, given: Totals
) -> tuple[Totals, Outcomes]:
    """Once over all people: the totals, [k] each, and the gradient of the loss, [n, m] each."""
    n = outcomes.r.shape[0]
    b = min(n, BLOCK) if jax.default_backend() == "cpu" else n

    def block(carry: tuple[Totals, Outcomes], number: Array) -> tuple[tuple[Totals, Outcomes], None]:
        totals, gradient = carry
        # The last block begins early enough to be a full one; whom it has again are not counted again.
        first = jnp.minimum(number * b, n - b)
        new = (first + jnp.arange(b) >= number * b)[None, :]
        hat, g = jax.tree.map(lambda s: jax.lax.dynamic_slice_in_dim(s, first, b).T, (outcomes, scores))

        def multiplier(slopes: Outcomes, k: tuple[Constants, Totals]) -> tuple[Outcomes, Totals]:
            (lam, price, scale, weight), known = k
            people = People(priced(hat, lam), priced(Outcomes(g.r, g.c), price), g.w)
            tally, slope = term.at(people, lam, scale, known)
            tally = Totals(*(jnp.where(new, each, 0) for each in tally))
            slopes = jax.tree.map(lambda old, s: old - weight * s, slopes, slope)
            return slopes, Totals(tally.gain.sum(), tally.size.sum(), tally.longest.max())

        slopes, seen = jax.lax.scan(multiplier, jax.tree.map(jnp.zeros_like, hat), (constants, given))
        totals = Totals(totals.gain + seen.gain, totals.size + seen.size, jnp.maximum(totals.longest, seen.longest))
        gradient = jax.tree.map(
            lambda whole, part: jax.lax.dynamic_update_slice_in_dim(whole, part.T, first, 0), gradient, slopes
        )
        return (totals, gradient), None

    start = (jax.tree.map(jnp.zeros_like, given), jax.tree.map(jnp.zeros_like, outcomes))
    return jax.lax.scan(block, start, jnp.arange(-(-n // b)))[0]
