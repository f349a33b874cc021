"""What every metric asks of its inputs: arrays of NumPy or JAX and tables of pandas, checked where they can be seen."""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.errors import is_concrete, refuse
from dfcl_jax.solvers.checks import check_outcomes
from dfcl_jax.types import Outcomes, Scores, Trial, num_arms

T = TypeVar("T")


def as_array(values: Any) -> Array:
    """A table, a list of numbers or an array of NumPy as an array."""
    return values if isinstance(values, Array) else jnp.asarray(np.asarray(values))


def as_arrays(tree: T) -> T:
    """The tree with its leaves as arrays."""
    return jax.tree.map(as_array, tree, is_leaf=lambda leaf: isinstance(leaf, list))


def check_settling(outcomes: Outcomes, scores: Scores) -> tuple[Outcomes, Scores]:
    """Predictions and the scores that settle them, as arrays of one floating type.

    Raises:
        InputError: surfaces that are not of one shape [n, m], hold NaN, or scores with a negative weight.
    """
    outcomes, scores = check_outcomes(as_arrays(outcomes)), check_scores(scores)
    if outcomes.r.shape != scores.r.shape:
        refuse("scores", found=f"shape {scores.r.shape}", expected=f"{outcomes.r.shape}, as the outcomes")
    dtype = jnp.result_type(outcomes.r, scores.r)
    return jax.tree.map(lambda leaf: leaf.astype(dtype), (outcomes, scores))


def check_scores(scores: Scores) -> Scores:
    """Score surfaces as arrays of one floating type; raises as `check_settling`."""
    scores = as_arrays(scores)
    shapes = {name: jnp.shape(surface) for name, surface in scores._asdict().items()}
    if len(scores.r.shape) != 2 or len(set(shapes.values())) > 1:
        refuse("scores", found=", ".join(f"{name} {shape}" for name, shape in shapes.items()), expected="three [n, m]")
    dtype = jnp.result_type(*scores, jnp.float32)
    scores = Scores(*(surface.astype(dtype) for surface in scores))
    for name, surface in (("revenue", scores.r), ("cost", scores.c), ("weight", scores.w)):
        _check_numbers(f"scores, {name}", surface, least=0.0 if name == "weight" else None)
    return scores


def check_trial(trial: Trial) -> Trial:
    """A trial as arrays.

    Raises:
        InputError: columns of other lengths; treatments that are not 0..m-1; revenue or cost that is not finite;
            propensities that are not [m] or [n, m], not above 0, or do not sum to 1.
    """
    trial = as_arrays(trial)
    n, m = trial.t.shape[0], num_arms(trial)
    for name, column in (("x", trial.x), ("t", trial.t), ("r", trial.r), ("c", trial.c)):
        if column.ndim != (2 if name == "x" else 1) or column.shape[0] != n:
            refuse(f"trial, {name}", found=f"shape {column.shape}", expected="[n, d]" if name == "x" else f"[{n}]")
    if trial.p.shape not in ((m,), (n, m)):
        refuse("trial, propensities", found=f"shape {trial.p.shape}", expected=f"[m] or [{n}, m]")
    for name, column in (("revenue", trial.r), ("cost", trial.c), ("propensity", trial.p)):
        _check_numbers(f"trial, {name}", column)
    if not is_concrete(trial):
        return trial
    t, p = np.asarray(trial.t), np.atleast_2d(np.asarray(trial.p))
    bad = np.flatnonzero((t < 0) | (t >= m) | (t != np.floor(t)))
    if bad.size:
        refuse(f"trial, treatment of unit {bad[0]}", found=t[bad[0]], expected=f"a whole number of 0..{m - 1}")
    # Each of m numbers was rounded once.
    bad = np.flatnonzero(np.abs(p.sum(axis=1) - 1) > 4 * m * np.finfo(np.float32).eps)
    if bad.size:
        refuse(f"trial, propensities of row {bad[0]}", found=p[bad[0]].tolist(), expected="a sum of 1")
    if (p <= 0).any():
        row = int(np.argwhere(p <= 0)[0, 0])
        refuse(f"trial, propensities of row {row}", found=p[row].tolist(), expected="numbers above 0")
    return trial._replace(t=trial.t.astype(jnp.int32))


def check_features(trial: Trial) -> np.ndarray:
    """The features of a trial as float64, [n, d]; refused if one is not finite."""
    x = np.asarray(trial.x, np.float64)
    bad = np.argwhere(~np.isfinite(x))
    if bad.size:
        unit, feature = bad[0]
        refuse(f"trial, feature {feature} of unit {unit}", found=float(x[unit, feature]), expected="a finite number")
    return x


def check_people(name: str, column: ArrayLike, n: int, *, least: float | None = None) -> Array:
    """One finite number, not below `least`, for each of n units, [n]."""
    array = as_array(column)
    if array.shape != (n,):
        refuse(name, found=f"shape {array.shape}", expected=f"one for each of {n} units")
    _check_numbers(name, array, least=least)
    return array


def check_weights(weights: ArrayLike | None, n: int, dtype: Any) -> Array:
    """How many people each of n rows stands for, [n]: one if `weights` is None."""
    return jnp.ones(n, dtype) if weights is None else check_people("weights", weights, n, least=0).astype(dtype)


def check_arms(arm: ArrayLike, n: int, m: int) -> Array:
    """A ready-made policy: one of m treatments for each of n units, [n]."""
    array = check_people("policy", arm, n, least=0)
    if is_concrete(array):
        bad = np.flatnonzero((np.asarray(array) >= m) | (np.asarray(array) != np.floor(array)))
        if bad.size:
            refuse(f"policy of unit {bad[0]}", found=array[bad[0]].item(), expected=f"a whole number of 0..{m - 1}")
    return array.astype(jnp.int32)


def _check_numbers(name: str, values: Any, *, least: float | None = None) -> None:
    if not is_concrete(values):
        return
    values = np.asarray(values)
    bad = np.argwhere(~np.isfinite(values) | (False if least is None else values < least))
    if bad.size:
        where = f" at treatment {bad[0, 1]}" if values.ndim == 2 else ""
        expected = "a finite number" + ("" if least is None else f" of at least {least:g}")
        refuse(f"{name} of unit {bad[0, 0]}{where}", found=float(values[tuple(bad[0])]), expected=expected)
