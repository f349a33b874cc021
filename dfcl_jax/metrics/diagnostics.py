"""Whether a trial can carry a verdict: randomisation, overlap, matched people, calibration."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jax.typing import ArrayLike
from scipy.stats import chi2, rankdata

from dfcl_jax.errors import refuse
from dfcl_jax.metrics.checks import as_array, as_arrays, check_features, check_settling, check_trial
from dfcl_jax.scores import observation_weights
from dfcl_jax.solvers import hard
from dfcl_jax.solvers.checks import check_outcomes
from dfcl_jax.types import Outcomes, Scores, Trial, num_arms, pick

# Of a column that is a combination of others nothing is left in float64 but rounding.
_COLLINEAR = 1e-9


class ChiSquare(NamedTuple):
    """A chi-square test."""

    statistic: float
    freedom: int
    p_value: float


def arm_shares(trial: Trial) -> tuple[pd.DataFrame, ChiSquare]:
    """How often each treatment was given, against the design.

    The test of all shares together: d' V^-1 d, d = sum_i (1[t_i = j] - p_ij) over all treatments but one and V its
    covariance under the design, chi-square of m - 1 degrees. A small p-value says that the propensities are not those
    of the trial, and then every estimate by weights is off.

    Returns:
        A row for each treatment (count, share, design: mean propensity), and the test.

    Raises:
        InputError: as `checks.check_trial`: treatments, outcomes or propensities that none can be.
    """
    trial = check_trial(trial)
    given, p = _given(trial)
    shares = pd.DataFrame(
        {"count": given.sum(axis=0).astype(int), "share": given.mean(axis=0), "design": p.mean(axis=0)}
    )
    return shares.rename_axis("treatment").reset_index(), _design_test(given, p, np.ones((len(given), 1)))


def balance(trial: Trial, *, names: Sequence[str] | None = None) -> tuple[pd.DataFrame, ChiSquare]:
    """Whether people differ by treatment in what was known before it.

    The difference of a feature at a treatment is (weighted mean there - mean of all) / standard deviation, weights
    1 / p; of a balanced trial it is of the order of `error`, its standard error. The test of all features and
    treatments together is that of `arm_shares` with sum_i (1[t_i = j] - p_ij) x_i; features that are combinations of
    others do not count.

    Args:
        trial: n people.
        names: of the d features.

    Returns:
        A row for each feature and treatment (difference, error), and the test.

    Raises:
        InputError: as `checks.check_trial`; a feature that is not finite, or names that are too many or too few.
    """
    trial = check_trial(trial)
    given, p = _given(trial)
    x = check_features(trial)
    names = [f"x{k}" for k in range(x.shape[1])] if names is None else list(names)
    if len(names) != x.shape[1]:
        refuse("names", found=f"{len(names)}", expected=f"one for each of {x.shape[1]} features")
    spread = x.std(axis=0)
    centred = (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1)
    weights = given / p
    sizes = weights.sum(axis=0)
    sizes = np.where(sizes > 0, sizes, np.nan)
    rows = pd.DataFrame(
        {
            "feature": np.repeat(names, given.shape[1]),
            "treatment": np.tile(np.arange(given.shape[1]), len(names)),
            "difference": (centred.T @ weights / sizes).ravel(),
            "error": np.sqrt((centred**2).T @ weights**2).ravel() / np.tile(sizes, len(names)),
        }
    )
    return rows, _design_test(given, p, centred)


def overlap(trial: Trial) -> pd.DataFrame:
    """How thin the trial is at each treatment: a row for each.

    Columns: least propensity; largest weight 1 / p of a person who had it; effective size (sum w)^2 / sum w^2 of those
    who had it, the number of people drawn alike that would tell as much.
    """
    trial = check_trial(trial)
    given, p = _given(trial)
    weights = given / p
    frame = pd.DataFrame(
        {
            "least_propensity": p.min(axis=0),
            "largest_weight": weights.max(axis=0),
            "effective_size": _effective(weights.sum(axis=0), (weights**2).sum(axis=0)),
        }
    )
    return frame.rename_axis("treatment").reset_index()


def matched(outcomes: Outcomes, scores: Scores, lams: ArrayLike) -> pd.DataFrame:
    """How many people of the trial had what a policy would give them: a row for each multiplier.

    `matched` counts them; `effective_size` is (sum w)^2 / sum w^2 over them, of which few mean a wide interval whatever
    n is.

    Args:
        outcomes: what decides, [n, m] each.
        scores: what settles, [n, m] each, with the weights of the observations in them.
        lams: multipliers, `eom(...).lam` of the budgets, [b].

    Raises:
        InputError: as `checks.check_settling`.
    """
    outcomes, scores = check_settling(outcomes, scores)
    weights = np.stack([np.asarray(pick(scores.w, hard(outcomes, lam)), np.float64) for lam in as_array(lams)])
    size = _effective(weights.sum(axis=1), (weights**2).sum(axis=1))
    return pd.DataFrame({"matched": (weights > 0).sum(axis=1), "effective_size": size})


def calibration(outcomes: Outcomes, scores: Scores, *, bins: int = 10, control: int | None = None) -> pd.DataFrame:
    """Predicted against estimated outcomes, by bins of the prediction, of equal size but for ties.

    Args:
        outcomes: predictions, [n, m] each.
        scores: what estimates the truth, [n, m] each: `ipw` or `aipw`.
        bins: 10 for deciles.
        control: if given, it is uplift over this treatment that is compared, not the level.

    Returns:
        A row for each outcome ("revenue", "cost"), treatment and bin: number of people, mean prediction, mean score and
        its standard error. Of a calibrated model mean prediction and mean score agree to about two errors.
    """
    outcomes, scores = check_settling(outcomes, scores)
    n, m = outcomes.r.shape
    if not 1 <= bins <= n // 2:
        refuse("bins", found=bins, expected=f"1 to {n // 2}, for two people in each")
    frames = []
    pairs = (("revenue", outcomes.r, scores.r), ("cost", outcomes.c, scores.c))
    for name, predicted, estimated in pairs:
        predicted, estimated = (np.asarray(s, np.float64) for s in (predicted, estimated))
        if control is not None:
            predicted, estimated = (s - s[:, [control]] for s in (predicted, estimated))
        for j in range(m):
            if j == control:
                continue
            # Equal predictions have one rank, and so one bin.
            bin_of = ((rankdata(predicted[:, j]) - 0.5) * bins / n).astype(int)
            frame = pd.DataFrame({"bin": bin_of, "predicted": predicted[:, j], "estimated": estimated[:, j]})
            groups = frame.groupby("bin")
            table = groups.mean().assign(people=groups.size(), error=groups.estimated.sem())
            frames.append(table.reset_index().assign(outcome=name, treatment=j))
    columns = ["outcome", "treatment", "bin", "people", "predicted", "estimated", "error"]
    return pd.concat(frames, ignore_index=True)[columns]


class PredictionQuality(NamedTuple):
    """How well the outcomes that were seen are predicted, mean over people as the trial drew them."""

    mse_r: float
    mse_c: float
    logloss_r: float  # NaN where the outcome is not 0 or 1
    logloss_c: float


def prediction_quality(outcomes: Outcomes, trial: Trial) -> PredictionQuality:
    """Squared error and, of outcomes of 0 and 1, log loss of predictions at the treatments given (DFCL, section 5).

    Raises:
        InputError: as `checks.check_trial`; predictions that are not [n, m] or hold NaN.
    """
    trial, outcomes = check_trial(trial), check_outcomes(as_arrays(outcomes))
    if outcomes.r.shape != (len(trial.t), num_arms(trial)):
        refuse("outcomes", found=f"shape {outcomes.r.shape}", expected=f"({len(trial.t)}, {num_arms(trial)})")
    mse, logloss = [], []
    for predicted, seen in ((outcomes.r, trial.r), (outcomes.c, trial.c)):
        y_hat, y = (np.asarray(v, np.float64) for v in (pick(predicted, trial.t), seen))
        mse.append(float(((y - y_hat) ** 2).mean()))
        if not np.isin(y, (0, 1)).all():
            logloss.append(float("nan"))
            continue
        q = np.clip(y_hat, np.finfo(np.float32).eps, 1 - np.finfo(np.float32).eps)
        logloss.append(float(-(y * np.log(q) + (1 - y) * np.log1p(-q)).mean()))
    return PredictionQuality(*mse, *logloss)


def _given(trial: Trial) -> tuple[np.ndarray, np.ndarray]:
    """1[t_i = j] and p_ij, [n, m] each."""
    n, m = trial.t.shape[0], num_arms(trial)
    given = np.asarray(observation_weights(trial) > 0, np.float64)
    return given, np.broadcast_to(np.atleast_2d(np.asarray(trial.p, np.float64)), (n, m))


def _design_test(given: np.ndarray, p: np.ndarray, x: np.ndarray) -> ChiSquare:
    """Of sum_i (1[t_i = j] - p_ij) x_i = 0 for all treatments but the first and all columns of x [n, d]."""
    given, p = given[:, 1:], p[:, 1:]
    m, d = p.shape[1], x.shape[1]
    difference = ((given - p).T @ x).ravel()
    covariance = np.empty((m, d, m, d))
    for j in range(m):
        for k in range(m):
            spread = p[:, j] * ((j == k) - p[:, k])
            covariance[j, :, k] = (x * spread[:, None]).T @ x
    values, vectors = np.linalg.eigh(covariance.reshape(m * d, m * d))
    keep = values > _COLLINEAR * values.max()
    statistic = float(((vectors.T @ difference)[keep] ** 2 / values[keep]).sum())
    return ChiSquare(statistic, int(keep.sum()), float(chi2.sf(statistic, keep.sum())))


def _effective(total: np.ndarray, squares: np.ndarray) -> np.ndarray:
    return np.where(squares > 0, total**2 / np.where(squares > 0, squares, 1), 0)
