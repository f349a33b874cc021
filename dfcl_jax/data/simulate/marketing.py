"""Discounts, five unless others are given, on a population with heavy-tailed base demand."""

from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import ndtri

from dfcl_jax.data.simulate.features import mixed, normal_features
from dfcl_jax.data.simulate.functions import Moments, RandomFunction, draw_function, moments
from dfcl_jax.data.simulate.population import REFERENCE, Simulation
from dfcl_jax.errors import refuse
from dfcl_jax.types import Outcomes, Trial, pick

DISCOUNTS = (0.0, 0.05, 0.10, 0.15, 0.20)


@dataclass(frozen=True, kw_only=True)
class MarketingDials:
    """Options that make the population easy or hard; sample size and a network's `hidden` layers are set elsewhere."""

    discounts: tuple[float, ...] = DISCOUNTS  # the treatments, the smallest first
    d: int = 30  # number of features: numeric ones, indicators of categories, irrelevant ones
    categories: tuple[int, ...] = ()  # levels of each categorical feature, with an indicator for each level
    irrelevant: int = 0  # number of features that nothing depends on
    base_spread: float = 1.0  # s, standard deviation of log base demand, sets the tail; 0 makes demand homogeneous
    noise: float = 0.5  # standard deviation over mean of observed revenue, among people who order
    ordering: float = 1.0  # share of people who order at all: how rare a label is
    nonlinearity: float = 1.0  # weight of the part that a linear model misses
    units: int = 12  # hidden units of the true functions: the capacity that a model needs
    cost_correlation: float = 1.0  # of log demand behind revenue and behind cost; 1: cost is the discount paid
    week_spread: float = 0.1  # standard deviation of a week's shift of log demand, and of each feature

    def __post_init__(self) -> None:
        """Check that the options describe a population."""
        if self.numeric < 2:
            refuse("d", found=self.d, expected="at least 2 more than indicators and irrelevant features")
        rising = len(self.discounts) > 1 and all(a < b for a, b in pairwise((*self.discounts, 1.0)))
        checks = {
            "base_spread": (self.base_spread, 0 <= self.base_spread < float("inf"), "a number of at least 0"),
            "noise": (self.noise, 0 < self.noise < float("inf"), "a number above 0"),
            "ordering": (self.ordering, 0 < self.ordering <= 1, "a share above 0"),
            "cost_correlation": (self.cost_correlation, -1 <= self.cost_correlation <= 1, "a number of -1 to 1"),
            "categories": (self.categories, all(levels > 1 for levels in self.categories), "at least 2 levels each"),
            "discounts": (
                self.discounts,
                rising and min(self.discounts) >= 0,
                "at least 2 numbers from 0 to below 1, rising",
            ),
        }
        for name, (value, good, expected) in checks.items():
            if not good:
                refuse(name, found=value, expected=expected)

    @property
    def numeric(self) -> int:
        """Return the number of numeric features, without irrelevant ones."""
        return self.d - sum(self.categories) - self.irrelevant


# As many features as in the paper's marketing data: 60 numeric, a third log-normal, 4 categories, 26 irrelevant.
WIDE = MarketingDials(d=107, categories=(3, 4, 6, 8), irrelevant=26)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Marketing:
    """Discounts, given with equal probability, and how people respond to them.

    With z_b, z_A, z_k random functions of the features, b = exp(s z_b - s^2 / 2), A = 1.2 sigmoid(2 z_A - 2) and
    k = 6 exp(z_k), the expected outcomes of a discount d_j, the largest of which is D, are

    R_j = b (1 + A (1 - exp(-k d_j)) / (1 - exp(-k D)))  and  C_j = d_j R_j: the discount is paid on every order.

    Observed revenue is R_t Gamma(1/v, v) with v = noise^2, and observed cost is d_t times that. Only a share q of
    people order, and their revenue is 1/q times as much. With a `cost_correlation` rho below 1, the discount is paid on
    demand with another base, C_j = d_j R_j b' / b, log b' = s (rho z_b + sqrt(1 - rho^2) z_c) - s^2 / 2.
    """

    scaling: Moments  # of the features, [1, d]
    base: RandomFunction
    lift: RandomFunction
    rate: RandomFunction
    cost: RandomFunction
    week_key: Array
    drift: Array  # [1, columns] this week's shift of the columns that features are made of
    season: Array  # [] this week's shift of log demand
    dials: MarketingDials = field(metadata={"static": True})

    def features(self, key: Array, n: int) -> Array:
        """Draw the features of n people, [n, d]."""
        return self.scaling.standardise(_raw_features(key, n, self.dials, self.drift))

    def outcomes(self, x: Array) -> Outcomes:
        """Return the expected revenue and cost of every discount for people of features x [n, d], [n, m] each."""
        s, rho, discounts = self.dials.base_spread, self.dials.cost_correlation, jnp.array(self.dials.discounts)
        z_b = self.base(x)
        base = jnp.exp(s * z_b - s**2 / 2)[:, None] * jnp.exp(self.season)
        lift = 1.2 * jax.nn.sigmoid(2 * self.lift(x) - 2)[:, None]
        rate = 6 * jnp.exp(self.rate(x))[:, None]
        revenue = base * (1 + lift * jnp.expm1(-rate * discounts[None, :]) / jnp.expm1(-rate * discounts[-1]))
        cost = discounts[None, :] * revenue
        if rho < 1:
            cost = cost * jnp.exp(s * ((rho - 1) * z_b + (1 - rho**2) ** 0.5 * self.cost(x)))[:, None]
        return Outcomes(r=revenue, c=cost)

    def respond(self, key: Array, truth: Outcomes, t: Array) -> tuple[Array, Array]:
        """Draw the revenue and cost under treatment t [n], [n] each."""
        shape, q = 1 / self.dials.noise**2, self.dials.ordering
        revenue = pick(truth.r, t)
        r = revenue * jax.random.gamma(key, shape, t.shape) / shape
        if q < 1:
            r = r * jax.random.bernoulli(jax.random.fold_in(key, 1), q, t.shape) / q
        if self.dials.cost_correlation < 1:
            return r, r * pick(truth.c, t) / revenue
        return r, jnp.array(self.dials.discounts)[t] * r

    def propensities(self, truth: Outcomes) -> Array:
        """Return equal propensities, [m]."""
        del truth
        return jnp.full(len(self.dials.discounts), 1 / len(self.dials.discounts))

    def in_week(self, week: Array | int) -> "Marketing":
        """Return the same functions in another week: demand and features are shifted, except in week 0."""
        season_key, drift_key = jax.random.split(jax.random.fold_in(self.week_key, week))
        size = jnp.where(jnp.asarray(week) == 0, 0.0, self.dials.week_spread).astype(self.drift.dtype)
        drift = size * jax.random.normal(drift_key, self.drift.shape)
        return replace(self, drift=drift, season=size * jax.random.normal(season_key))


def marketing(key: Array, n: int, **dials: Any) -> Simulation:
    """Draw a trial of discounts from a new population for each key; see `Marketing`.

    Features and functions are standardised over these n people. For several trials, weeks or a stream of one
    population, use `marketing_population`.

    Args:
        key: for the population, people and outcomes; the same key gives the same trial.
        n: number of people.
        dials: options of `MarketingDials`, such as d and base_spread.
    """
    given = MarketingDials(**dials)
    x_key, *function_keys, t_key, noise_key = jax.random.split(key, 6)
    raw = _raw_features(x_key, n, given)
    population = _measured(key, function_keys, raw, given)
    x = population.scaling.standardise(raw)
    truth = population.outcomes(x)
    t = jax.random.randint(t_key, (n,), 0, len(given.discounts))
    r, c = population.respond(noise_key, truth, t)
    return Simulation(Trial(x, t, r, c, population.propensities(truth)), truth)


@partial(jax.jit, static_argnames="dials")
def marketing_population(key: Array, dials: MarketingDials = MarketingDials()) -> Marketing:
    """Return a population to draw people from (`draw`, `stream`), in week 0 (see `Marketing.in_week`).

    Its features and functions are standardised over 65,536 people of its own.
    """
    x_key, *function_keys = jax.random.split(key, 4)
    return _measured(key, function_keys, _raw_features(x_key, REFERENCE, dials), dials)


def _measured(key: Array, function_keys: list[Array], raw: Array, dials: MarketingDials) -> Marketing:
    """Return the population that is standardised over the people `raw` [n, d]."""
    scaling = moments(raw)
    x = scaling.standardise(raw)
    cost_key, week_key = jax.random.split(jax.random.fold_in(key, 1))
    base, lift, rate, cost = (
        draw_function(
            function_key,
            x,
            informative=dials.d - dials.irrelevant,
            units=dials.units,
            nonlinearity=dials.nonlinearity,
        )
        for function_key in (*function_keys, cost_key)
    )
    drift = jnp.zeros((1, dials.numeric + len(dials.categories)), raw.dtype)
    return Marketing(scaling, base, lift, rate, cost, week_key, drift, jnp.zeros((), raw.dtype), dials)


def _raw_features(key: Array, n: int, dials: MarketingDials, drift: Array | float = 0.0) -> Array:
    """Draw numeric features, indicators of categories and irrelevant features, not standardised, [n, d].

    Categories are cut from further columns like the numeric ones, with the share of level l proportional to 1 / l.
    Irrelevant features are normal and independent of everything else.
    """
    informative = dials.numeric + len(dials.categories)
    z, irrelevant = normal_features(key, n, informative, dials.irrelevant)
    z = z + drift
    x = mixed(z[:, : dials.numeric])
    if dials.d == dials.numeric:
        return x
    indicators = [_indicators(z[:, dials.numeric + k], levels) for k, levels in enumerate(dials.categories)]
    return jnp.concatenate([x, *indicators, irrelevant], axis=1)


def _indicators(z: Array, levels: int) -> Array:
    shares = 1 / jnp.arange(1, levels + 1)
    cuts = ndtri(jnp.cumsum(shares / shares.sum())[:-1])
    return jax.nn.one_hot((z[:, None] > cuts[None, :]).sum(axis=1), levels, dtype=z.dtype)
