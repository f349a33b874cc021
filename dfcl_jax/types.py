"""The structures that pass between the parts of the library.

`n` units, `m` treatments (arms), `d` features. Revenue and cost are per person, in the money of the data; a model may
count them in units of its own (`in_units`) where it is trained, and nowhere else.
"""

from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array


class Trial(NamedTuple):
    """A randomised trial: what each person was given and what was seen."""

    x: Array  # [n, d] features, known before treatment
    t: Array  # [n] int, the treatment given, 0..m-1
    r: Array  # [n] revenue seen under t
    c: Array  # [n] cost seen under t
    p: Array  # [m] or [n, m] design propensities, each row summing to 1
    weight: Array | None = None  # [n] how many people each row stands for; None: one
    cluster: Array | None = None  # [n] int: rows of one cluster, such as a household, belong together; None: each alone

    @property
    def rows(self) -> int:
        """How many people it has."""
        return self.t.shape[-1]

    def sample(self, n: int) -> "Trial":
        """The first n people, or all where there are fewer; people come in random order."""
        return take(self, jnp.arange(min(n, self.rows)))


class Source(Protocol):
    """The rows of a trial, in memory (a `Trial`) or in files (a `data.StreamedTrial`)."""

    @property
    def rows(self) -> int:
        """How many people it has."""
        ...

    def sample(self, n: int) -> Trial:
        """About n people from all over the data, in memory; all where there are fewer."""
        ...


class Outcomes(NamedTuple):
    """What every treatment would bring and cost for every person: predicted, or true in a simulation."""

    r: Array  # [n, m] revenue
    c: Array  # [n, m] cost


class Scores(NamedTuple):
    """An estimator of what every treatment would bring and cost, from what was seen.

    `r` and `c` have the true surfaces as their conditional means given `x`, up to a term that is constant over
    treatments; `w` is the weight of the person's own observation at each treatment, with conditional mean 1.
    """

    r: Array  # [n, m] revenue scores
    c: Array  # [n, m] cost scores
    w: Array  # [n, m] 1[t = j] / p_j; ones where the truth is known


class Allocation(NamedTuple):
    """One treatment for each person under a budget, per person."""

    arm: Array  # [n] int, the treatment decided
    lam: Array  # [] multiplier: revenue that one more unit of budget would bring; 0 where the budget does not bind
    spend: Array  # [] predicted cost per person, at most the budget
    value: Array  # [] predicted revenue per person
    bound: Array  # [] no plan within the budget is predicted to bring more, per person

    @property
    def gap(self) -> Array:
        """Bound - value, []: how much better a plan could be at most, per person."""
        return self.bound - self.value


def num_arms(trial: Trial) -> int:
    """The number of treatments `m`, which the propensities carry."""
    return trial.p.shape[-1]


def take(trial: Trial, index: Array) -> Trial:
    """The rows `index` of a trial; propensities shared by all rows stay shared."""
    p = trial.p[index] if trial.p.ndim == 2 else trial.p
    of_rows = trial._replace(p=None)  # pyright: ignore[reportArgumentType]
    return jax.tree.map(lambda leaf: leaf[index], of_rows)._replace(p=p)


def joined(one: Trial, other: Trial) -> Trial:
    """The rows of both; propensities that all rows share stay shared."""
    shared = one.p if one.p.ndim == 1 else None
    parts = [trial if shared is None else trial._replace(p=trial.t) for trial in (one, other)]
    both = jax.tree.map(lambda *pair: jnp.concatenate(pair), *parts)
    return both if shared is None else both._replace(p=shared)


def of_mean_weight(trial: Trial) -> Trial:
    """The trial with weights of mean 1, so that a mean over rows of what is weighed is one over people."""
    return trial if trial.weight is None else trial._replace(weight=trial.weight / trial.weight.mean())


def mean_of_people(values: Array, weight: Array | None) -> Array:
    """The mean over people of `values` [n, ...], of rows that stand for `weight` [n] people each; None: for one."""
    return values.mean(axis=0) if weight is None else jnp.tensordot(weight / weight.sum(), values, axes=1)


class Units(NamedTuple):
    """The money that is one unit of revenue, and of cost, to a model."""

    r: Array  # []
    c: Array  # []


def in_units(trial: Trial, units: Units) -> Trial:
    """The trial with revenue and cost counted in units; a multiplier is then counted in `units.r / units.c`."""
    return trial._replace(r=trial.r / units.r, c=trial.c / units.c)


def pick(surface: Array, arm: Array) -> Array:
    """The entry of each row of `surface` [n, m] at `arm` [n]."""
    return jnp.take_along_axis(surface, arm[:, None], axis=1)[:, 0]


def stack(trees: list[Any]) -> Any:
    """Pytrees of one shape, stacked along a new first axis (one entry for each seed)."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
