"""Segment policy: groups of people who are predicted alike, each with the trial's own means."""

import warnings
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.cluster.vq import kmeans2

from dfcl_jax import scores
from dfcl_jax.data import Task
from dfcl_jax.errors import refuse
from dfcl_jax.methods.gradient import in_memory
from dfcl_jax.methods.method import Log
from dfcl_jax.methods.two_stage import TwoStage
from dfcl_jax.models import Params
from dfcl_jax.types import Outcomes

# People whom centres are found on, and rounds of finding them.
_PEOPLE, _ROUNDS = 2**14, 25


@dataclass(frozen=True)
class Segments:
    """k-means groups of two-stage predictions; a plan on the shrunk means of each group and treatment.

    The mean of group g under treatment j is the mean prediction there plus what the group's own people say of it,

        y_gj = mean_{i in g} y_hat_ij + n_gj / (n_gj + prior) (Hajek mean of y_i - y_hat_ij over i in g with t_i = j)

    so a group with few people under a treatment keeps the prediction. What decides are few numbers, each a mean of the
    trial (after HRC, arXiv 2506.00959, which groups by hidden layers and distils the plan).

    Raises:
        InputError: fewer than two groups; a prior that is negative or not finite.
    """

    start: TwoStage = field(default_factory=TwoStage)
    groups: int = 100
    prior: float = 50.0  # people that the prediction counts for

    money = True

    def __post_init__(self) -> None:
        """Check the options."""
        if self.groups < 2:
            refuse("groups", found=self.groups, expected="at least 2")
        if not 0 <= self.prior < float("inf"):
            refuse("prior", found=self.prior, expected="a finite number of at least 0")

    def fit(self, key: Array, task: Task, log: Log) -> Params:
        """{"start": two-stage parameters, "scale": [1, 2 m], "centres": [k, 2 m], "r" and "c": means, [k, m] each}."""
        start = log.fitted(self.start, key, [task])[0]
        people = in_memory(task.train)
        hat = self.start.predict(start, people.x)
        spread = jnp.concatenate(hat, axis=1).std(axis=0, keepdims=True)
        scale = jnp.where(spread > 0, spread, 1)
        key = jax.random.fold_in(jax.random.fold_in(key, 4), task.seed)
        centres = _centres(key, jnp.concatenate(hat, axis=1)[:_PEOPLE] / scale, self.groups)
        group = jax.nn.one_hot(_nearest(hat, scale, centres), self.groups, dtype=people.r.dtype)
        w = scores.observation_weights(people)
        size, seen, weight = group.sum(axis=0)[:, None], group.T @ (w > 0), group.T @ w
        trust = seen / jnp.maximum(seen + self.prior, 1e-12)

        def means(y: Array, y_hat: Array) -> Array:
            own = group.T @ (w * (y[:, None] - y_hat)) / jnp.where(weight > 0, weight, 1)
            return group.T @ y_hat / jnp.maximum(size, 1) + trust * own

        return {
            "start": start,
            "scale": scale,
            "centres": centres,
            "r": means(people.r, hat.r),
            "c": means(people.c, hat.c),
        }

    def predict(self, params: Params, x: Array) -> Outcomes:
        """The means of each person's group, [n, m] each."""
        group = _nearest(self.start.predict(params["start"], x), params["scale"], params["centres"])
        return Outcomes(params["r"][group], params["c"][group])


def _nearest(hat: Outcomes, scale: Array, centres: Array) -> Array:
    """The group of each person, [n] int."""
    return _closest(jnp.concatenate(hat, axis=1) / scale, centres)


def _closest(z: Array, centres: Array) -> Array:
    return ((centres**2).sum(axis=1)[None, :] - 2 * z @ centres.T).argmin(axis=1)


def _centres(key: Array, z: Array, k: int) -> Array:
    """Centres of k groups of z [n, d]; a group that loses everybody stays as it is."""
    seed = int(jax.random.bits(key))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "One of the clusters is empty")
        centres, _ = kmeans2(np.asarray(z, np.float64), k, iter=_ROUNDS, minit="++", rng=np.random.default_rng(seed))
    return jnp.asarray(centres, z.dtype)
