"""Improved finite differences: the hard decision's value, and what the nearest flip of each person would change."""

from functools import cache, partial
from typing import Literal

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.losses.dual import Term, dual_loss
from dfcl_jax.solvers.decision import hard, priced
from dfcl_jax.types import Outcomes, Scores, pick

Clip = Literal["none", "window", "max"]
Normalise = Literal["matched", "sample"]

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
    weights: ArrayLike = 1.0,
) -> Array:
    """DFCL-IFD: the hard decision's dual value, with finite differences for a gradient (DFCL, D10).

    L = - sum_k weights_k V_k,  V = sum_i g_{i,z_i} / S,  g = G^r - lam G^c,  z_i = argmax_j (r_hat - lam c_hat)_ij

    and S the number of people ("sample") or the weight of the people whose decision is the treatment they had,
    sum_i w_{i,z_i} ("matched"). The gradient is an estimate: a fixed multiplier decouples people, so each is
    moved alone over the nearest flip that changes what V sees of them (a matched decision to its runner-up, an
    unmatched one to the logged treatment, where `scores.w` is largest), and
    dV/dr_hat at the new treatment is (V_new - V) / step, at the old one the opposite, and 0 elsewhere. The step is the
    gap between the two scores plus `OVERSHOOT`; on c_hat it is the gap over -lam less `OVERSHOOT`, which the authors'
    code does not divide by lam.

    With "matched", V and its gradient depend on the whole batch through S: they are those of the batch, not a mean over
    its rows. A batch in which nobody matches has V = 0. Where lam = 0 the gradient on c_hat is 0.

    Args:
        outcomes: predictions r_hat, c_hat, [n, m] each, m at least 2.
        scores: score surfaces G^r, G^c and weights w, [n, m] each.
        lams: multipliers, [k] or a scalar.
        clip: "none"; "window": only steps shorter than `window` teach, all as if of that length; "max": every step
            counts as the longest of the batch.
        window: for steps on r_hat, in its unit, a scalar or [k].
        cost_window: for steps on c_hat, likewise; None: as `window`, as published. window / lam teaches both alike.
        normalise: "matched" as in the authors' code, "sample" as in their paper.
        weights: of the multipliers' terms, a scalar or [k].

    Returns:
        The loss per person, summed over multipliers, [].
    """
    windows = (window, window if cost_window is None else cost_window)
    return dual_loss(_term(clip, normalise), outcomes, scores, lams, windows, weights)


@cache
def _term(clip: Clip, normalise: Normalise) -> Term:
    # One object for each pair of options, so that compiled code is found again.
    return partial(_flip_value, clip=clip, normalise=normalise)


def _flip_value(
    outcomes: Outcomes, scores: Scores, lam: Array, windows: tuple[Array, Array], *, clip: Clip, normalise: Normalise
) -> tuple[Array, Outcomes]:
    m = outcomes.r.shape[1]
    score = priced(outcomes, lam)
    gain = priced(Outcomes(scores.r, scores.c), lam)
    arms = jnp.arange(m)[None, :]

    old = hard(outcomes, lam)
    matched = pick(scores.w, old) > 0
    runner_up = jnp.argmax(jnp.where(arms == old[:, None], -jnp.inf, score), axis=1)
    new = jnp.where(matched, runner_up, jnp.argmax(scores.w, axis=1))

    count = scores.w if normalise == "matched" else jnp.ones_like(scores.w)
    total, size = pick(gain, old).sum(), pick(count, old).sum()
    value = _ratio(total, size)
    new_total = total + pick(gain, new) - pick(gain, old)
    change = _ratio(new_total, size + pick(count, new) - pick(count, old)) - value

    gap = pick(score, old) - pick(score, new)
    step_r = gap + OVERSHOOT
    step_c = -gap / jnp.where(lam > 0, lam, 1) - OVERSHOOT
    # +1 at the new treatment, -1 at the old: the two share one difference quotient.
    direction = (arms == new[:, None]).astype(score.dtype) - (arms == old[:, None]).astype(score.dtype)
    slope_r = change * _inverse_step(step_r, clip, windows[0])
    slope_c = jnp.where(lam > 0, change * _inverse_step(step_c, clip, windows[1]), 0)
    return value, Outcomes(r=slope_r[:, None] * direction, c=slope_c[:, None] * direction)


def _ratio(total: Array, size: Array) -> Array:
    # Dropping the only matched person leaves rounding, not zero: nothing is matched below half of the least weight, 1.
    return jnp.where(size > 0.5, total / jnp.where(size > 0.5, size, 1), 0)


def _inverse_step(step: Array, clip: Clip, window: Array) -> Array:
    length = jnp.abs(step)
    if clip == "window":
        return jnp.where(length < window, jnp.sign(step) / window, 0)
    if clip == "max":
        return jnp.sign(step) / length.max()
    return 1 / step
