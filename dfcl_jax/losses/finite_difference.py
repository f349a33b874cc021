"""Finite differences: the hard decision's value, and what other decisions of each person would change."""

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

# How far past the tie a perturbed score goes, so that the decision does flip (DFCL, Algorithm 2).
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
    """DFCL-IFD: the hard decision's dual value, with finite differences for a gradient (DFCL, D10).

    L = - sum_k weights_k V_k,  V = sum_i g_{i,z_i} / S,  g = G^r - lam G^c,  z_i = argmax_j (r_hat - lam c_hat)_ij

    and S the number of people ("sample") or the weight of the people whose decision is the treatment they had,
    sum_i w_{i,z_i} ("matched"). The gradient is an estimate: a fixed multiplier decouples people, so each is moved
    alone over the nearest flip that changes what V sees of them, to the best treatment s by score whose g, or with
    "matched" whose w, is another than at z_i. With `scores.ipw` that is the runner-up for a decision that matches the
    logged treatment and the logged treatment for one that does not, as published; where every treatment has a score of
    its own (`aipw`, `truth`) it is the runner-up. dV/dr_hat at s is (V_new - V) / step, at z_i the opposite, and 0
    elsewhere: a better treatment is pulled up and the decided one down. The step is the gap between the two scores plus
    `OVERSHOOT`; on c_hat it is the gap over -lam less `OVERSHOOT`, which the authors' code does not divide by lam.

    With "sample", the mean of the losses of batches of one size is the loss of their union, and so are the gradients
    (unless `clip` is "max"). With "matched", V and its gradient depend on the whole batch through S: the values of
    batches weighted by their S give that of their union, while a person's V_new - V is (dg - V dw) / (S + dw), which
    for a batch has the batch's V and S. `in_chunks` gives the gradient of a large batch exactly. "matched" belongs with
    scores of the logged treatment alone (`ipw`, `centred`). A batch in which nobody matches has V = 0. Where lam = 0
    the gradient on c_hat is 0.

    Args:
        outcomes: predictions r_hat, c_hat, [n, m] each, m at least 2.
        scores: score surfaces G^r, G^c and weights w, [n, m] each.
        lams: multipliers, [k] or a scalar.
        clip: "none"; "window": only steps shorter than `window` teach, all as if of that length; "max": every step
            counts as the longest of the batch.
        window: for steps on r_hat, in its unit, a scalar or [k].
        cost_window: for steps on c_hat, likewise; None: as `window`, as published. window / lam teaches both alike.
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
    """DFCL-DIFD: finite differences that teach through a softened decision (Bi-DFCL, B4 and B5; DFCL, D10's end).

    L = - sum_k weights_k V_k as in `finite_difference_loss`, with the gradient of
    - sum_ij stop_grad(q_ij) softmax_j(a_i. / temperature),  a = r_hat - lam c_hat, and k = argmax_j a_ij decided:

        q_ij = (V_{i -> j} - V) / h_ij  for j != k,  h_ij = a_ik - a_ij + OVERSHOOT > 0
        q_ik = - q_is,                             s the nearest treatment at which V sees something else than at k

    V_{i -> j} being the value when i alone is moved to j: with "sample", (g_ij - g_ik) / n more. With `scores.ipw` this
    is (B4) term by term: if k is the logged treatment, every other is pushed by g_ik / (n h_ij) and k pulled by
    g_ik / (n h_is), s the runner-up; if not, only the logged treatment t and k move, by +-g_it / (n h_it). So a
    positive net outcome pulls its own treatment up. (B4) has no `OVERSHOOT`, which here keeps ties finite, and a mean
    over j where we sum, a constant.

    Args:
        outcomes: predictions r_hat, c_hat, [n, m] each, m at least 2.
        scores: score surfaces G^r, G^c and weights w, [n, m] each.
        lams: multipliers, [k] or a scalar.
        flips: "all" as in (B4); "nearest": q is 0 but at k and s, the softmax form of (D10).
        temperature: of the softened decision, a scalar or [k].
        clip: as in `finite_difference_loss`; with "all" the longest step is that over all flips.
        window: for steps on the score a, in its unit, a scalar or [k].
        normalise: "sample" as in (B4), or "matched"; how batches add up is as in `finite_difference_loss`.
        weights: of the multipliers' terms, a scalar or [k].

    Returns:
        The loss per person, summed over multipliers, [].
    """
    return dual_loss(soft_term(flips, clip, normalise), outcomes, scores, lams, (window, temperature), weights)


# One object for each choice of options, so that compiled code is found again.
@cache
def _raw_term(clip: Clip, normalise: Normalise, through: Through) -> Term:
    check_option("through", through, Through)
    options = {"clip": clip, "normalise": normalise, "through": through}
    return Term(partial(_raw, **options), whole=_whole(clip, normalise))


@cache
def soft_term(flips: Flips, clip: Clip, normalise: Normalise) -> Term:
    """The term of `dual_finite_difference_loss`; its scale is (window, temperature)."""
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
    """The decision of each person, and what another would change of it."""

    decided: tuple[Array, Array]  # [1, b] each: what the decision adds to V's gain and size
    old: Array  # [m, b] where it is
    new: Array  # [m, b] where the nearest treatment is at which V sees something else
    seen: Array  # [m, b] where V sees something else
    gap: Array  # [m, b] how far the score is below the decided one's
    nearest: Array  # [1, b] that of `new`; 0 where there is none
    gain: Array  # [m, b] what the treatment would add to V's gain beyond the decided one
    size: Array  # [m, b], or [1, b] where all count alike, and to its size


def _moves(people: People, normalise: Normalise) -> _Moves:
    score, gain, w = people
    old = best(score)
    # Where all count alike there is nothing to look up.
    size = w if normalise == "matched" else jnp.ones_like(w[:1])
    decided = at(gain, old), at(w, old) if normalise == "matched" else size
    more, extra = gain - decided[0], size - decided[1]
    seen = (more != 0) | (extra != 0)
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
    """The treatment of the highest score [m, b], as a mask; the lower one where several tie."""
    # Two plain reductions of one type are faster on a CPU than one for the position.
    m = score.shape[0]
    arms = jnp.arange(m, dtype=score.dtype)[:, None]
    first = jnp.where(score == score.max(axis=0, keepdims=True), arms, m).min(axis=0, keepdims=True)
    return arms == first


def at(surface: Array, arm: Array) -> Array:
    """The entries of a surface [m, b] where the mask `arm` is, [1, b]."""
    return jnp.where(arm, surface, 0).sum(axis=0, keepdims=True)


def change(gain: Array, size: Array, totals: Totals) -> Array:
    """(T + gain) / (S + size) - T / S, without the difference of near numbers; V is 0 once nobody counts."""
    whole = totals.size + size
    return jnp.where(whole > 0.5, ratio(gain - value(totals) * size, whole), -value(totals))
