"""The value of policies that were trained on other folds: every person is judged once, and counts in one interval."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.metrics.value_steps import value_steps
from dfcl_jax.solvers import Rule, decide
from dfcl_jax.types import Outcomes, Scores, pick

# The slope of a value curve is that of its chord from so far below a budget to so far above it.
CHORD = 0.25


class Fold(NamedTuple):
    """People whom neither the model that decides for them nor those behind their scores have seen."""

    outcomes: Outcomes  # what decides, [n_k, m] each
    scores: Scores  # what settles, [n_k, m] each, with the level of cost in them
    weights: Array | None = None  # [n_k] how many people each row stands for; None: one
    # What the models of the other folds, in their order, say of the same people, whom they have seen: it does not
    # count in the value, and tells how far decisions depend on who is in the training part. None: not known.
    others: tuple[Outcomes, ...] = ()


class FoldValue(NamedTuple):
    """A policy's value over K folds at b budgets, per person, and each person's part in its error."""

    revenue: np.ndarray  # [b] NaN where some fold cannot meet the budget
    cost: np.ndarray  # [b]
    slope: np.ndarray  # [b] revenue that one more unit of budget would bring
    by_fold: np.ndarray  # [K, b] revenue of each fold
    shares: np.ndarray  # [K] of the folds' people in all people
    # [k, n, b] of revenue, 0 on average in every fold, people in the order of the folds: first by the model that judges
    # them, then, where `Fold.others` are known, by each of the others (k is 1 or K).
    parts: np.ndarray


def fold_value(folds: Sequence[Fold], budgets: ArrayLike | Sequence[float]) -> FoldValue:
    """Estimate the value of K policies, each on its own fold at its own multiplier, and linearise the estimate.

    V_k(B) is `eom` on fold k: the multiplier is the one at which the fold's estimated spend meets the budget B. The
    estimate is V(B) = sum_k (W_k / W) V_k(B) with W_k the weight of the fold, and the part of person i of fold k is

        psi_i = n w_i / W ((G^r_i - V_k) - s (G^c_i - C_k)),

    G at the decided treatment, C_k the spend. Spend is priced at s = dV / dB, the slope of the value curve, because a
    fold whose people happen to spend more gets a higher multiplier; s is 0 where the budget binds nobody. So the parts
    hold the multiplier's uncertainty, to first order. Models of different folds count in different scales: a multiplier
    for each fold asks nothing of these. (For one multiplier over all folds, give their people as one `Fold`.)

    What is estimated is the mean true value of the K policies, each at the multiplier where its true spend meets the
    budget (Bayle, Bayle, Janson and Mackey, Cross-validation confidence intervals for test error, 2020).

    Args:
        folds: disjoint people.
        budgets: cost per person, [b].

    Raises:
        InputError: as `value_steps`.
    """
    at = np.asarray(budgets, np.float64)
    weights = [_weights(fold) for fold in folds]
    total, people = sum(float(w.sum()) for w in weights), sum(len(w) for w in weights)
    shares = np.array([w.sum() / total for w in weights])
    settled = [_settled(fold, w, at) for fold, w in zip(folds, weights, strict=True)]
    rules = [rule for rule, _, _ in settled]
    rise, run = np.tensordot(shares, np.stack([chord for _, _, chord in settled]), axes=1)
    slope = np.where(run > 1e-6 * np.maximum(at, 1e-30), np.maximum(rise, 0) / np.where(run > 0, run, 1), 0)
    values, parts = [], []
    for k, (fold, w, (_, met, _)) in enumerate(zip(folds, weights, settled, strict=True)):
        deciding = [(fold.outcomes, rules[k])]
        deciding += zip(fold.others, (rule for other, rule in enumerate(rules) if other != k), strict=bool(fold.others))
        own = []
        for outcomes, rule in deciding:
            each = np.stack(
                [np.asarray(part, np.float64) for part in _earned(outcomes, fold.scores, rule)]
            )  # [2, b, n]
            mean = np.where(met, each @ w / w.sum(), np.nan)
            off = (each - mean[:, :, None]) * w * people / total
            own.append((off[0] - slope[:, None] * off[1]).T.astype(np.float32))
            values += [mean] if len(own) == 1 else []
        parts.append(np.stack(own))
    revenue, cost = np.tensordot(shares, np.stack(values), axes=1)
    return FoldValue(revenue, cost, slope, np.stack(values)[:, 0], shares, np.concatenate(parts, axis=1))


def _settled(fold: Fold, w: np.ndarray, at: np.ndarray) -> tuple[Rule, np.ndarray, np.ndarray]:
    """A fold's rules at b budgets, which budgets are met, and rise and run of the value curve's chords, [2, b]."""
    value = value_steps(fold.outcomes, fold.scores).at(
        jnp.asarray(np.concatenate([at, (1 - CHORD) * at, (1 + CHORD) * at])), weights=jnp.asarray(w)
    )
    money = np.stack([np.asarray(value.revenue, np.float64), np.asarray(value.cost, np.float64)])
    middle, below, above = money.reshape(2, 3, len(at)).transpose(1, 0, 2)
    below = np.where(np.isnan(below), middle, below)
    binds = middle[1] >= at * (1 - 1e-4)
    rule = jax.tree.map(lambda leaf: leaf[: len(at)], value.rule)
    return rule, ~np.isnan(middle[0]), np.where(binds, above - below, 0)


@jax.jit
def _earned(outcomes: Outcomes, scores: Scores, rule: Rule) -> tuple[Array, Array]:
    """What each person is expected to bring and to cost over the dice of a rule, [b, n] each."""
    ends = jnp.ones(outcomes.r.shape[0])

    def at(rule: Rule) -> tuple[Array, Array]:
        cheaper, dearer = decide(outcomes, rule, ends), decide(outcomes, rule, -ends)

        def mixed(surface: Array) -> Array:
            return (1 - rule.share) * pick(surface, cheaper) + rule.share * pick(surface, dearer)

        return mixed(scores.r), mixed(scores.c)

    return jax.lax.map(at, rule)


def _weights(fold: Fold) -> np.ndarray:
    return np.ones(len(fold.scores.r)) if fold.weights is None else np.asarray(fold.weights, np.float64)


def fold_statistic(
    folds: Sequence[Fold], budgets: Sequence[float] | np.ndarray, rows: ArrayLike | None = None
) -> tuple[Any, Any]:
    """Each fold's part in revenue as a function of weights, as `bootstrap` takes it: (statistic, data) -> [K, b].

    The part of fold k is (W_k / W) V_k(B); their sum is the revenue of `fold_value`. Every draw finds the multipliers
    anew.

    Args:
        folds: disjoint people; their own weights are multiplied by those of the bootstrap.
        budgets: cost per person.
        rows: [n] which of the bootstrap's weights each person has, in the order of the folds: the person's cluster. The
            person's own if not given.
    """
    weights = np.concatenate([_weights(fold) for fold in folds])
    rows = jnp.arange(len(weights)) if rows is None else jnp.asarray(rows)
    steps = [value_steps(fold.outcomes, fold.scores) for fold in folds]
    return _weighed, (steps, jnp.asarray(budgets, steps[0].lam.dtype), jnp.asarray(weights, jnp.float32), rows)


def _weighed(data: Any, drawn: Array) -> Array:
    steps, budgets, weights, rows = data
    weights, first, parts = weights * drawn[rows], 0, []
    for each in steps:
        own = weights[first : first + each.start.cost.shape[0]]
        parts.append(own.sum() / weights.sum() * each.at(budgets, weights=own).revenue)
        first += own.shape[0]
    return jnp.stack(parts)
