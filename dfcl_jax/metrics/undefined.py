"""Why the area of a curve is not defined on a trial: the reason behind a NaN."""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from dfcl_jax.errors import shown
from dfcl_jax.metrics.checks import check_trial, check_weights
from dfcl_jax.metrics.cost_curve import aucc, exact_aucc, mt_aucc
from dfcl_jax.types import Trial, num_arms

# (score, trial, weights=...) -> area
Area = Callable[..., Array]


def why_undefined(
    trial: Trial, area: Area, *, arms: Sequence[object] | None = None, weights: ArrayLike | None = None
) -> str | None:
    """Return why an area is NaN on a trial, a sentence; None where it is defined.

    Areas under cost curves are shares of total incremental cost times total incremental revenue, so treatment must cost
    more and bring more than control; CausalML's are shares of the total gain, which must not be 0; scikit-uplift's are
    shares of the area of the perfect ranking, so some ranking must be better than another. Which it is does not depend
    on the score.

    Args:
        trial: what the area is asked of.
        area: `metrics.aucc`, `exact_aucc`, `mt_aucc`, `causalml_auuc`, `causalml_qini`, `sklift_auuc`, `sklift_qini`.
        arms: the names of the treatments.
        weights: how many people each row stands for, [n].

    Raises:
        InputError: as the area.
    """
    trial = check_trial(trial)
    n, m = len(trial.t), num_arms(trial)
    anybody = jnp.zeros((n, m - 1) if area is mt_aucc else n)
    if not bool(jnp.isnan(area(anybody, trial, weights=weights))):
        return None
    names = [shown(arm) for arm in arms] if arms is not None else [f"treatment {j}" for j in range(m)]
    t, w = np.asarray(trial.t), np.asarray(check_weights(weights, n, trial.r.dtype), np.float64)
    sizes = np.bincount(t, w, minlength=m)
    if (sizes == 0).any():
        return f"Nobody was given {names[int(np.argmin(sizes))]}: there is nothing to compare."
    revenue, cost = (np.bincount(t, w * np.asarray(y, np.float64), minlength=m) / sizes for y in (trial.r, trial.c))
    if area in (aucc, exact_aucc, mt_aucc):
        # The difference may be a rounding above 0 where the metric takes it for 0: then it is the smaller of both.
        rise = [(y[-1] - y[0]) / np.abs(y).max() if y.any() else 0.0 for y in (cost, revenue)]
        what, means = ("cost", cost) if rise[0] <= 0 or rise[0] < rise[1] else ("revenue", revenue)
        return (
            f"Mean {what} is {means[-1]:.4g} under {names[-1]} and {means[0]:.4g} under {names[0]}: a cost curve needs "
            f"a treatment that {'costs' if what == 'cost' else 'brings'} more than the control."
        )
    return (
        f"Mean revenue is {revenue[-1]:.4g} under {names[-1]} and {revenue[0]:.4g} under {names[0]}: there is nothing "
        "to gain that an area could be a share of."
    )
