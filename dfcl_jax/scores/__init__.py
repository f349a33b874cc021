"""Score surfaces: estimators of what every treatment would bring, as [n, m] arrays.

A decision loss weighs the decision that a model makes with these surfaces, a policy value picks them at the decided
treatments; neither knows which estimator it was given.
"""

from dfcl_jax.scores.crossfit import crossfit
from dfcl_jax.scores.estimators import aipw, centred, ipw, least_variance_base, mean_base, observation_weights, truth
from dfcl_jax.scores.known import known_costs
from dfcl_jax.scores.spread import in_own_units, outcome_scale, winsorised

__all__ = [
    "aipw",
    "centred",
    "crossfit",
    "in_own_units",
    "ipw",
    "known_costs",
    "least_variance_base",
    "mean_base",
    "observation_weights",
    "outcome_scale",
    "truth",
    "winsorised",
]
