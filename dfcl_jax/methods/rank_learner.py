"""Orthogonal ranking (Rank-Learner): steps between treatments ordered in pairs, by labels that forgive nuisances."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax import scores
from dfcl_jax.data import Task
from dfcl_jax.errors import refuse
from dfcl_jax.methods.gradient import predict_money, refuse_unless_rising
from dfcl_jax.methods.method import Log
from dfcl_jax.methods.regression import CrossFitted
from dfcl_jax.models import Params
from dfcl_jax.solvers import surfaces_from_slopes
from dfcl_jax.train import Seeds
from dfcl_jax.types import Outcomes, Trial

# Least predicted cost of a step, as a share of its mean; largest predicted return, in multiples of all steps' together.
_LEAST, _MOST = 0.2, 4.0


class Returns(NamedTuple):
    """Returns of n people's steps between neighbouring treatments, in units of their spread, [n, m - 1] each."""

    tau: Array  # predicted: rise in revenue over rise in cost
    correction: Array  # what a person's own outcome adds to it: the efficient influence of the ratio


def returns_of(trial: Trial, hat: Outcomes) -> Returns:
    """Return tau = dr_hat / dc_hat and ((dG^r - dr_hat) - tau (dG^c - dc_hat)) / dc_hat, G doubly robust scores."""
    surfaces = scores.aipw(trial, hat)
    (dr, dc), (own_r, own_c) = ([jnp.diff(y, axis=1) for y in of[:2]] for of in (hat, surfaces))
    run = jnp.maximum(dc, _LEAST * jnp.maximum(dc.mean(axis=0, keepdims=True), 1e-6 * jnp.abs(dc).max()))
    together = jnp.maximum(dr.mean(), 0) / run.mean()
    tau = jnp.clip(dr / run, 0, _MOST * together)
    spread = tau.std()
    spread = jnp.where(spread > 0, spread, 1)
    return Returns(tau / spread, ((own_r - dr) - tau * (own_c - dc)) / (run * spread))


def pairs_loss(outcomes: Outcomes, given: Returns, *, kappa: float, clip: bool) -> Array:
    """Cross-entropy of who of a pair returns more, mean over each step with every step of the next person, [].

    label = s + s (1 - s) / kappa (correction_a - correction_b), s = sigmoid((tau_a - tau_b) / kappa), against the logit
    f_a - f_b, f the network's revenue surface from the second treatment on. The label's mean given features does not
    move, to first order, with errors of tau; without `clip` to [0, 1] it is unbiased.
    """
    f = outcomes.r[:, 1:]

    def against(shift: int) -> Array:
        z, tau, more = (y - jnp.roll(y, (1, shift), (0, 1)) for y in (f, given.tau, given.correction))
        s = jax.nn.sigmoid(tau / kappa)
        label = s + s * (1 - s) / kappa * more
        label = jnp.clip(label, 0, 1) if clip else label
        return (jax.nn.softplus(z) - label * z).mean()

    return jnp.stack([against(shift) for shift in range(f.shape[1])]).mean()


@dataclass(frozen=True)
class RankLearner(CrossFitted):
    """Rank all people's steps by return with a pairwise orthogonal loss (arXiv 2602.03517, for effects of one outcome).

    Raises:
        InputError: fewer than two folds; a kappa that is not above 0; treatments that are not in the order of cost.
    """

    kappa: float = 0.75  # softness of the labels, in spreads of the predicted returns
    clip: bool = True  # labels to [0, 1], as published

    @property
    def money(self) -> bool:
        """False: scores put steps in an order, and nothing more."""
        return False

    def __post_init__(self) -> None:
        """Check the folds and kappa."""
        super().__post_init__()
        if not 0 < self.kappa < float("inf"):
            refuse("kappa", found=self.kappa, expected="a finite number above 0")

    def predict(self, params: Params, x: Array) -> Outcomes:
        """Surfaces whose slopes rise with the scores, [n, m] each."""
        return surfaces_from_slopes(jax.nn.softplus(predict_money(self.network, params, x).r[:, 1:]))

    def _fit(self, key: Array, tasks: Sequence[Task], log: Log, seeds: Seeds) -> Params:
        for task in tasks:
            refuse_unless_rising(task)

        def loss(outcomes: Outcomes, given: Returns) -> Array:
            return pairs_loss(outcomes, given, kappa=self.kappa, clip=self.clip)

        return self.regressed(loss, returns_of, key, tasks, log, seeds)[0]
