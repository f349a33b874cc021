"""The observed people of a task: whom a policy treated, beside those of the trial."""

import jax.numpy as jnp
from jax import Array

from dfcl_jax.data import Task
from dfcl_jax.errors import refuse
from dfcl_jax.types import Source, Trial, joined, num_arms


def observed_of(task: Task, method: str) -> Source:
    """The observed people that a method learns from.

    Raises:
        InputError: there are none; or, where they are in memory, other features or treatments than the trial's, or
            outcomes that are not finite.
    """
    source = task.observed
    if source is None:
        expected = "people whom a policy treated, `Task.observed`, or a method that learns from the trial alone"
        refuse(f"observed people of a task for {method}", found="none", expected=expected)
    if isinstance(source, Trial):
        _check(source, task.valid)
    return source


def in_memory(source: Source, method: str) -> Trial:
    """Rows that are in memory.

    Raises:
        InputError: they are in files.
    """
    if not isinstance(source, Trial):
        refuse(f"people for {method}", found="a streamed source", expected="people in memory")
    return source


def by_shares(trial: Trial) -> Trial:
    """The rows with the shares of treatments for propensities: what is known of a log that does not say why."""
    m = num_arms(trial)
    shares = jnp.bincount(trial.t, length=m) / trial.rows
    # A treatment that nobody had weighs nothing, whatever its propensity.
    return trial._replace(p=jnp.where(shares > 0, shares, 1 / m).astype(trial.r.dtype))


def pooled(one: Trial, other: Trial) -> Trial:
    """The people of both, each with the propensities of their own part, [n, m].

    Where only one part has weights or clusters, each row of the other stands for one person, who belongs to nobody.
    """

    def wide(trial: Trial) -> Array:
        return jnp.broadcast_to(jnp.atleast_2d(trial.p), (trial.rows, num_arms(trial)))

    one, other = _alike(one, other), _alike(other, one)
    return joined(*(trial._replace(p=wide(trial)) for trial in (one, other)))


def _alike(trial: Trial, other: Trial) -> Trial:
    if trial.weight is None and other.weight is not None:
        trial = trial._replace(weight=jnp.ones(trial.rows, other.weight.dtype))
    if trial.cluster is None and other.cluster is not None:
        own = other.cluster.max() + 1 + jnp.arange(trial.rows, dtype=other.cluster.dtype)
        trial = trial._replace(cluster=own)
    return trial


def _check(observed: Trial, trial: Trial) -> None:
    for name, found, expected in (
        ("features", observed.x.shape[-1], trial.x.shape[-1]),
        ("treatments", num_arms(observed), num_arms(trial)),
    ):
        if found != expected:
            refuse(f"{name} of observed people", found=found, expected=f"{expected}, as in the trial")
    for name, outcome in (("revenue", observed.r), ("cost", observed.c)):
        if not bool(jnp.isfinite(outcome).all()):
            refuse(f"{name} of observed people", found="NaN or infinite values", expected="finite numbers")
