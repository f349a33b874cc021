"""Losses of the direct baselines, which learn a decision factor or a rank instead of outcomes (DFCL, section 6).

Two-arm losses take treatment 1 as treated and 0 as control. The mean of y in an arm is sum_i w_i y_i / sum_i w_i over
the people of that arm, with w = 1 / p of the treatment they received. With one propensity for everybody this is the
plain mean. It is 0 for an arm that the batch lacks.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.errors import refuse
from dfcl_jax.scores import observation_weights
from dfcl_jax.types import Trial, num_arms, pick


def roi_loss(s: Array, trial: Trial) -> Array:
    """DRP (Direct ROI Prediction), the two-arm loss of DHCL, from scores `s` [n].

    L = - [ mean_{t=1}(l) - mean_{t=0}(l) ],  l_i = r_i ln(q_i / (1 - q_i)) + c_i ln(1 - q_i),  q = sigmoid(s)

    The loss is convex in s if treatment costs more than control. Its minimum is at q = uplift in r / uplift in c, which
    must lie in (0, 1): choose the units accordingly. If it does not, or if an arm is missing, there is no minimum and s
    diverges; values and gradients stay finite.
    """
    # ln(q / (1 - q)) = s, so large scores do not overflow.
    return -_uplift(trial.r * s + trial.c * jax.nn.log_sigmoid(-s), trial)


def uplift_rank_loss(s: Array, trial: Trial) -> Array:
    """Ranking loss for the uplift in revenue, from scores `s` [n].

    L = - [ mean_{t=1}(r ln p) - mean_{t=0}(r ln p) ],  p = softmax(s) over the batch

    At the minimum, the p of a group of people is its share of the total uplift, if every group's uplift is positive.
    The softmax depends on the batch, so the losses of batches do not add up to the loss of their union.
    """
    return -_uplift(trial.r * jax.nn.log_softmax(s), trial)


def direct_rank_loss(s: Array, trial: Trial, *, floor: ArrayLike = 1e-6) -> Array:
    """Direct Rank (Du et al. 2019): cost per unit of revenue when money goes by rank, from scores `s` [n].

    L = uplift_c(p) / uplift_r(p),  uplift_y(p) = sum_{t=1} p_i y_i - sum_{t=0} p_i y_i,

    with p a softmax of tanh(s) within each arm. The softmax depends on the batch, so the losses of batches do not add
    up to the loss of their union. An uplift in revenue below `floor` counts as `floor`; then only cost has a gradient.
    """
    # tanh bounds the exponent, so there is no maximum to subtract. Weights make p a share of the whole population.
    weight = jnp.exp(jnp.tanh(s)) * pick(observation_weights(trial), trial.t)
    uplift_r, uplift_c = (_uplift(y, trial, weight) for y in (trial.r, trial.c))
    return uplift_c / jnp.maximum(uplift_r, floor)


def marginal_utility_loss(u: Array, trial: Trial) -> Array:
    """DPM, the multi-arm loss of DHCL: the marginal utility of each step up in treatment, from scores `u` [n, m - 1].

    L = mean_i w_i [ l_i(u_{i,t-1}) 1[t_i > 0] - l_i(u_{i,t}) 1[t_i < m - 1] ],  l_i(u) = c_i u^2 / 2 - r_i u

    with w_i = 1 / p_{t_i} and treatments in the order of their cost. The loss is convex if every step has a positive
    cost. Its minimum is at u_ij = (r_{j+1} - r_j) / (c_{j+1} - c_j), in expected outcomes of people like i. It is a
    mean over people: the losses of batches of one size average to the loss of their union. If an arm is missing, the
    steps beside it have no minimum; values and gradients stay finite.
    """
    w = observation_weights(trial)
    # One column per step: +w for the step up to the observed treatment, -w for the step up from it.
    side = w[:, 1:] - w[:, :-1]
    return (side * (trial.c[:, None] * u**2 / 2 - trial.r[:, None] * u)).sum(axis=1).mean()


def _uplift(y: Array, trial: Trial, weight: Array | None = None) -> Array:
    """Return the mean of y over the treated minus the mean over the controls."""
    if num_arms(trial) != 2:
        refuse("trial", found=f"{num_arms(trial)} treatments", expected="2, for an uplift")
    weight = pick(observation_weights(trial), trial.t) if weight is None else weight

    def mean(arm: int) -> Array:
        here = jnp.where(trial.t == arm, weight, 0)
        return (here * y).sum() / jnp.maximum(here.sum(), jnp.finfo(y.dtype).tiny)

    return mean(1) - mean(0)
