"""A trial in the shape of CRITEO-UPLIFT: conversions bought with visits."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax.data.simulate.criteo_features import FEATURES, published_features
from dfcl_jax.data.simulate.features import mixed, normal_features
from dfcl_jax.data.simulate.functions import Moments, RandomFunction, draw_function, moments
from dfcl_jax.data.simulate.population import REFERENCE, Simulation
from dfcl_jax.errors import refuse
from dfcl_jax.types import Outcomes, Trial, pick

PROPENSITIES = (0.15, 0.85)
VISIT_RATE, CONVERSION_RATE = 0.046992, 0.00292


@dataclass(frozen=True, kw_only=True)
class CriteoDials:
    """What the population is like."""

    published: bool = False  # features and rates as those of the file; else mixed features, rates by population
    d: int = 12  # features, if they are mixed ones
    visit_rate: float | None = None  # expected, over people and treatments; none given: VISIT_RATE if published
    conversion_rate: float | None = None  # how rare the label is; none given: CONVERSION_RATE if published
    roi_spread: float = 1.0  # of the effects between people; 0 makes them equal, as logits
    effect_correlation: float = 0.0  # of the random functions behind the effects on visits and on conversions
    nonlinearity: float = 1.0  # weight of what a linear model misses
    units: int = 12  # of the nets in the true functions: capacity that they ask for

    def __post_init__(self) -> None:
        """Refuse rates that are none."""
        if self.published and self.d != len(FEATURES):
            refuse("d", found=self.d, expected=f"{len(FEATURES)}, as published")
        visit, conversion = self.rates
        most_conversions = 1 if visit is None else visit
        for name, rate, most in (("visit_rate", visit, 1), ("conversion_rate", conversion, most_conversions)):
            if rate is not None and not 0 < rate < most:
                refuse(name, found=rate, expected=f"a rate above 0 and below {most:g}")
        if not -1 <= self.effect_correlation <= 1:
            refuse("effect_correlation", found=self.effect_correlation, expected="a number of -1 to 1")

    @property
    def rates(self) -> tuple[float | None, float | None]:
        """Visits and conversions expected; None where they fall out as they do."""
        visit, conversion = (VISIT_RATE, CONVERSION_RATE) if self.published else (None, None)
        return (
            visit if self.visit_rate is None else self.visit_rate,
            conversion if self.conversion_rate is None else self.conversion_rate,
        )


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CriteoLike:
    """85% treated, few visits (the cost), fewer conversions (the revenue).

    A visit has logit a_v + 1.6 z_v, and 0.25 exp(0.7 z_u - 0.245) more when treated; a conversion, given the visit,
    a_c + z_c + 0.3 z_v, and 0.25 clip(z_w, -1, 3) + 0.1 more when treated. Each z is a random function of the
    features. With a_v = -4.25 and a_c = -3.35 visits are, over populations, 4.7% (standard deviation 0.3%) and
    conversions 0.4% (0.16%); where rates are asked for, a_v and a_c are solved for.
    """

    scaling: Moments  # of the features, [1, d]
    visit: RandomFunction
    visit_effect: RandomFunction
    conversion: RandomFunction
    conversion_effect: RandomFunction
    visit_intercept: Array  # []
    conversion_intercept: Array  # []
    dials: CriteoDials = field(metadata={"static": True})

    def features(self, key: Array, n: int) -> Array:
        """N people's features, [n, d]."""
        return self.scaling.standardise(_raw_features(key, n, self.dials))

    def outcomes(self, x: Array) -> Outcomes:
        """Probability of a conversion and of a visit, [n, 2] each."""
        visit, conversion = self._logits(x)
        c = jax.nn.sigmoid(self.visit_intercept + visit)
        return Outcomes(r=c * jax.nn.sigmoid(self.conversion_intercept + conversion), c=c)

    def _logits(self, x: Array) -> tuple[Array, Array]:
        """Of a visit and, given it, a conversion, but for intercepts, [n, 2] each."""
        spread, rho = self.dials.roi_spread, self.dials.effect_correlation
        functions = (self.visit, self.visit_effect, self.conversion, self.conversion_effect)
        z_v, z_u, z_c, z_w = (function(x)[:, None] for function in functions)
        if rho != 0:
            z_w = rho * z_u + (1 - rho**2) ** 0.5 * z_w
        treated = jnp.array([[0.0, 1.0]])
        visit = 1.6 * z_v + treated * 0.25 * jnp.exp(0.7 * spread * z_u - 0.245 * spread**2)
        conversion = z_c + 0.3 * z_v + treated * (0.25 * spread * jnp.clip(z_w, -1, 3) + 0.1)
        return visit, conversion

    def respond(self, key: Array, truth: Outcomes, t: Array) -> tuple[Array, Array]:
        """Conversion and visit seen under treatment t [n], 0 or 1, [n] each."""
        visit_key, conversion_key = jax.random.split(key)
        return _respond(visit_key, conversion_key, truth, t)

    def propensities(self, truth: Outcomes) -> Array:
        """0.15 and 0.85."""
        del truth
        return jnp.array(PROPENSITIES)


def criteo_like(key: Array, n: int, **dials: Any) -> Simulation:
    """A trial in the shape of CRITEO-UPLIFT on a population drawn anew for each key; see `CriteoLike`.

    Features and functions are standardised over these n people, rates are met over them. For several trials or a stream
    of one population, `criteo_population`.

    Args:
        key: population, people and outcomes.
        n: people.
        dials: of `CriteoDials`, such as published=True.
    """
    given = CriteoDials(**dials)
    x_key, *function_keys, t_key, visit_key, conversion_key = jax.random.split(key, 8)
    raw = _raw_features(x_key, n, given)
    population = _measured(function_keys, raw, given)
    x = population.scaling.standardise(raw)
    truth = population.outcomes(x)
    p = population.propensities(truth)
    t = jax.random.bernoulli(t_key, p[1], (n,)).astype(jnp.int32)
    return Simulation(Trial(x, t, *_respond(visit_key, conversion_key, truth, t), p), truth)


@partial(jax.jit, static_argnames="dials")
def criteo_population(key: Array, dials: CriteoDials = CriteoDials(published=True)) -> CriteoLike:
    """A population to draw people from (`draw`, `stream`).

    Its features, functions and rates are those of 65,536 people of its own.
    """
    x_key, *function_keys = jax.random.split(key, 5)
    return _measured(function_keys, _raw_features(x_key, REFERENCE, dials), dials)


def _measured(function_keys: list[Array], raw: Array, dials: CriteoDials) -> CriteoLike:
    """The population whose features and functions are standard over the people `raw` [n, d], who have its rates."""
    scaling = moments(raw)
    x = scaling.standardise(raw)
    v, u, c, w = (draw_function(k, x, units=dials.units, nonlinearity=dials.nonlinearity) for k in function_keys)
    intercepts = (jnp.asarray(a, raw.dtype) for a in (-4.25, -3.35))
    population = CriteoLike(scaling, v, u, c, w, *intercepts, dials=dials)
    visit, conversion = population._logits(x)
    p = jnp.array([PROPENSITIES])
    visit_rate, conversion_rate = dials.rates
    if visit_rate is not None:
        solved = _intercept(lambda a: (p * jax.nn.sigmoid(a + visit)).sum(axis=1).mean(), visit_rate)
        population = replace(population, visit_intercept=solved.astype(raw.dtype))
    if conversion_rate is not None:
        visits = p * jax.nn.sigmoid(population.visit_intercept + visit)
        solved = _intercept(lambda a: (visits * jax.nn.sigmoid(a + conversion)).sum(axis=1).mean(), conversion_rate)
        population = replace(population, conversion_intercept=solved.astype(raw.dtype))
    return population


def _intercept(rate: Callable[[Array], Array], target: float) -> Array:
    """The intercept in [-30, 30] at which a rate that rises in it is the target, []."""

    def halve(_: int, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = (low + high) / 2
        above = rate(middle) > target
        return jnp.where(above, low, middle), jnp.where(above, middle, high)

    low, high = jax.lax.fori_loop(0, 60, halve, (jnp.array(-30.0), jnp.array(30.0)))
    return (low + high) / 2


def _respond(visit_key: Array, conversion_key: Array, truth: Outcomes, t: Array) -> tuple[Array, Array]:
    visit, conversion = pick(truth.c, t), pick(truth.r, t)
    c = jax.random.bernoulli(visit_key, visit)
    r = c & jax.random.bernoulli(conversion_key, conversion / visit)
    return r.astype(visit.dtype), c.astype(visit.dtype)


def _raw_features(key: Array, n: int, dials: CriteoDials) -> Array:
    if dials.published:
        return published_features(key, n)
    return mixed(normal_features(key, n, dials.d)[0])
