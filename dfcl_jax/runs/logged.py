"""Logs of a targeting policy beside a small trial, for each seed, of people whose truth is known."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from dfcl_jax import metrics, scores
from dfcl_jax.data import Exam, Split, Table, Task, encode, simulate
from dfcl_jax.data.kinds import numbers
from dfcl_jax.data.simulate import Population
from dfcl_jax.data.task import split_at
from dfcl_jax.errors import refuse
from dfcl_jax.solvers import default_budgets
from dfcl_jax.types import Outcomes, Trial, num_arms, take


def seed_keys(seed: int) -> tuple[Array, Array]:
    """The keys of a seed's people and of its population."""
    draw_key, population_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), 1))
    return draw_key, population_key


def confounded_split(
    population: Population,
    key: Array,
    parts: tuple[int, int, int],
    observed: int,
    *,
    strength: float,
    hidden: int = 0,
    seed: int = 0,
) -> Split:
    """A trial, and logs of a policy that gives the dearer treatment to people who bring more (`simulate.confounded`).

    Args:
        population: whose people they are.
        key: of the draw.
        parts: people for training, validation and test, all randomised.
        observed: people in the logs.
        strength: how strongly the logs' policy targets; 0 is a trial.
        hidden: features that the logs' policy knew and nobody recorded: those that say most of demand. The propensities
            of the logs stay the true ones, which what was recorded no longer determines.
        seed: number of the task.

    Raises:
        InputError: a number of hidden features below 0, or as many as there are.
    """
    drawn = simulate.confounded(population, key, observed, sum(parts), strength=strength)
    trial, truth = drawn.rct
    if not 0 <= hidden < trial.x.shape[1]:
        refuse("hidden features", found=hidden, expected=f"from 0 to below {trial.x.shape[1]}")
    recorded = jnp.sort(jnp.argsort(_told_of_demand(trial.x, truth))[: trial.x.shape[1] - hidden])
    trial = trial._replace(x=trial.x[:, recorded])
    logs = drawn.obs.trial._replace(x=drawn.obs.trial.x[:, recorded])
    ends = np.cumsum([0, *parts])
    train, valid, test = (take(trial, jnp.arange(*pair)) for pair in pairwise(ends))
    task = Task(train, valid, (), seed, observed=logs)
    return Split(task, Exam(test, jax.tree.map(lambda leaf: leaf[ends[2] :], truth)))


def _told_of_demand(x: Array, truth: Outcomes) -> Array:
    """How well each feature of x [n, d] tells the log of expected revenue: |correlation|, but for a factor, [d]."""
    demand = jnp.log(truth.r.mean(axis=1))
    centred = x - x.mean(axis=0, keepdims=True)
    # A feature that never varies tells nothing.
    return jnp.nan_to_num(jnp.abs((demand - demand.mean()) @ centred) / jnp.linalg.norm(centred, axis=0))


def hybrid_split(key: Array, people: int, rates: tuple[float, float], *, certainty: float, seed: int = 0) -> Split:
    """A Criteo-like trial of which a quarter becomes logs, as many for each seed, and half stays a trial.

    Args:
        key: of the draw.
        people: in the trial that becomes the hybrid.
        rates: of visits and conversions.
        certainty: probability that the logs' policy gives the treatment that it prefers; 1 as published.
        seed: number of the task.
    """
    draw_key, hybrid_key = jax.random.split(key)
    visits, conversions = rates
    trial, truth = simulate.criteo_like(draw_key, people, visit_rate=visits, conversion_rate=conversions)
    parts = simulate.hybrid(hybrid_key, trial, partial(linear_policy, certainty=certainty))
    observed = round(0.24 * people)
    if parts.obs.rows < observed:
        refuse("people in the hybrid's logs", found=parts.obs.rows, expected=f"at least {observed}: more --people")
    task = Task(parts.train, parts.valid, (), seed, observed=parts.obs.sample(observed))
    return Split(task, Exam(parts.test, jax.tree.map(lambda leaf: leaf[parts.rows[3]], truth)))


def thinned_split(table: Table, seed: int, *, by: str, strength: float) -> Split:
    """A quarter of a trial as the trial, 30% to settle policies on, and the rest thinned by a rule into logs.

    The rule gives people more of the treatment that costs more the larger their value of a feature is: with u the
    standardised logarithm of 1 + the feature, clipped to +-3, and s the rank of treatments by mean cost from -1 to 1,
    it draws treatment j with probability proportional to exp(strength u s_j); whoever had another is left out.

    Args:
        table: the trial.
        seed: of the order of rows, and number of the task.
        by: the feature, of at least 0.
        strength: of the rule; 0 thins at random.
    """
    n = len(table.t)
    order = np.random.default_rng(seed).permutation(n)
    cuts = np.round(n * np.cumsum([0.20, 0.05, 0.45])).astype(int)
    train, valid, rest, test = np.split(order, cuts)
    split = split_at(table, seed, (train, valid, test))
    u = np.log1p(numbers(table.features[by])[rest])
    u = np.clip((u - u.mean()) / u.std(), -3, 3)
    cost = np.bincount(table.t, table.c) / np.bincount(table.t)
    place = 2 * np.argsort(np.argsort(cost)) / (len(cost) - 1) - 1
    weights = np.exp(strength * u[:, None] * place)
    assert split.encoder is not None
    x = encode(split.encoder, table.features.iloc[rest])
    p = table.p if table.p.ndim == 1 else table.p[rest]
    people = Trial(*map(jnp.asarray, (x, table.t[rest], table.r[rest], table.c[rest], p)))
    key = jax.random.fold_in(jax.random.key(seed), 2)
    kept = simulate.agreeing(key, people, weights / weights.sum(axis=1, keepdims=True))
    # As many for every seed, so that one program trains all.
    kept = kept._replace(rows=kept.rows[: round(0.14 * n)], p=kept.p[: round(0.14 * n)])
    logs = take(people, jnp.asarray(kept.rows))._replace(p=jnp.asarray(kept.p, people.r.dtype))
    return split._replace(task=split.task._replace(observed=logs))


def linear_policy(trial: Trial, *, certainty: float) -> Callable[[Array], Array]:
    """A policy learned from a trial of two treatments: the half of people of higher return is treated.

    Revenue and cost of each treatment are linear in the features, by least squares.
    """
    predict = linear_outcomes(trial)

    def probabilities(x: Array) -> Array:
        roi = metrics.roi_score(predict(x))
        treated = jnp.where(roi > jnp.median(roi), certainty, 1 - certainty)
        return jnp.stack([1 - treated, treated], axis=1)

    return probabilities


def linear_outcomes(trial: Trial) -> Callable[[Array], Outcomes]:
    """Revenue and cost of each treatment, linear in the features, by least squares on its people."""

    def design(x: Array) -> Array:
        return jnp.concatenate([jnp.ones((x.shape[0], 1), x.dtype), x], axis=1)

    given = jax.nn.one_hot(trial.t, num_arms(trial), dtype=trial.x.dtype)
    fits = [
        [jnp.linalg.lstsq(design(trial.x) * arm[:, None], y * arm)[0] for arm in given.T] for y in (trial.r, trial.c)
    ]
    return lambda x: Outcomes(*(jnp.stack([design(x) @ weights for weights in arms], axis=1) for arms in fits))


def usual_budgets(splits: list[Split]) -> list[float]:
    """Six budgets between the mean cost of the cheapest and of the dearest treatment."""
    costs = [np.asarray(scores.ipw(split.task.valid).c.mean(axis=0)) for split in splits]
    return list(default_budgets(np.mean(costs, axis=0)))
