"""Losses of the direct baselines: they learn a person's place in the plan, not an outcome (DFCL, section 6).

Binary losses take treatment 1 as treated and 0 as control. An arm's mean of y is sum_i w_i y_i / sum_i w_i over the
people of that arm, w = 1 / p of the treatment they had: the plain mean under one propensity for all, 0 for an arm that
the batch lacks.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.errors import refuse
from dfcl_jax.scores import observation_weights
from dfcl_jax.types import Trial, num_arms, pick


def roi_loss(s: Array, trial: Trial) -> Array:
    """DHCL's return on investment, the decision factor of DPM, from scores `s` [n].

    L = - [ mean_{t=1}(l) - mean_{t=0}(l) ],  l_i = r_i ln(q_i / (1 - q_i)) + c_i ln(1 - q_i),  q = sigmoid(s)

    Convex in s where treatment costs, with the least at q = uplift in r / uplift in c, which is to lie in (0, 1):
    choose units so. Where it does not, or an arm is missing, there is no least and s runs off; values and gradients
    stay finite.
    """
    # ln(q / (1 - q)) = s: nothing overflows however large a score.
    return -_uplift(trial.r * s + trial.c * jax.nn.log_sigmoid(-s), trial)


def uplift_rank_loss(s: Array, trial: Trial) -> Array:
    """Ranking by uplift in revenue, from scores `s` [n].

    L = - [ mean_{t=1}(r ln p) - mean_{t=0}(r ln p) ],  p = softmax(s) over the batch

    At the least the p of a group of people is its share of the total uplift, where every group's is positive. p is
    of the batch: batches do not add up to their union.
    """
    return -_uplift(trial.r * jax.nn.log_softmax(s), trial)


def direct_rank_loss(s: Array, trial: Trial, *, floor: ArrayLike = 1e-6) -> Array:
    """DRP, direct ranking: the cost of a unit of revenue when money goes by rank, from scores `s` [n].

    L = uplift_c(p) / uplift_r(p),  uplift_y(p) = sum_{t=1} p_i y_i - sum_{t=0} p_i y_i,

    p a softmax of tanh(s) within each arm. p is of the batch: batches do not add up to their union. An uplift in
    revenue below `floor` counts as `floor`: only cost teaches then.
    """
    # tanh bounds the exponent, so no maximum need be taken off. Weights make p a share of the whole population.
    weight = jnp.exp(jnp.tanh(s)) * pick(observation_weights(trial), trial.t)
    uplift_r, uplift_c = (_uplift(y, trial, weight) for y in (trial.r, trial.c))
    return uplift_c / jnp.maximum(uplift_r, floor)


def marginal_utility_loss(u: Array, trial: Trial) -> Array:
    """DHCL's marginal utility of each step up from a treatment to the next, from scores `u` [n, m - 1].

    L = mean_i w_i [ l_i(u_{i,t-1}) 1[t_i > 0] - l_i(u_{i,t}) 1[t_i < m - 1] ],  l_i(u) = c_i u^2 / 2 - r_i u

    with w_i = 1 / p_{t_i} and treatments in the order of their cost. Convex where each step costs, with the least at
    u_ij = (r_{j+1} - r_j) / (c_{j+1} - c_j) of people like i. A mean over people: batches of one size add up to their
    union. A missing arm leaves the steps beside it without a least; values and gradients stay finite.
    """
    w = observation_weights(trial)
    # +1 for the step below the treatment of the trial, -1 for the one above: one column a step.
    side = w[:, 1:] - w[:, :-1]
    return (side * (trial.c[:, None] * u**2 / 2 - trial.r[:, None] * u)).sum(axis=1).mean()


def _uplift(y: Array, trial: Trial, weight: Array | None = None) -> Array:
    """The mean of y over the treated less that over the controls."""
    if num_arms(trial) != 2:
        refuse("trial", found=f"{num_arms(trial)} treatments", expected="2, for an uplift")
    weight = pick(observation_weights(trial), trial.t) if weight is None else weight

    def mean(arm: int) -> Array:
        here = jnp.where(trial.t == arm, weight, 0)
        return (here * y).sum() / jnp.maximum(here.sum(), jnp.finfo(y.dtype).tiny)

    return mean(1) - mean(0)
