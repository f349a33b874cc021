"""A trial in the shape of CRITEO-UPLIFT: visits are the cost, conversions the revenue."""

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
    """Options of the population."""

    published: bool = False  # features and rates of the file; otherwise mixed features, rates by population
    d: int = 12  # number of features, if they are mixed
    visit_rate: float | None = None  # expected, over people and treatments; default VISIT_RATE if published
    conversion_rate: float | None = None  # how rare the label is; default CONVERSION_RATE if published
    roi_spread: float = 1.0  # spread of the effects between people; 0 makes effects on the logits equal
    effect: float = 1.0  # strength of the effects on both logits
    signal: float = 1.0  # strength of what features say of visits and conversions without treatment
    effect_correlation: float = 0.0  # of the random functions behind the effects on visits and on conversions
    nonlinearity: float = 1.0  # weight of the part that a linear model misses
    units: int = 12  # hidden units of the true functions: the capacity that a model needs

    def __post_init__(self) -> None:
        """Check the number of features, the rates, the strengths and the correlation."""
        if self.published and self.d != len(FEATURES):
            refuse("d", found=self.d, expected=f"{len(FEATURES)}, as published")
        visit, conversion = self.rates
        most_conversions = 1 if visit is None else visit
        for name, rate, most in (("visit_rate", visit, 1), ("conversion_rate", conversion, most_conversions)):
            if rate is not None and not 0 < rate < most:
                refuse(name, found=rate, expected=f"a rate above 0 and below {most:g}")
        for name, strength in (("effect", self.effect), ("signal", self.signal)):
            if not 0 <= strength < float("inf"):
                refuse(name, found=strength, expected="a finite number of at least 0")
        if not -1 <= self.effect_correlation <= 1:
            refuse("effect_correlation", found=self.effect_correlation, expected="a number of -1 to 1")

    @property
    def rates(self) -> tuple[float | None, float | None]:
        """Return the expected rates of visits and of conversions; None if a rate is not prescribed."""
        visit, conversion = (VISIT_RATE, CONVERSION_RATE) if self.published else (None, None)
        return (
            visit if self.visit_rate is None else self.visit_rate,
            conversion if self.conversion_rate is None else self.conversion_rate,
        )


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CriteoLike:
    """A population with 85% treated, few visits (the cost) and fewer conversions (the revenue).

    A visit has logit a_v + 1.6 z_v, plus 0.25 exp(0.7 z_u - 0.245) if treated. A conversion, given the visit, has logit
    a_c + z_c + 0.3 z_v, plus 0.25 clip(z_w, -1, 3) + 0.1 if treated. Each z is a random function of the features. With
    a_v = -4.25 and a_c = -3.35, the rate of visits over populations is 4.7% (standard deviation 0.3%) and that of
    conversions 0.4% (0.16%). If rates are prescribed, a_v and a_c are solved for. `effect` multiplies what treatment
    adds to both logits, `signal` all that the features say without it.
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
        """Draw the features of n people, [n, d]."""
        return self.scaling.standardise(_raw_features(key, n, self.dials))

    def outcomes(self, x: Array) -> Outcomes:
        """Return the probabilities of a conversion and of a visit, [n, 2] each."""
        visit, conversion = self._logits(x)
        c = jax.nn.sigmoid(self.visit_intercept + visit)
        return Outcomes(r=c * jax.nn.sigmoid(self.conversion_intercept + conversion), c=c)

    def _logits(self, x: Array) -> tuple[Array, Array]:
        """Return the logits of a visit and, given it, of a conversion, without intercepts, [n, 2] each."""
        spread, rho = self.dials.roi_spread, self.dials.effect_correlation
        effect, signal = self.dials.effect, self.dials.signal
        functions = (self.visit, self.visit_effect, self.conversion, self.conversion_effect)
        z_v, z_u, z_c, z_w = (function(x)[:, None] for function in functions)
        if rho != 0:
            z_w = rho * z_u + (1 - rho**2) ** 0.5 * z_w
        treated = jnp.array([[0.0, effect]])
        visit = 1.6 * signal * z_v + treated * 0.25 * jnp.exp(0.7 * spread * z_u - 0.245 * spread**2)
        conversion = signal * z_c + 0.3 * signal * z_v + treated * (0.25 * spread * jnp.clip(z_w, -1, 3) + 0.1)
        return visit, conversion

    def respond(self, key: Array, truth: Outcomes, t: Array) -> tuple[Array, Array]:
        """Draw the conversion and visit under treatment t [n], 0 or 1, [n] each."""
        visit_key, conversion_key = jax.random.split(key)
        return _respond(visit_key, conversion_key, truth, t)

    def propensities(self, truth: Outcomes) -> Array:
        """Return 0.15 and 0.85."""
        del truth
        return jnp.array(PROPENSITIES)


def criteo_like(key: Array, n: int, **dials: Any) -> Simulation:
    """Draw a trial in the shape of CRITEO-UPLIFT from a new population for each key; see `CriteoLike`.

    Features and functions are standardised, and rates met, over these n people. For several trials or a stream of one
    population, use `criteo_population`.

    Args:
        key: for the population, people and outcomes.
        n: number of people.
        dials: options of `CriteoDials`, such as published=True.
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
    """Return a population to draw people from (`draw`, `stream`).

    Its features and functions are standardised, and its rates met, over 65,536 people of its own.
    """
    x_key, *function_keys = jax.random.split(key, 5)
    return _measured(function_keys, _raw_features(x_key, REFERENCE, dials), dials)


def _measured(function_keys: list[Array], raw: Array, dials: CriteoDials) -> CriteoLike:
    """Return the population that is standardised, and meets its rates, over the people `raw` [n, d]."""
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
    """Find the intercept in [-30, 30] at which an increasing rate is the target, []."""

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
