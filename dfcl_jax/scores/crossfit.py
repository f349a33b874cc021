"""Out-of-fold predictions: nobody's own outcome helps to predict it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax.errors import refuse
from dfcl_jax.types import Outcomes, Trial, take


def crossfit(
    key: Array, trial: Trial, fit: Callable[[Array, Trial], Callable[[Array], Outcomes]], *, folds: int = 5
) -> Outcomes:
    """Predict every person with a model fitted on the other folds, [n, m] each.

    Given these predictions, `aipw` is unbiased whatever `fit` is, because a person's prediction is independent of their
    own treatment and outcomes.

    Args:
        key: for the folds and for each fit.
        trial: n people.
        fit: (key, trial of the other folds) -> (x -> Outcomes).
        folds: at least 2, at most n.

    Raises:
        InputError: a number of folds outside this range.
    """
    if not 2 <= folds <= trial.t.shape[0]:
        refuse("folds", found=folds, expected=f"from 2 to {trial.t.shape[0]}, the number of people")
    fold_key, *fit_keys = jax.random.split(key, folds + 1)
    parts = jnp.array_split(jax.random.permutation(fold_key, trial.t.shape[0]), folds)
    predictions = []
    for k, (fit_key, part) in enumerate(zip(fit_keys, parts, strict=True)):
        predict = fit(fit_key, take(trial, jnp.concatenate(parts[:k] + parts[k + 1 :])))
        predictions.append(predict(trial.x[part]))
    back = jnp.argsort(jnp.concatenate(parts))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[back], *predictions)
