"""A network of two heads on one trunk: one keeps predicting money while the other learns what decides."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax.data import Task
from dfcl_jax.errors import refuse
from dfcl_jax.losses import surface_loss
from dfcl_jax.methods.decision import Decision, Terms, begin_from, objective_of, renewed, scored, validate_of
from dfcl_jax.methods.gradient import build, predict_money, with_units, within_seen
from dfcl_jax.methods.method import Log
from dfcl_jax.methods.over_seeds import OverSeeds
from dfcl_jax.methods.regression import all_rows
from dfcl_jax.methods.weighted import of_people
from dfcl_jax.models import Model, Params
from dfcl_jax.train import MeanOverRows, Rows, Seeds, Stage, Validation, fit, mesh_of
from dfcl_jax.types import Outcomes, num_arms


@dataclass(frozen=True)
class TwoHeaded(OverSeeds):
    """A decision method whose trunk also serves a head that predicts money, by least squares of weighted people.

    Both heads begin as that of two-stage learning. The loss is the method's of the one head plus `beta` times
    sum_ij w_ij (G_ij / w_ij - y_hat_ij)^2 / (n m) of the other, scores and weights as in `WeightedTwoStage`. So money
    is still predicted when decisions are learned, and what the trunk has learned of it is kept.

    Raises:
        InputError: a network that is no "mlp", or has members; a weight that is negative or not finite; when it learns,
            a streamed trial.
    """

    of: Decision
    beta: float = 1.0

    money = False

    @property
    def weighs(self) -> bool:
        """Whether the method of the one head weighs rows; the other does."""
        return self.of.weighs

    def __post_init__(self) -> None:
        """Check the network and the weight."""
        network = self.of.start.network
        if network.shape != "mlp" or network.members > 1:
            refuse("network with two heads", found=f"{network.shape} of {network.members}", expected="one mlp")
        if not 0 <= self.beta < float("inf"):
            refuse("beta", found=self.beta, expected="a finite number of at least 0")

    def predict(self, params: Params, x: Array) -> Outcomes:
        """Surfaces whose differences rank decisions, [n, m] each."""
        return _heads(self._both(params, x))[1]

    def predict_money(self, params: Params, x: Array) -> Outcomes:
        """Revenue and cost of every treatment, [n, m] each; cost within the range that the trial has seen of it."""
        return within_seen(_heads(self._both(params, x))[0], params["costs"])

    def _both(self, params: Params, x: Array) -> Outcomes:
        wide = params["costs"].shape[-1] * 2
        return predict_money(self.of.start.network, params | {"costs": jnp.zeros((2, wide))}, x)

    def _fit(self, key: Array, tasks: Sequence[Task], log: Log, seeds: Seeds) -> Params:
        begin = begin_from(self.of, key, tasks, log, seeds)
        sample = begin.counted.sample
        if begin.source is not None:
            refuse("people for TwoHeaded", found="a streamed source", expected="people in memory")
        both = build(self.of.start.network, 2 * num_arms(sample))
        last = begin._replace(model=Model(both.init, lambda params, x: _heads(both.apply(params, x))[1]))
        decides = scored(self.of, seeds, sample, begin.hat)
        money = jax.jit(lambda *people: seeds.each(of_people)(*people))(sample, begin.hat)
        objective, validate = objective_of(self.of), validate_of(self.of)

        def loss(outcomes: Outcomes, rows: Rows, shared: Terms) -> Array:
            first, second = _heads(outcomes)
            of_decisions = objective(second, Rows(rows.trial, rows.extra[0]), shared)
            return of_decisions + self.beta * surface_loss(first, rows.extra[1])

        fitted = fit(
            begin.key,
            seeds.each(partial(_doubled, both))(begin.net, sample.x),
            Rows(sample, (decides, money)),
            begin.terms(self.of),
            Validation(begin.counted.valid.x, begin.judge),
            Stage(
                both,
                MeanOverRows(loss) if self.of.by_rows else loss,
                lambda outcomes, judge: validate(_heads(outcomes)[1], judge),
                self.of.training,
                renew=partial(renewed, self.of, last),
            ),
            seeds=seeds,
            mesh=mesh_of(self.of.training),
            log=log.stage("", self.of.training.epochs, all_rows(tasks)),
        )
        return with_units(fitted.params, begin.counted)


def _heads(outcomes: Outcomes) -> tuple[Outcomes, Outcomes]:
    """Surfaces [n, 2m] as those of both heads, [n, m] each."""
    r, c = (jnp.split(surface, 2, axis=1) for surface in outcomes)
    return Outcomes(r[0], c[0]), Outcomes(r[1], c[1])


def _doubled(both: Model, net: Params, x: Array) -> Params:
    """Parameters of a network whose two heads are both that of `net`."""
    like = jax.eval_shape(both.init, jax.random.key(0), x[:1])

    def leaf(wide: jax.ShapeDtypeStruct, one: Array) -> Array:
        if wide.shape == one.shape:
            return one
        r, c = jnp.split(one, 2, axis=-1)
        return jnp.concatenate([r, r, c, c], axis=-1)

    return jax.tree.map(leaf, like, net)
