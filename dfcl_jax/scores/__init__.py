"""Score surfaces: estimators of the outcome of every treatment, as [n, m] arrays.

A decision loss weights a model's decisions with these surfaces, and a policy value picks them at the decided
treatments. Neither depends on which estimator it receives.
"""

from dfcl_jax.scores.crossfit import crossfit
from dfcl_jax.scores.estimators import (
    aipw,
    centred,
    ipw,
    least_variance_base,
    mean_base,
    observation_weights,
    truth,
    weighed,
)
from dfcl_jax.scores.known import known_costs, mean_costs
from dfcl_jax.scores.spread import in_own_units, outcome_level, outcome_scale, tails, winsorised
from dfcl_jax.scores.surfaces import (
    Estimator,
    OnSample,
    aipw_in_own_units,
    aipw_in_root_units,
    centred_in_own_units,
    centred_winsorised,
    raw,
    raw_by_precision,
    raw_winsorised,
    unweighted,
)

__all__ = [
    "Estimator",
    "OnSample",
    "aipw",
    "aipw_in_own_units",
    "aipw_in_root_units",
    "centred",
    "centred_in_own_units",
    "centred_winsorised",
    "crossfit",
    "in_own_units",
    "ipw",
    "known_costs",
    "least_variance_base",
    "mean_base",
    "mean_costs",
    "observation_weights",
    "outcome_level",
    "outcome_scale",
    "raw",
    "raw_by_precision",
    "raw_winsorised",
    "tails",
    "truth",
    "unweighted",
    "weighed",
    "winsorised",
]
