"""Populations logged by a targeting policy: observational data (OBS) beside a small randomised trial (RCT)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.data.simulate.functions import Moments, moments
from dfcl_jax.data.simulate.population import REFERENCE, Population, Simulation, draw
from dfcl_jax.errors import refuse
from dfcl_jax.types import Outcomes, Trial, num_arms, take


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Targeted:
    """A population in which people who bring more revenue get more expensive treatments.

    p_ij is proportional to p_j exp(strength u_i s_j). p_j are the propensities of the original population. u_i is the
    standardised log of a person's mean true revenue, clipped to +-3. s_j is the rank of treatment j by mean cost,
    scaled from -1 to 1. Strength 0 is the randomised trial.
    """

    population: Population
    demand: Moments  # of log mean revenue, [1]
    place: Array  # [m] s
    strength: Array  # []

    def features(self, key: Array, n: int) -> Array:
        """Draw features as the population does."""
        return self.population.features(key, n)

    def outcomes(self, x: Array) -> Outcomes:
        """Return the population's outcomes."""
        return self.population.outcomes(x)

    def respond(self, key: Array, truth: Outcomes, t: Array) -> tuple[Array, Array]:
        """Draw responses as the population does."""
        return self.population.respond(key, truth, t)

    def propensities(self, truth: Outcomes) -> Array:
        """Return p_ij, [n, m]."""
        u = jnp.clip(self.demand.standardise(_log_demand(truth)), -3, 3)
        design = jnp.log(jnp.atleast_2d(self.population.propensities(truth)))
        return jax.nn.softmax(design + self.strength * u[:, None] * self.place[None, :], axis=1)


def targeted(population: Population, key: Array, *, strength: ArrayLike = 1.0) -> Targeted:
    """Return the population, logged by a targeting policy.

    Args:
        population: one with positive expected revenues.
        key: for the people over whom log revenue is standardised.
        strength: 0 is randomised; at 1 the odds of the most expensive to the cheapest treatment differ by a factor e^2
            between people one deviation apart.
    """
    truth = draw(population, key, REFERENCE).truth
    rank = jnp.argsort(jnp.argsort(truth.c.mean(axis=0)))
    place = (2 * rank / (len(rank) - 1) - 1).astype(truth.r.dtype)
    return Targeted(population, moments(_log_demand(truth)), place, jnp.asarray(strength, truth.r.dtype))


def _log_demand(truth: Outcomes) -> Array:
    return jnp.log(truth.r.mean(axis=1))


class Confounded(NamedTuple):
    """Two data sets from one population."""

    obs: Simulation  # logged by a targeting policy; its propensities are known, [n_obs, m]
    rct: Simulation  # randomised


def confounded(population: Population, key: Array, n_obs: int, n_rct: int, *, strength: ArrayLike = 1.0) -> Confounded:
    """Draw many people logged by `targeted`, and few who are randomised."""
    policy_key, obs_key, rct_key = jax.random.split(key, 3)
    logged = targeted(population, policy_key, strength=strength)
    return Confounded(draw(logged, obs_key, n_obs), draw(population, rct_key, n_rct))


class Kept(NamedTuple):
    """The people whose treatment agrees with a policy."""

    rows: np.ndarray  # [k] row numbers in the trial, increasing
    p: np.ndarray  # [k, m] propensities given that they were kept; [m] shares of treatments if some propensity is 0


def agreeing(key: Array, trial: Trial, policy: ArrayLike) -> Kept:
    """Log a trial by a policy after the fact: keep the people whose treatment is the one that the policy draws.

    Among the kept, P(t = j | x) = p_j q_j / sum_k p_k q_k. A person is kept with probability sum_k p_k q_k; if this
    depends on x, the kept are another population. With a deterministic policy every kept person could have had only one
    treatment, and no weights can correct that.

    Args:
        key: for the policy's draws.
        trial: n people.
        policy: q, its probabilities of each treatment, [n, m].

    Raises:
        InputError: probabilities that have another shape, are negative, or do not sum to 1.
    """
    q = np.asarray(policy, np.float64)
    n, m = len(trial.t), num_arms(trial)
    if q.shape != (n, m):
        refuse("policy", found=f"shape {q.shape}", expected=f"({n}, {m})")
    bad = np.flatnonzero((q < 0).any(axis=1) | ~(np.abs(q.sum(axis=1) - 1) <= 1e-4))
    if bad.size:
        refuse(f"policy, row {bad[0]}", found=q[bad[0]].tolist(), expected="probabilities that sum to 1")
    chance = np.asarray(jax.random.uniform(key, (n,)))
    rows = np.flatnonzero(chance < q[np.arange(n), np.asarray(trial.t)])
    joint = (np.atleast_2d(np.asarray(trial.p, np.float64)) * q)[rows]
    if (joint > 0).all():
        return Kept(rows, joint / joint.sum(axis=1, keepdims=True))
    return Kept(rows, np.bincount(np.asarray(trial.t)[rows], minlength=m) / max(len(rows), 1))


class Hybrid(NamedTuple):
    """A trial split into observational data and a small trial."""

    obs: Trial  # logged by a policy
    train: Trial  # randomised, as are the other two
    valid: Trial
    test: Trial
    rows: tuple[np.ndarray, ...]  # row numbers in the trial of each of the four, to look up other columns


def hybrid(key: Array, trial: Trial, fit: Callable[[Trial], Callable[[Array], ArrayLike]]) -> Hybrid:
    """Build the Criteo hybrid (Bi-DFCL section 3): a policy fitted on 5% of rows logs 50%; the rest stays randomised.

    Of the 45% that stay randomised, 5% of all rows are for training, 10% for validation and 30% for testing, as
    published (698,980, 1,397,959 and 4,193,878 of 13,979,592).

    Args:
        key: for the order of rows and the policy's draws.
        trial: n people in any order.
        fit: (trial of 5%) -> (x [k, d] -> probabilities of each treatment, [k, m]); a two-stage model in the paper.

    Raises:
        InputError: fewer than 20 people, or what `agreeing` refuses.
    """
    n = len(trial.t)
    if n < 20:
        refuse("trial", found=f"{n} people", expected="at least 20, for a part of 5%")
    order_key, policy_key = jax.random.split(key)
    order = np.asarray(jax.random.permutation(order_key, n))
    cuts = np.round(n * np.cumsum([0.05, 0.50, 0.05, 0.10])).astype(int)
    taught, logged, *rest = np.split(order, cuts)
    candidates = take(trial, jnp.asarray(logged))
    kept = agreeing(policy_key, candidates, fit(take(trial, jnp.asarray(taught)))(candidates.x))
    obs = take(candidates, jnp.asarray(kept.rows))._replace(p=jnp.asarray(kept.p, trial.r.dtype))
    train, valid, test = (take(trial, jnp.asarray(rows)) for rows in rest)
    return Hybrid(obs, train, valid, test, (logged[kept.rows], *rest))
