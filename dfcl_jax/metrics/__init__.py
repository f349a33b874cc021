"""Metrics: what a model or a policy is worth, and how surely."""

from dfcl_jax.metrics import diagnostics
from dfcl_jax.metrics.bootstrap import Replicates, Statistic, bootstrap, draw_weights
from dfcl_jax.metrics.checks import check_scores, check_trial
from dfcl_jax.metrics.cost_curve import aucc, exact_aucc, marginal_roi_score, mt_aucc, roi_score, true_aucc
from dfcl_jax.metrics.crossfitted import Fold, FoldValue, fold_statistic, fold_value
from dfcl_jax.metrics.doubts import doubts
from dfcl_jax.metrics.gain import contrasts, qini, qini_area, untargeted, with_control
from dfcl_jax.metrics.intervals import (
    Interval,
    clearly_positive,
    normal_interval,
    paired_interval,
    per_cent,
    seeds_interval,
)
from dfcl_jax.metrics.parts import by_cluster, inflation, largest_t, parts_interval, standard_error
from dfcl_jax.metrics.policy_value import eom, influence, policy_value
from dfcl_jax.metrics.regret import Regret, regret
from dfcl_jax.metrics.rests import (
    LEAST_CONVERSIONS,
    LEAST_PEOPLE,
    rests_on,
    trustworthy,
    weakest,
    why_areas_withheld,
    why_withheld,
)
from dfcl_jax.metrics.spend_curve import Expected, MixedCurve, SpendCurve
from dfcl_jax.metrics.spend_estimate import at_least, spend_curve
from dfcl_jax.metrics.undefined import why_undefined
from dfcl_jax.metrics.uplift import causalml_auuc, causalml_qini, sklift_auuc, sklift_qini, uplift_at_k
from dfcl_jax.metrics.value_steps import Curve, Normalise, PolicyValue, ValueSteps, value_steps

__all__ = [
    "LEAST_CONVERSIONS",
    "LEAST_PEOPLE",
    "Curve",
    "Expected",
    "Fold",
    "FoldValue",
    "Interval",
    "MixedCurve",
    "Normalise",
    "PolicyValue",
    "Regret",
    "Replicates",
    "SpendCurve",
    "Statistic",
    "ValueSteps",
    "at_least",
    "aucc",
    "bootstrap",
    "by_cluster",
    "causalml_auuc",
    "causalml_qini",
    "check_scores",
    "check_trial",
    "clearly_positive",
    "contrasts",
    "diagnostics",
    "doubts",
    "draw_weights",
    "eom",
    "exact_aucc",
    "fold_statistic",
    "fold_value",
    "inflation",
    "influence",
    "largest_t",
    "marginal_roi_score",
    "mt_aucc",
    "normal_interval",
    "paired_interval",
    "parts_interval",
    "per_cent",
    "policy_value",
    "qini",
    "qini_area",
    "regret",
    "rests_on",
    "roi_score",
    "seeds_interval",
    "sklift_auuc",
    "sklift_qini",
    "spend_curve",
    "standard_error",
    "true_aucc",
    "trustworthy",
    "untargeted",
    "uplift_at_k",
    "value_steps",
    "weakest",
    "why_areas_withheld",
    "why_undefined",
    "why_withheld",
    "with_control",
]
