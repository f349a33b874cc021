"""Bi-level training: a target learns from observed people, and a bridge learns what the target should learn from.

The lower level fits the target on observed people, at gates that the bridge gives each of them; the upper level moves
the bridge so that the target's decisions do well on a randomised trial (Bi-DFCL, B8 to B10). An epoch runs over the
observed people; `make_bilevel_step` makes the step of `fit`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.flatten_util import ravel_pytree

from dfcl_jax.errors import check_option, refuse
from dfcl_jax.losses import LowerLoss
from dfcl_jax.models import Model, Params
from dfcl_jax.solvers import (
    conjugate_gradients,
    gauss_newton_product,
    hessian_product,
    implicit_hypergradient,
)
from dfcl_jax.train.config import FitConfig, make_optimiser
from dfcl_jax.train.shuffle import shuffle
from dfcl_jax.train.step import Learner, Objective, Rows, Step, moved, rows_at
from dfcl_jax.types import Outcomes

Kind = Literal["implicit", "explicit"]
Curvature = Literal["gauss_newton", "hessian"]


@dataclass(frozen=True)
class Hypergradient:
    """How often the bridge is moved, and how its gradient is found.

    "implicit": k steps of gradient descent on the batch stand in for the argmin, and the implicit function theorem is
    used there (B9). "explicit": the derivative through one such step, which needs no linear system.

    Raises:
        InputError: an option that is none, or a number out of its range.
    """

    kind: Kind = "implicit"
    k: int = 5  # a bridge step at each k-th batch, and assumed steps of an implicit one
    rate: float = 0.01  # learning rate of the assumed steps
    # What stands for the Hessian. Far from a minimum a network's own is indefinite, see `solvers.implicit`.
    curvature: Curvature = "gauss_newton"
    n_cg: int = 50  # most products of conjugate gradients
    damping: float = 0.01  # added to the curvature's diagonal
    tolerance: float = 1e-3  # of the residual of conjugate gradients, relative

    def __post_init__(self) -> None:
        """Check every option."""
        check_option("kind of a hypergradient", self.kind, Kind)
        check_option("curvature", self.curvature, Curvature)
        for name, least in {"k": 1, "n_cg": 1, "rate": 0, "damping": 0, "tolerance": 0}.items():
            if not least <= getattr(self, name) < float("inf"):
                refuse(name, found=getattr(self, name), expected=f"a finite number of at least {least}")


class Levels(NamedTuple):
    """What the two levels are made of."""

    target: Model
    bridge: Model | float  # from features to gates, [n, m] each; or one gate for all, which is not learned
    lower: LowerLoss
    how: Hypergradient
    batch: int  # people of the trial in a bridge step

    def gates(self, phi: Params, x: Array, like: Array) -> Outcomes:
        """The gates of people of features x [n, d], [n, m] each."""
        if isinstance(self.bridge, Model):
            return self.bridge.apply(phi, x)
        return Outcomes(*(jnp.full_like(like, self.bridge) for _ in "rc"))

    @property
    def deployed(self) -> Model:
        """The model whose parameters are those of both networks, and which predicts by the target alone."""
        return Model(self._init, lambda params, x: self.target.apply(params["target"], x))

    def _init(self, key: Array, x: Array) -> Params:
        target, bridge = jax.random.split(key)
        gates = self.bridge.init(bridge, x) if isinstance(self.bridge, Model) else {}
        return {"target": self.target.init(target, x), "bridge": gates}


class Upper(NamedTuple):
    """What a step is told beside observed people."""

    rows: Rows  # people of the trial
    terms: Any  # what the upper objective needs beside them
    key: Array  # of the order in which bridge steps see the trial


class Memory(NamedTuple):
    """The state of the two optimisers."""

    target: optax.OptState
    bridge: optax.OptState
    batch: Array  # [] int, batches that are done
    failed: Array  # [] int, bridge steps without a gradient, see `Hyper.failed`


class Hyper(NamedTuple):
    """The derivative of the upper level by the bridge's parameters, and how its linear system was solved."""

    gradient: Params
    residual: Array  # [] of conjugate gradients, as a multiple of that at 0; 0 where there is no system
    negative: Array  # [] bool, whether a direction without positive curvature ended them

    @property
    def failed(self) -> Array:
        """Whether it is no gradient, [] bool: not finite, not solved at all, or ten times as far off as at the start.

        Conjugate gradients may be further off for a while than they began; those that go on to ten times diverge.
        """
        unsolved = (self.residual > 10) | (self.negative & (self.residual >= 1))
        return unsolved | ~_all_finite(self.gradient)


def hypergradient(
    how: Hypergradient,
    phi: Params,
    theta: Params,
    *,
    predict: Callable[[Params], Any],
    lower: Callable[[Params, Any], Array],
    upper: Callable[[Params], Array],
    mean: Callable[[Params], Params] = lambda tree: tree,
) -> Hyper:
    """The derivative of upper(theta*(phi)) by phi, with theta*(phi) = argmin_theta lower(phi, predict(theta)).

    Args:
        how: how the argmin is stood in for, and how the derivative is found.
        phi: what it is a derivative of.
        theta: where the assumed steps start.
        predict: theta -> predictions of the batch.
        lower: (phi, predictions) -> lower loss, [].
        upper: theta -> upper loss, [].
        mean: of derivatives of the lower loss over the devices, each of which has some of the batch.
    """

    def loss(phi: Params, theta: Params) -> Array:
        return lower(phi, predict(theta))

    def assumed(_: Any, now: Params) -> Params:
        slope = mean(jax.grad(loss, argnums=1)(phi, now))
        return jax.tree.map(lambda leaf, slope: leaf - how.rate * slope, now, slope)

    if how.kind == "explicit":
        # d/dphi upper(theta - rate dL/dtheta)
        slope = jax.grad(upper)(assumed(None, theta))
        gradient = implicit_hypergradient(loss, phi, theta, jax.tree.map(lambda leaf: how.rate * leaf, slope))
        return Hyper(mean(gradient), jnp.zeros(()), jnp.zeros((), bool))
    theta = jax.lax.fori_loop(0, how.k, assumed, theta)
    at = partial(lower, phi)
    if how.curvature == "hessian":
        product = hessian_product(partial(loss, phi), theta)
    else:
        product = gauss_newton_product(predict, at, theta)
    slope = jax.grad(upper)(theta)
    solved = conjugate_gradients(
        lambda v: mean(product(v)), slope, damping=how.damping, steps=how.n_cg, tolerance=how.tolerance
    )
    size = jnp.linalg.norm(ravel_pytree(slope)[0])
    residual = jnp.where(size == 0, 0, solved.residual / size)
    return Hyper(mean(implicit_hypergradient(loss, phi, theta, solved.x)), residual, solved.negative)


def make_bilevel_optimiser(
    config: FitConfig, steps: int, *, k: int = 1, bridge_pace: float = 1.0
) -> optax.GradientTransformation:
    """The optimisers of both networks; one that a gradient {"target", "bridge"} is not given for stays as it is.

    Args:
        config: of the target.
        steps: batches of an epoch.
        k: one bridge step for each k batches.
        bridge_pace: learning rate of the bridge as a multiple of the target's.
    """
    slower = replace(config, learning_rate=config.learning_rate * bridge_pace)
    parts = {"target": make_optimiser(config, steps), "bridge": make_optimiser(slower, -(-steps // k))}

    def init(params: Params) -> Memory:
        none = jnp.zeros((), jnp.int32)
        return Memory(**{name: part.init(params[name]) for name, part in parts.items()}, batch=none, failed=none)

    def update(gradient: Params, memory: Memory, params: Params) -> tuple[Params, Memory]:
        new = {name: parts[name].update(slope, getattr(memory, name), params[name]) for name, slope in gradient.items()}
        states = {name: state for name, (_, state) in new.items()}
        updates = {name: updates for name, (updates, _) in new.items()}
        return jax.tree.map(jnp.zeros_like, params) | updates, memory._replace(**states)

    return optax.GradientTransformation(init, update)  # pyright: ignore


def make_bilevel_step(
    levels: Levels,
    model: Model,
    objective: Objective,
    optimiser: optax.GradientTransformation,
    *,
    mean: Callable[[Params], Params] = lambda tree: tree,
) -> Step:
    """Make the step of bi-level training (B10).

    At each k-th batch first one step of the bridge: on a copy of the target, by the upper objective on a batch of the
    trial. Then, at every batch, one step of the target on the lower loss of the batch at the gates as they are now.
    `Rows.extra` holds the teacher's predictions of the observed people. A bridge step costs k + n_cg + 4 gradients of a
    batch, about. One whose hypergradient failed is left out, and counted (`check_hypergradients`).

    Args:
        levels: what the two levels are made of.
        model: `levels.deployed`.
        objective: the upper loss: (predictions of people of the trial, their rows, `Upper.terms`) -> [].
        optimiser: of `make_bilevel_optimiser`.
        mean: over devices that each have equally many of a batch's observed people (`Stage.make_step`); lower losses
            are means over people, and the trial is whole on every device.

    Raises:
        InputError: a teacher whose predictions are of another shape than the target's, when the step is traced.
    """
    how = levels.how

    def apply(theta: Params, x: Array) -> Outcomes:
        return model.apply({"target": theta}, x)

    def lower(phi: Params, outcomes: Outcomes, batch: Rows) -> Array:
        gates = levels.gates(phi, batch.trial.x, outcomes.r)
        return levels.lower(outcomes, batch.trial, batch.extra, gates)

    def bridge_step(learner: Learner, batch: Rows, shared: Upper) -> Learner:
        people = _upper_batch(shared, _memory(learner).batch // how.k, levels.batch)
        found = hypergradient(
            how,
            learner.params["bridge"],
            learner.params["target"],
            predict=lambda theta: apply(theta, batch.trial.x),
            lower=lambda phi, outcomes: lower(phi, outcomes, batch),
            upper=lambda theta: objective(apply(theta, people.trial.x), people, shared.terms),
            mean=mean,
        )
        # A target that has diverged has no hypergradient either, but that is not what is to be changed.
        failed = found.failed & _all_finite(learner.params["target"])
        after = moved(learner, {"bridge": found.gradient}, optimiser)
        learner = jax.tree.map(partial(jnp.where, found.failed), learner, after)
        memory = _memory(learner)
        return learner._replace(optimiser=memory._replace(failed=memory.failed + failed))

    def step(learner: Learner, batch: Rows, shared: Upper) -> tuple[Learner, Array]:
        _check_teacher(batch.extra, jax.eval_shape(apply, learner.params["target"], batch.trial.x))
        if isinstance(levels.bridge, Model):
            due = _memory(learner).batch % how.k == 0
            learner = jax.lax.cond(due, bridge_step, lambda learner, *_: learner, learner, batch, shared)
        phi, theta = learner.params["bridge"], learner.params["target"]
        loss, slope = mean(jax.value_and_grad(lambda theta: lower(phi, apply(theta, batch.trial.x), batch))(theta))
        learner = moved(learner, {"target": slope}, optimiser)
        memory = _memory(learner)
        return learner._replace(optimiser=memory._replace(batch=memory.batch + 1)), loss

    return step


def check_hypergradients(k: int, learner: Learner) -> None:
    """Refuse training in which more than half of the bridge steps had no gradient.

    Args:
        k: one bridge step for each k batches.
        learner: after an epoch; of several seeds leaves [s, ...].

    Raises:
        InputError: what is to be changed.
    """
    memory = _memory(learner)
    failed, steps = (int(np.max(count)) for count in (memory.failed, -(-memory.batch // k)))
    if 2 * failed > steps:
        found = f"none in {failed} of {steps} bridge steps (not finite, or conjugate gradients that diverged)"
        expected = "one in most: more damping, more n_cg, a lower rate of the assumed steps, or Gauss-Newton curvature"
        refuse("hypergradient", found=found, expected=expected)


def _all_finite(tree: Params) -> Array:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


def _check_teacher(teacher: Any, target: Outcomes) -> None:
    for name, of_teacher, of_target in zip(("revenue", "cost"), teacher, target, strict=True):
        if of_teacher.shape != of_target.shape:
            found = f"{name} of shape {of_teacher.shape}"
            refuse("teacher's predictions", found=found, expected=f"{of_target.shape}, as the target's")


def _memory(learner: Learner) -> Memory:
    return cast(Memory, learner.optimiser)


def _upper_batch(shared: Upper, number: Array, size: int) -> Rows:
    """The batch of the trial of bridge step `number`; the trial is shuffled anew each time it has been seen whole."""
    n = shared.rows.trial.rows
    size = min(size, n)
    batches = n // size
    order = shuffle(jax.random.fold_in(shared.key, number // batches), n)
    return rows_at(shared.rows, order(number % batches * size + jnp.arange(size)))
