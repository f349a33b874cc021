"""Metrics: what a model or a policy is worth."""

from dfcl_jax.metrics.cost_curve import aucc, roi_score
from dfcl_jax.metrics.intervals import Interval, paired_interval
from dfcl_jax.metrics.policy_value import PolicyValue, eom, policy_value

__all__ = ["Interval", "PolicyValue", "aucc", "eom", "paired_interval", "policy_value", "roi_score"]
