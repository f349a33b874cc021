"""Simulated trials, returned together with the truth."""

from dfcl_jax.data.simulate.confounded import (
    Confounded,
    Hybrid,
    Kept,
    Targeted,
    agreeing,
    confounded,
    hybrid,
    targeted,
)
from dfcl_jax.data.simulate.criteo_features import FEATURES, published_features
from dfcl_jax.data.simulate.criteo_like import CriteoDials, CriteoLike, criteo_like, criteo_population
from dfcl_jax.data.simulate.functions import RandomFunction, draw_function
from dfcl_jax.data.simulate.marketing import DISCOUNTS, WIDE, Marketing, MarketingDials, marketing, marketing_population
from dfcl_jax.data.simulate.population import Population, Simulation, draw, first_people, stream
from dfcl_jax.data.simulate.table import simulation_table

__all__ = [
    "DISCOUNTS",
    "FEATURES",
    "WIDE",
    "Confounded",
    "CriteoDials",
    "CriteoLike",
    "Hybrid",
    "Kept",
    "Marketing",
    "MarketingDials",
    "Population",
    "RandomFunction",
    "Simulation",
    "Targeted",
    "agreeing",
    "confounded",
    "criteo_like",
    "criteo_population",
    "draw",
    "draw_function",
    "first_people",
    "hybrid",
    "marketing",
    "marketing_population",
    "published_features",
    "simulation_table",
    "stream",
    "targeted",
]
