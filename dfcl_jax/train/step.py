"""One step of training: the gradient of the loss of a batch, and the update of the parameters."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from dfcl_jax.losses import in_chunks
from dfcl_jax.models import Compute, Model, Params, Through, in_precision, through_revenue
from dfcl_jax.types import Outcomes, Trial, take


class Rows(NamedTuple):
    """Training rows; every leaf of `extra` has n rows."""

    trial: Trial
    extra: Any = None  # pytree of [n, ...], such as Scores


# (predictions, rows of the batch, what all batches share) -> scalar
Objective = Callable[[Outcomes, Rows, Any], Array]


class MeanOverRows(NamedTuple):
    """An objective that is a mean over rows, so that the chunks of a batch can be computed one by one."""

    loss: Objective

    def __call__(self, outcomes: Outcomes, rows: Rows, shared: Any) -> Array:
        """The loss."""
        return self.loss(outcomes, rows, shared)


class OfNetwork(NamedTuple):
    """An objective that sees more of a network than its predictions, such as a layer: a batch is computed at once."""

    loss: Callable[[Params, Rows, Any], Array]  # (parameters, rows of the batch, what all batches share) -> scalar


class Learner(NamedTuple):
    """What a step updates."""

    params: Params
    optimiser: optax.OptState
    pace: Array  # [] learning rate as a multiple of the configuration's
    average: Params | None = None  # running mean of the parameters; None: there is none

    @property
    def judged(self) -> Params:
        """The parameters that are judged, and kept if they are best."""
        return self.params if self.average is None else self.average


# (learner, rows of the batch, what all batches share) -> (learner, loss of the batch before the step)
Step = Callable[[Learner, Rows, Any], tuple[Learner, Array]]


def default_chunk(n: int, *, passes: int = 1) -> int:
    """How many of n rows to compute at a time; all n on an accelerator, which is fastest with large products.

    On a CPU the layers of 2,048 rows of the published networks stay in the cache. To compute them again in a second
    pass pays only if the layers of all n rows do not stay in the last level of the cache: from about 16,384 rows on.
    """
    if jax.default_backend() != "cpu" or n <= (2048 if passes == 1 else 16_384):
        return max(n, 1)
    return 2048


def make_step(
    model: Model,
    objective: Objective | OfNetwork,
    optimiser: optax.GradientTransformation,
    *,
    chunk: int | None = None,
    through: Through = "both",
    compute: Compute = "float32",
) -> Step:
    """Make the step on the loss of a batch; for an ensemble, on the mean of the losses of its members.

    The layers of a large batch do not fit the cache, and to move them takes longer than to compute them. So they are
    computed for a chunk of the batch at a time. The gradient is that of the loss of the whole batch for any loss
    (`in_chunks`), at the price of a second forward pass; a `MeanOverRows` needs only one.

    Args:
        model: the model.
        objective: loss of a batch; one `OfNetwork` has no use for the model and the options below.
        optimiser: from gradients to updates.
        chunk: rows at a time; None: `default_chunk` of the batch.
        through: the predictions that the gradient passes through; for other heads no gradient is computed.
        compute: the arithmetic of the hidden layers, see `in_precision`.
    """
    if isinstance(objective, OfNetwork):
        return _step_along(jax.value_and_grad(objective.loss), optimiser)
    surfaces = through_revenue(model) if through == "revenue" else model.members or model.apply
    surfaces = in_precision(surfaces, compute)

    def judged(outcomes: Outcomes, batch: Rows, shared: Any) -> Array:
        if model.members is None:
            return objective(outcomes, batch, shared)
        return jax.vmap(lambda member: objective(member, batch, shared))(outcomes).mean()

    def at_once(params: Params, batch: Rows, shared: Any) -> Array:
        return judged(surfaces(params, batch.trial.x), batch, shared)

    def in_two_passes(params: Params, batch: Rows, shared: Any) -> Array:
        n = batch.trial.x.shape[0]
        return judged(in_chunks(surfaces, chunk or default_chunk(n, passes=2))(params, batch.trial.x), batch, shared)

    def in_one_pass(params: Params, batch: Rows, shared: Any) -> tuple[Array, Params]:
        n = batch.trial.x.shape[0]
        size = chunk or default_chunk(n)
        if size >= n:
            return jax.value_and_grad(at_once)(params, batch, shared)

        def add(total: tuple[Array, Params], index: Array) -> tuple[tuple[Array, Params], None]:
            part = jax.value_and_grad(at_once)(params, rows_at(batch, index), shared)
            return jax.tree.map(lambda whole, new: whole + new * (len(index) / n), total, part), None

        whole = n // size * size
        like = jax.eval_shape(jax.value_and_grad(at_once), params, rows_at(batch, jnp.arange(size)), shared)
        total = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), like)
        total, _ = jax.lax.scan(add, total, jnp.arange(whole).reshape(-1, size))
        return total if whole == n else add(total, jnp.arange(whole, n))[0]

    in_passes = in_one_pass if isinstance(objective, MeanOverRows) else jax.value_and_grad(in_two_passes)
    return _step_along(in_passes, optimiser)


def _step_along(
    value_and_gradient: Callable[[Params, Rows, Any], tuple[Array, Params]], optimiser: optax.GradientTransformation
) -> Step:
    def step(learner: Learner, batch: Rows, shared: Any) -> tuple[Learner, Array]:
        loss, gradient = value_and_gradient(learner.params, batch, shared)
        return moved(learner, gradient, optimiser), loss

    return step


def averaged(step: Step, decay: float) -> Step:
    """A step that also moves the running mean, a <- decay a + (1 - decay) params (Polyak and Juditsky 1992)."""

    def both(learner: Learner, batch: Rows, shared: Any) -> tuple[Learner, Array]:
        after, loss = step(learner._replace(average=None), batch, shared)
        mean = jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, learner.average, after.params)
        return after._replace(average=mean), loss

    return both


def moved(learner: Learner, gradient: Params, optimiser: optax.GradientTransformation) -> Learner:
    """Take one step of an optimiser along a gradient."""
    updates, memory = optimiser.update(gradient, learner.optimiser, learner.params)
    # The learning rate of AdamW only scales its updates.
    updates = jax.tree.map(lambda update: learner.pace * update, updates)
    return Learner(optax.apply_updates(learner.params, updates), memory, learner.pace)


def rows_at(rows: Rows, index: Array) -> Rows:
    """Select rows by index."""
    return Rows(take(rows.trial, index), jax.tree.map(lambda leaf: leaf[index], rows.extra))
