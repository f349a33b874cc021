"""Simulated trials that return the truth beside what was seen."""

from dfcl_jax.data.simulate.criteo_features import published_features
from dfcl_jax.data.simulate.criteo_like import CriteoDials, CriteoLike, criteo_like, criteo_population
from dfcl_jax.data.simulate.marketing import DISCOUNTS, WIDE, Marketing, MarketingDials, marketing, marketing_population
from dfcl_jax.data.simulate.population import Population, Simulation, draw, first_people, stream

__all__ = [
    "DISCOUNTS",
    "WIDE",
    "CriteoDials",
    "CriteoLike",
    "Marketing",
    "MarketingDials",
    "Population",
    "Simulation",
    "criteo_like",
    "criteo_population",
    "draw",
    "first_people",
    "marketing",
    "marketing_population",
    "published_features",
    "stream",
]
