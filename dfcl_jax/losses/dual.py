"""The dual decision loss: a sum over multipliers whose gradient is supplied, not derived.

The value of a decision is a step function of the predictions, so its derivative is zero almost everywhere. Every
decision loss of the papers is therefore a value with an estimate of its gradient. `dual_loss` is the one place that
gives this pair to JAX; each loss is a `Term` passed to it.
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

# Number of people per block on a CPU: their surfaces stay in its cache while all multipliers pass over them.
BLOCK = 4096


class People(NamedTuple):
    """A block of b people at one multiplier; people are the last axis, which processors vectorise."""

    score: Array  # [m, b] a = r_hat - lam c_hat, the scores that the decision is made by
    gain: Array  # [m, b] g = G^r - price G^c, the net gain of each decision
    w: Array  # [m, b] weights of the observations


class Totals(NamedTuple):
    """Totals over the batch that a gradient may need; as a tally, the contribution of each person, [1, b]."""

    gain: Array  # [] sum over people
    size: Array  # [] sum over people; the value is gain / size
    longest: Array  # [] maximum over people of a length that is never negative


class Term(NamedTuple):
    """A decision's value at one multiplier and an estimate of its gradient."""

    # (people, lam [], scale, totals) -> (tally, gradient of the value with respect to the outcomes, [m, b] each).
    # `scale` holds the term's own lengths, [] or a tuple of them: a temperature, or windows. The tally must not depend
    # on the totals.
    at: Callable[[People, Array, Any, Totals], tuple[Totals, Outcomes]]
    # Whether the gradient needs the totals, which takes a first pass over all people. If not, it receives size = n.
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
    """Dual decision loss L = - sum_k weights_k V_k, V_k = gain_k / size_k, with its gradient from `term` (DFCL, D5).

    People are processed block by block, and multipliers one after the other within a block, so memory does not grow
    with the number of multipliers. Only `outcomes` has a derivative; everything else is data, with derivative zero.

    Args:
        term: the value at one multiplier and the estimate of its gradient.
        outcomes: predictions, [n, m] each.
        scores: score surfaces that estimate the value of the decision, [n, m] each.
        lams: multipliers of the decisions, [k] or a scalar.
        scale: one length for each multiplier, or a scalar for all; a tuple of these if the term takes several.
        weights: one weight for each multiplier, or a scalar for all.
        prices: price of a unit of cost when the decision is evaluated, one for each multiplier or a scalar; default
            `lams`, as in (D5).

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
    """Return gain / size, or 0 if nobody counts."""
    return ratio(totals.gain, totals.size)


def ratio(total: Array, size: Array) -> Array:
    """Return total / size, or 0 if size is below 0.5.

    The least weight is 1, so a smaller size is the rounding error left after the only person is removed.
    """
    return jnp.where(size > 0.5, total / jnp.where(size > 0.5, size, 1), 0)


def _no_totals(outcomes: Outcomes, constants: Constants) -> Totals:
    zero = jnp.zeros_like(constants[0])
    return Totals(zero, zero + outcomes.r.shape[0], zero)


def _pass(
    term: Term, outcomes: Outcomes, scores: Scores, constants: Constants, given: Totals
) -> tuple[Totals, Outcomes]:
    """Pass once over all people; return the totals, [k] each, and the gradient of the loss, [n, m] each."""
    n = outcomes.r.shape[0]
    b = min(n, BLOCK) if jax.default_backend() == "cpu" else n

    def block(carry: tuple[Totals, Outcomes], number: Array) -> tuple[tuple[Totals, Outcomes], None]:
        totals, gradient = carry
        # The last block overlaps the one before; repeated people are not counted again.
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
