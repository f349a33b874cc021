"""Qini, uplift curves and uplift at k of two treatments, as two packages define them, so that figures can be compared.

All rank people by falling score and use revenue as the outcome. People of equal score, whom one of the packages takes
in the order of an unstable sort, form one block here: no figure depends on the order of rows.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.errors import check_option, is_concrete, refuse
from dfcl_jax.metrics.checks import check_people, check_trial, check_weights
from dfcl_jax.metrics.ranking import Ranking, Totals, chord, rank, rounding, totals
from dfcl_jax.types import Trial, num_arms

Strategy = Literal["overall", "by_group"]


def causalml_auuc(score: ArrayLike, trial: Trial, *, weights: ArrayLike | None = None) -> Array:
    """Area under the uplift curve as CausalML 0.18 defines it (`auuc_score`, normalised), [].

    The gain of the first k people is k (mean of their treated - mean of their control), on a straight line to 0 before
    both are there; the area is the mean over k = 0..n of the gain over |gain of all|.

    Args:
        score: [n], higher first.
        trial: two treatments, of which 1 is the treated; its revenue is the outcome.
        weights: how many people each row stands for, [n].

    Returns:
        The area, []; NaN where a group is empty or treatment changes nothing in total (`why_undefined`).

    Raises:
        InputError: the trial has more than two treatments, or a score is missing.
    """
    return _causalml_auuc(*_checked(score, trial, weights))


def causalml_qini(score: ArrayLike, trial: Trial, *, weights: ArrayLike | None = None) -> Array:
    """Qini score as CausalML 0.18 defines it (`qini_score`, normalised), []; arguments as `causalml_auuc`.

    Q_k = treated outcomes - control outcomes x treated / control, of the first k people; the score is the mean over
    k = 0..n of Q_k / |Q_n| less the straight line to its end.
    """
    return _causalml_qini(*_checked(score, trial, weights))


def sklift_auuc(score: ArrayLike, trial: Trial, *, weights: ArrayLike | None = None) -> Array:
    """Area under the uplift curve as scikit-uplift 0.5.1 defines it (`uplift_auc_score`), [].

    The area between the curve k (mean of treated - mean of control) and the straight line to its end, over that of the
    perfect ranking, for outcomes of 0 and 1; arguments as `causalml_auuc`.
    """
    score, trial, weights = _checked(score, trial, weights)
    _check_binary(trial)
    return _sklift_auuc(score, trial, weights)


def sklift_qini(score: ArrayLike, trial: Trial, *, weights: ArrayLike | None = None) -> Array:
    """Qini coefficient as scikit-uplift 0.5.1 defines it (`qini_auc_score`, with negative effects), [].

    As `sklift_auuc`, with the curve treated outcomes - control outcomes x treated / control.
    """
    score, trial, weights = _checked(score, trial, weights)
    _check_binary(trial)
    return _sklift_qini(score, trial, weights)


def uplift_at_k(
    score: ArrayLike,
    trial: Trial,
    k: float,
    *,
    strategy: Strategy = "overall",
    weights: ArrayLike | None = None,
) -> Array:
    """Uplift of the people of the highest scores as scikit-uplift 0.5.1 defines it (`uplift_at_k`), [].

    Mean revenue of the treated less that of the control, in the trial's money,

    - "overall": among the first k people, or the first floor(k n) for a share k;
    - "by_group": of the first k treated and of the first k control, or of the first floor(k n_t) and floor(k n_c).

    Where people of equal score lie across the end, they count by the part of them that is within, as a random order
    expects; the package takes some of them. It takes outcomes of 0 and 1 alone.

    Args:
        score: [n], higher first.
        trial: two treatments, of which 1 is the treated; its revenue is the outcome.
        k: a share above 0 and below 1, or a number of people.
        strategy: where the first people are counted.
        weights: how many people each row stands for, [n].

    Returns:
        The difference, []; NaN where none of a group is among the first.

    Raises:
        InputError: the trial has more than two treatments, a score is missing, a k of no person or not fewer than all
            (by group: more than a group has), another strategy.
    """
    score, trial, weights = _checked(score, trial, weights)
    check_option("strategy", strategy, Strategy)
    _, sums = _ranked(score, trial, weights)
    groups = (("treated", sums.treated, sums.treated_r), ("control", sums.people - sums.treated, sums.control_r))

    def mean(group: str, count: Array, revenue: Array) -> Array:
        overall = strategy == "overall"
        at = sums.people if overall else count
        first = _first(k, at[-1], "people" if overall else f"people, of the {group}", all_of_them=not overall)
        # Sums are straight between places, and stay as they are where nobody of the group is added.
        many = jnp.interp(first, at, count)
        return jnp.interp(first, at, revenue) / jnp.where(many > 0, many, jnp.nan)

    treated, control = (mean(*group) for group in groups)
    return treated - control


def _first(k: float, of: Array, what: str, *, all_of_them: bool) -> Array | float:
    """How many of so many people the first are: k, or floor(k of) for a share."""
    share = not isinstance(k, int)
    if share and not 0 < k < 1:
        refuse("k", found=k, expected="a share above 0 and below 1, or a whole number")
    if share:
        # The product of NumPy's float64 numbers, as the package has it, where the count can be seen.
        return np.floor(float(of) * k) if is_concrete(of) else jnp.floor(of * k)
    if is_concrete(of) and not 1 <= k < float(of) + all_of_them:
        refuse("k", found=k, expected=f"1 to {float(of) - (not all_of_them):g} {what}")
    return k


def _checked(score: ArrayLike, trial: Trial, weights: ArrayLike | None) -> tuple[Array, Trial, Array]:
    trial = check_trial(trial)
    if num_arms(trial) != 2:
        refuse("trial", found=f"{num_arms(trial)} treatments", expected="2, for an uplift curve")
    n = trial.t.shape[0]
    return check_people("score", score, n), trial, check_weights(weights, n, trial.r.dtype)


def _check_binary(trial: Trial) -> None:
    if is_concrete(trial.r) and not bool(((trial.r == 0) | (trial.r == 1)).all()):
        refuse("trial, revenue", found="other numbers", expected="0 and 1, as the package asks")


def _ranked(score: Array, trial: Trial, weights: Array) -> tuple[Ranking, Totals]:
    ranking = rank(score, jnp.arange(score.shape[0]), trial.t, trial.t == 1)
    return ranking, totals(ranking, trial.r, trial.c, weights[ranking.person])


@jax.jit
def _causalml_auuc(score: Array, trial: Trial, weights: Array) -> Array:
    ranking, sums = _ranked(score, trial, weights)
    lift = _from_zero(_uplift(sums), (sums.treated > 0) & (sums.people > sums.treated))
    gain = lift * sums.people
    gain = gain + _undefined(lift[-1], sums, trial, weights)
    return _mean_over_places(gain / jnp.abs(gain[-1]), ranking, weights)


@jax.jit
def _causalml_qini(score: Array, trial: Trial, weights: Array) -> Array:
    ranking, sums = _ranked(score, trial, weights)
    curve = _from_zero(_qini(sums), sums.people > sums.treated)
    curve = curve / jnp.abs(curve[-1]) + _undefined(_uplift(sums)[-1], sums, trial, weights)
    return _mean_over_places(curve - curve[-1] * sums.people / sums.people[-1], ranking, weights)


@jax.jit
def _sklift_auuc(score: Array, trial: Trial, weights: Array) -> Array:
    hits = trial.r == trial.t
    # Which people the perfect ranking puts second depends on which kind there are more of.
    control_responders = (weights * ((trial.r == 1) & (trial.t == 0))).sum()
    treated_others = (weights * ((trial.r == 0) & (trial.t == 1))).sum()
    second = jnp.where(control_responders > treated_others, trial.r, trial.t)

    def area(by: Array) -> Array:
        ranking, sums = _ranked(by, trial, weights)
        return _area_above_line(_uplift(sums) * sums.people, ranking, sums)

    return _part_of_perfect(area(score), area(2.0 * hits + second), trial, weights)


@jax.jit
def _sklift_qini(score: Array, trial: Trial, weights: Array) -> Array:
    def area(by: Array) -> Array:
        ranking, sums = _ranked(by, trial, weights)
        return _area_above_line(_qini(sums), ranking, sums)

    return _part_of_perfect(area(score), area(trial.r * jnp.where(trial.t == 1, 1, -1)), trial, weights)


def _undefined(total: Array, sums: Totals, trial: Trial, weights: Array) -> Array:
    """Return 0, or NaN where a group is empty or the total that an area is a part of is 0, beyond rounding."""
    both = (sums.treated[-1] > 0) & (sums.people[-1] > sums.treated[-1])
    return jnp.where(both & (jnp.abs(total) > rounding(trial.r, weights)), 0.0, jnp.nan)


def _part_of_perfect(area: Array, perfect: Array, trial: Trial, weights: Array) -> Array:
    """Return area / perfect, NaN where a group is empty, or all outcomes are alike so that nothing can be gained."""
    people, treated, responders = weights.sum(), (weights * trial.t).sum(), (weights * trial.r).sum()
    some = (treated > 0) & (treated < people) & (responders > 0) & (responders < people)
    # An area is a sum over people of as many outcomes each.
    some &= jnp.abs(perfect) > people**2 * rounding(trial.r, weights)
    return jnp.where(some, area / jnp.where(some, perfect, 1), jnp.nan)


def _uplift(sums: Totals) -> Array:
    control = sums.people - sums.treated
    return sums.treated_r / _positive(sums.treated) - sums.control_r / _positive(control)


def _qini(sums: Totals) -> Array:
    return sums.treated_r - sums.control_r * sums.treated / _positive(sums.people - sums.treated)


def _from_zero(curve: Array, defined: Array) -> Array:
    """The curve, on a straight line by place from 0 to where it is first defined."""
    first = jnp.argmax(defined)
    places = jnp.arange(curve.shape[0])
    return jnp.where(places < first, curve[first] * places / jnp.maximum(first, 1), curve)


def _mean_over_places(curve: Array, ranking: Ranking, weights: Array) -> Array:
    w = weights[ranking.person]
    return (w * curve[1:]).sum() / (w.sum() + 1)


def _area_above_line(curve: Array, ranking: Ranking, sums: Totals) -> Array:
    curve = chord(ranking, curve)
    return jnp.trapezoid(curve, sums.people) - curve[-1] * sums.people[-1] / 2


def _positive(count: Array) -> Array:
    return jnp.where(count > 0, count, jnp.inf)
