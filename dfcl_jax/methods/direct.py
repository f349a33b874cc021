"""Direct methods: a network that ranks the steps between treatments, and predicts no outcome."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from dfcl_jax import losses, scores
from dfcl_jax.data import Task
from dfcl_jax.errors import check_option, refuse
from dfcl_jax.methods.gradient import build, count, fit_network
from dfcl_jax.methods.method import Log
from dfcl_jax.models import NetworkConfig, Params
from dfcl_jax.solvers import surfaces_from_slopes
from dfcl_jax.train import ONE_SEED, FitConfig, Rows, Stage, predict
from dfcl_jax.types import Outcomes, Trial, num_arms

Kind = Literal["roi", "marginal_utility", "direct_rank", "uplift_rank"]

# Losses of two treatments, from scores [n]; that of marginal utility takes steps [n, m - 1].
_OF_TWO: dict[str, Callable[[Array, Trial], Array]] = {
    "direct_rank": losses.direct_rank_loss,
    "uplift_rank": losses.uplift_rank_loss,
}
# Least mean cost of a step, as a share of the largest: the plan of an order needs each step to cost something.
_LEAST_STEP = 1e-3


@dataclass(frozen=True)
class Direct:
    """Rank people, and the steps from each treatment to the next dearer one, by a score that is learned directly.

    "roi" (DRP, DHCL; two treatments) and "marginal_utility" (DPM, DHCL; several) learn the return of each step,
    revenue per cost, as a share q = sigmoid(score) of `most` times the trial's own return. "direct_rank" (Du et al.
    2019) and "uplift_rank" (both two treatments) learn an order alone; it too becomes slopes q. Treatments are put in
    the order of their mean cost. The checkpoint is the one with the least loss on the validation part.

    Raises:
        InputError: a kind that is not known, `most` that is not above 0; more than two treatments for a kind of two.
    """

    kind: Kind = "marginal_utility"
    network: NetworkConfig = field(default_factory=lambda: NetworkConfig(hidden=(64,)))
    training: FitConfig = field(default_factory=lambda: FitConfig(epochs=20, batch_size=2048, learning_rate=3e-3))
    most: float = 4.0  # largest return that can be learned, in multiples of the trial's own

    money = False

    def __post_init__(self) -> None:
        """Check the options."""
        check_option("kind", self.kind, Kind)
        if not 0 < self.most < float("inf"):
            refuse("most", found=self.most, expected="a finite number above 0")

    def fit(self, key: Array, task: Task, log: Log) -> Params:
        """{"net", "return": largest return that can be learned, in money, "steps": [m - 1] costs, "rank": [m]}."""
        counted = count(task, "identity")
        m = num_arms(counted.sample)
        if m != 2 and self.kind != "marginal_utility":
            refuse(f"{self.kind} method", found=f"{m} treatments", expected="2, or the kind 'marginal_utility'")
        mean_cost = np.asarray(scores.ipw(counted.sample).c.mean(axis=0), np.float64)
        order = np.argsort(mean_cost, kind="stable")
        rank, steps = np.argsort(order), np.diff(mean_cost[order])
        steps = np.maximum(steps, _LEAST_STEP * steps.max()) if steps.max() > 0 else np.ones_like(steps)
        sample, valid = (_in_order(trial, order, rank) for trial in (counted.sample, counted.valid))
        # With cost counted in money that earns as much at `most` times the trial's own return, q is a share.
        own = float(_own_return(sample))
        sample, valid = (trial._replace(c=trial.c * own * self.most) for trial in (sample, valid))
        model = build(self.network, m - 1)

        def objective(outcomes: Outcomes, rows: Rows, shared: None) -> Array:
            return self._loss(outcomes.r, rows.trial)

        def accuracy(outcomes: Outcomes, trial: Trial) -> Array:
            return -self._loss(outcomes.r, trial)

        net = fit_network(
            key,
            counted._replace(sample=sample, valid=valid),
            Stage(model, objective, accuracy, self.training),
            ONE_SEED,
            log.stage("", self.training.epochs, sample.rows),
        )
        return {
            "net": net,
            "return": jnp.asarray(own * self.most) * counted.units.r / counted.units.c,
            "steps": jnp.asarray(steps, sample.c.dtype),
            "rank": jnp.asarray(rank, jnp.int32),
        }

    def predict(self, params: Params, x: Array) -> Outcomes:
        """Surfaces from the slopes of steps, [n, m] each, in the order of the trial's treatments."""
        m = params["rank"].shape[0]
        score = predict(build(self.network, m - 1), params["net"], x).r
        surfaces = surfaces_from_slopes(params["return"] * jax.nn.sigmoid(score), steps=params["steps"])
        return jax.tree.map(lambda surface: surface[:, params["rank"]], surfaces)

    def _loss(self, score: Array, trial: Trial) -> Array:
        if self.kind == "roi":
            return losses.roi_loss(score[:, 0], trial)
        if self.kind == "marginal_utility":
            return losses.marginal_utility_loss(jax.nn.sigmoid(score), trial)
        return _OF_TWO[self.kind](score[:, 0], trial)


def _in_order(trial: Trial, order: np.ndarray, rank: np.ndarray) -> Trial:
    """The trial with its treatments called by their place in `order`."""
    return trial._replace(t=jnp.asarray(rank, trial.t.dtype)[trial.t], p=trial.p[..., order])


def _own_return(trial: Trial) -> Array:
    """Revenue per cost of all steps together, in the model's units, []; 1 where treatment does not pay."""
    revenue, cost = (surface.mean(axis=0) for surface in scores.ipw(trial)[:2])
    rise, run = revenue[-1] - revenue[0], cost[-1] - cost[0]
    return jnp.where((rise > 0) & (run > 0), rise / jnp.where(run > 0, run, 1), 1.0)
