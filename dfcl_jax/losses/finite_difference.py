"""Finite differences: the value of the hard decision, and its change when one person's decision changes."""

from functools import cache, partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.errors import check_option
from dfcl_jax.losses.dual import People, Term, Totals, dual_loss, ratio, value
from dfcl_jax.types import Outcomes, Scores

Clip = Literal["none", "window", "max"]
Normalise = Literal["matched", "sample"]
Through = Literal["both", "revenue"]
Flips = Literal["nearest", "all"]

# How far a perturbed score goes past the tie, so that the decision does flip (DFCL, Algorithm 2).
OVERSHOOT = 1e-6


def finite_difference_loss(
    outcomes: Outcomes,
    scores: Scores,
    lams: ArrayLike,
    *,
    clip: Clip = "window",
    window: ArrayLike = 0.3,
    cost_window: ArrayLike | None = None,
    normalise: Normalise = "matched",
    through: Through = "both",
    weights: ArrayLike = 1.0,
) -> Array:
    """DFCL-IFD: the dual value of the hard decision, with finite differences as its gradient (DFCL, D10).

    L = - sum_k weights_k V_k,  V = sum_i g_{i,z_i} / S,  g = G^r - lam G^c,  z_i = argmax_j (r_hat - lam c_hat)_ij

    S is the number of people ("sample"), or the weight sum_i w_{i,z_i} of the people whose decision is the treatment
    they received ("matched").

    The gradient is an estimate. A fixed multiplier decouples people, so each person is moved alone, over the nearest
    flip that changes their part in V. The flip leads to the treatment s of the highest score among those whose g
    differs from that at z_i (with "matched", a different w is enough). With `scores.ipw`, s is the runner-up if the
    decision matches the logged treatment, and the logged treatment if it does not, as published. If every treatment has
    a score of its own (`aipw`, `truth`), s is the runner-up. dV/dr_hat is (V_new - V) / step at s, the opposite at z_i,
    and 0 elsewhere: a better treatment is pulled up and the decided one down. The step is the gap between the two
    scores plus `OVERSHOOT`. On c_hat it is the gap over -lam, minus `OVERSHOOT`; as in the authors' code, `OVERSHOOT`
    itself is not divided by lam.

    With "sample", the losses of batches of one size average to the loss of their union, and so do the gradients (unless
    `clip` is "max"). With "matched", V and its gradient depend on the whole batch through S. The values of batches,
    weighted by their S, average to the value of their union, but a person's V_new - V is (dg - V dw) / (S + dw), with
    the V and S of their batch. `in_chunks` gives the exact gradient of a large batch. Use "matched" with scores of the
    logged treatment alone (`ipw`, `centred`). V is 0 in a batch in which nobody matches. The gradient on c_hat is 0
    where lam = 0.

    Args:
        outcomes: predictions r_hat, c_hat, [n, m] each, m at least 2.
        scores: score surfaces G^r, G^c and weights w, [n, m] each.
        lams: multipliers, [k] or a scalar.
        clip: "none"; "window": only steps shorter than `window` count, each as if it had that length; "max": every step
            counts as long as the longest of the batch.
        window: for steps on r_hat, in its unit, a scalar or [k].
        cost_window: for steps on c_hat, likewise; default `window`, as published. With window / lam the same flips
            count on both.
        normalise: "matched" as in the authors' code, "sample" as in their paper.
        through: "both"; "revenue": no gradient on c_hat, as the authors ran it on Criteo.
        weights: of the multipliers' terms, a scalar or [k].

    Returns:
        The loss per person, summed over multipliers, [].
    """
    windows = (window, window if cost_window is None else cost_window)
    return dual_loss(_raw_term(clip, normalise, through), outcomes, scores, lams, windows, weights)


def dual_finite_difference_loss(
    outcomes: Outcomes,
    scores: Scores,
    lams: ArrayLike,
    *,
    flips: Flips = "all",
    temperature: ArrayLike = 1.0,
    clip: Clip = "window",
    window: ArrayLike = 0.3,
    normalise: Normalise = "sample",
    weights: ArrayLike = 1.0,
) -> Array:
    """DFCL-DIFD: finite differences through a softened decision (Bi-DFCL, B4 and B5; DFCL, end of D10).

    L = - sum_k weights_k V_k as in `finite_difference_loss`, with the gradient of
    - sum_ij stop_grad(q_ij) softmax_j(a_i. / temperature),  a = r_hat - lam c_hat, and k = argmax_j a_ij decided:

        q_ij = (V_{i -> j} - V) / h_ij  for j != k,  h_ij = a_ik - a_ij + OVERSHOOT > 0
        q_ik = - q_is,                             s the nearest treatment whose part in V differs from that of k

    V_{i -> j} is the value when only person i is moved to j; with "sample", it exceeds V by (g_ij - g_ik) / n. With
    `scores.ipw` this is (B4) term by term. If k is the logged treatment, every other treatment is pushed by
    g_ik / (n h_ij) and k is pulled by g_ik / (n h_is), s the runner-up. If not, only the logged treatment t and k move,
    by +-g_it / (n h_it). So a positive net outcome pulls up the treatment that it was observed under. Two details
    differ from (B4): `OVERSHOOT` keeps ties finite, and we sum over j where (B4) averages, a constant factor.

    Args:
        outcomes: predictions r_hat, c_hat, [n, m] each, m at least 2.
        scores: score surfaces G^r, G^c and weights w, [n, m] each.
        lams: multipliers, [k] or a scalar.
        flips: "all" as in (B4); "nearest": q is 0 except at k and s, the softmax form of (D10).
        temperature: of the softened decision, a scalar or [k].
        clip: as in `finite_difference_loss`; with flips "all", the longest step is the maximum over all flips.
        window: for steps on the score a, in its unit, a scalar or [k].
        normalise: "sample" as in (B4), or "matched"; batches add up as in `finite_difference_loss`.
        weights: of the multipliers' terms, a scalar or [k].

    Returns:
        The loss per person, summed over multipliers, [].
    """
    return dual_loss(soft_term(flips, clip, normalise), outcomes, scores, lams, (window, temperature), weights)


# One object for each choice of options, so that JAX reuses compiled code.
@cache
def _raw_term(clip: Clip, normalise: Normalise, through: Through) -> Term:
    check_option("through", through, Through)
    options = {"clip": clip, "normalise": normalise, "through": through}
    return Term(partial(_raw, **options), whole=_whole(clip, normalise))


@cache
def soft_term(flips: Flips, clip: Clip, normalise: Normalise) -> Term:
    """Return the term of `dual_finite_difference_loss`; its scale is (window, temperature)."""
    check_option("flips", flips, Flips)
    options = {"flips": flips, "clip": clip, "normalise": normalise}
    return Term(partial(_softened, **options), whole=_whole(clip, normalise))


def _whole(clip: Clip, normalise: Normalise) -> bool:
    check_option("clip", clip, Clip)
    check_option("normalise", normalise, Normalise)
    return normalise == "matched" or clip == "max"


def _raw(
    people: People,
    lam: Array,
    windows: tuple[Array, Array],
    totals: Totals,
    *,
    clip: Clip,
    normalise: Normalise,
    through: Through,
) -> tuple[Totals, Outcomes]:
    moves = _moves(people, normalise)
    gap, gain, size = moves.nearest, at(moves.gain, moves.new), at(moves.size, moves.new)
    difference = change(gain, size, totals)
    slope_r = difference * _inverse_step(gap, clip, windows[0], totals.longest)
    safe = jnp.where(lam > 0, lam, 1)
    slope_c = -difference * _inverse_step(gap / safe, clip, windows[1], totals.longest / safe)
    slope_c = jnp.where((lam > 0) & (through == "both"), slope_c, 0)
    direction = moves.new.astype(gap.dtype) - moves.old.astype(gap.dtype)
    return _tally(moves, clip, gap), Outcomes(r=slope_r * direction, c=slope_c * direction)


def _softened(
    people: People,
    lam: Array,
    scale: tuple[Array, Array],
    totals: Totals,
    *,
    flips: Flips,
    clip: Clip,
    normalise: Normalise,
) -> tuple[Totals, Outcomes]:
    window, temperature = scale
    moves = _moves(people, normalise)
    q = change(moves.gain, moves.size, totals) * _inverse_step(moves.gap, clip, window, totals.longest)
    touched = moves.new if flips == "nearest" else moves.seen
    q = jnp.where(moves.old, -at(q, moves.new), jnp.where(touched, q, 0))
    z = jax.nn.softmax(people.score / temperature, axis=0)
    slope = z * (q - (z * q).sum(axis=0, keepdims=True)) / temperature
    return _tally(moves, clip, jnp.where(touched, moves.gap, 0)), Outcomes(r=slope, c=-lam * slope)


class _Moves(NamedTuple):
    """The decision of each person, and what each other treatment would change."""

    decided: tuple[Array, Array]  # [1, b] each: the decision's part in V's gain and size
    old: Array  # [m, b] mask of the decided treatment
    new: Array  # [m, b] mask of the nearest treatment that changes V
    seen: Array  # [m, b] mask of all treatments that change V
    gap: Array  # [m, b] score of the decided treatment minus this score
    nearest: Array  # [1, b] gap of `new`; 0 if there is none
    gain: Array  # [m, b] change of V's gain if the treatment were decided
    size: Array  # [m, b] change of V's size, or [1, b] if all count alike


def _moves(people: People, normalise: Normalise) -> _Moves:
    score, gain, w = people
    old = best(score)
    # If all count alike, one row is enough.
    size = w if normalise == "matched" else jnp.ones_like(w[:1])
    decided = at(gain, old), at(w, old) if normalise == "matched" else size
    more, extra = gain - decided[0], size - decided[1]
    # A compiler may compute the gain twice and round in two ways: the decided treatment changes nothing all the same.
    seen = ((more != 0) | (extra != 0)) & ~old
    rival = jnp.where(seen, score, -jnp.inf)
    top, second = score.max(axis=0, keepdims=True), rival.max(axis=0, keepdims=True)
    nearest = jnp.where(second > -jnp.inf, top - second, 0)
    return _Moves(decided, old, best(rival) & seen, seen, top - score, nearest, more, extra)


def _tally(moves: _Moves, clip: Clip, gap: Array) -> Totals:
    longest = gap.max(axis=0, keepdims=True) if clip == "max" else jnp.zeros_like(moves.decided[0])
    return Totals(*moves.decided, longest)


def _inverse_step(gap: Array, clip: Clip, window: Array, longest: Array) -> Array:
    step = gap + OVERSHOOT
    if clip == "window":
        return jnp.where(step < window, 1 / window, 0)
    if clip == "max":
        return 1 / (longest + OVERSHOOT)
    return 1 / step


def best(score: Array) -> Array:
    """Return the mask of the treatment with the highest score [m, b]; a tie goes to the first."""
    # On a CPU, two plain reductions of one type are faster than one argmax.
    m = score.shape[0]
    arms = jnp.arange(m, dtype=score.dtype)[:, None]
    first = jnp.where(score == score.max(axis=0, keepdims=True), arms, m).min(axis=0, keepdims=True)
    return arms == first


def at(surface: Array, arm: Array) -> Array:
    """Return the entries of a surface [m, b] at the mask `arm`, [1, b]."""
    return jnp.where(arm, surface, 0).sum(axis=0, keepdims=True)


def change(gain: Array, size: Array, totals: Totals) -> Array:
    """Return the change of V, (T + gain) / (S + size) - T / S, without cancellation; V is 0 if nobody counts."""
    whole = totals.size + size
    return jnp.where(whole > 0.5, ratio(gain - value(totals) * size, whole), -value(totals))
