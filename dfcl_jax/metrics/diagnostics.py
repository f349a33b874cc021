"""Whether a trial can carry a verdict: randomisation, overlap, matched people, calibration."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jax.typing import ArrayLike
from scipy.stats import binomtest, chi2, rankdata

from dfcl_jax.errors import refuse
from dfcl_jax.metrics.checks import as_array, as_arrays, check_features, check_settling, check_trial
from dfcl_jax.metrics.randomisation import Randomisation, randomisation_test, ranks
from dfcl_jax.scores import observation_weights
from dfcl_jax.solvers import hard
from dfcl_jax.solvers.checks import check_outcomes
from dfcl_jax.types import Outcomes, Scores, Trial, num_arms, pick

# Of a column that is a combination of others nothing is left in float64 but rounding.
_COLLINEAR = 1e-9
# People that the design expects of a treatment, from where the chi-square limit of their number is close.
_LARGE = 20
# People whom the test of balance looks at, at most.
_TESTED = 100_000
# Relative rounding of a statistic: those as close as this are equal.
_ROUNDING = 1e-9


class DesignTest(NamedTuple):
    """A test of how treatments were given; a p value of NaN says that there was nothing to test."""

    statistic: float
    freedom: int  # comparisons that are free to differ
    p_value: float

    def __str__(self) -> str:
        return "not testable" if np.isnan(self.p_value) else f"p = {self.p_value:.2g}"


def arm_shares(trial: Trial, *, given_propensities: bool = True) -> tuple[pd.DataFrame, DesignTest]:
    """How often each treatment was given, against the design.

    A small p value says that the propensities are not those of the trial (a sample ratio mismatch), and then every
    estimate by weights is off. The statistic is d' V^-1 d, d = sum_i (1[t_i = j] - p_ij) over all treatments but one
    and V its covariance under the design. Its p value is that of a chi-square of m - 1 degrees where the design expects
    20 people or more of every treatment; with fewer it is exact: binomial of two treatments, of more that of 9,999
    multinomial draws, and of propensities of every person that of `randomisation_test`.

    Args:
        trial: n people.
        given_propensities: whether the design names them. Propensities that were estimated as the shares of the trial
            agree with it by construction: statistic and p value are then NaN, "not testable".

    Returns:
        A row for each treatment (count, share, design: mean propensity), and the test.

    Raises:
        InputError: as `checks.check_trial`: treatments, outcomes or propensities that none can be.
    """
    trial = check_trial(trial)
    given, p = _given(trial)
    counts = given.sum(axis=0).astype(int)
    shares = pd.DataFrame({"count": counts, "share": given.mean(axis=0), "design": p.mean(axis=0)})
    shares = shares.rename_axis("treatment").reset_index()
    freedom = given.shape[1] - 1
    if not given_propensities:
        return shares, DesignTest(float("nan"), freedom, float("nan"))
    statistic = _shares_statistic(counts[None, :], p)[0]
    if p.sum(axis=0).min() >= _LARGE:
        p_value = chi2.sf(statistic, freedom)
    elif trial.p.ndim == 2:
        p_value = randomisation_test(np.asarray(trial.t), p, np.ones((len(p), 1))).p_value
    elif freedom == 1:
        p_value = binomtest(int(counts[1]), len(p), float(p[0, 1])).pvalue
    else:
        q = p[0] / p[0].sum()
        drawn = _shares_statistic(np.random.default_rng(0).multinomial(len(p), q, 9_999), p)
        p_value = (1 + (drawn >= statistic * (1 - _ROUNDING)).sum()) / 10_000
    return shares, DesignTest(float(statistic), freedom, float(p_value))


def balance(trial: Trial, *, names: Sequence[str] | None = None) -> tuple[pd.DataFrame, DesignTest]:
    """Whether people differ by treatment in what was known before it.

    The difference of a feature at a treatment is (weighted mean there - mean of all) / standard deviation, weights
    1 / p; of a balanced trial it is of the order of `error`, its standard error. The test of all features and
    treatments together is the `randomisation_test` of the features' ranks, `imbalance`: its level is exact for rare
    categories, heavy tails and rare treatments.

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
    names = feature_names(names, x.shape[1])
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
    values = np.linalg.eigvalsh(centred.T @ centred)
    free = int((values > _COLLINEAR * values.max(initial=0)).sum()) * (given.shape[1] - 1)
    found = imbalance(trial)
    return rows, DesignTest(found.statistic, free, found.p_value)


def imbalance(trial: Trial) -> Randomisation:
    """The `randomisation_test` of a trial's features by rank: p value, and the feature and treatment furthest off.

    Of a larger trial 100,000 people are tested, drawn at random with a fixed seed.
    """
    t, p, x = (np.asarray(part) for part in (trial.t, trial.p, trial.x))
    if len(t) > _TESTED:
        some = np.random.default_rng(0).choice(len(t), _TESTED, replace=False)
        t, x, p = t[some], x[some], p[some] if p.ndim == 2 else p
    return randomisation_test(t, p.astype(np.float64), ranks(x))


def feature_names(names: Sequence[str] | None, d: int) -> list[str]:
    """The names of d features, x0 and so on if none are given; refused where they are too many or too few."""
    names = [f"x{k}" for k in range(d)] if names is None else list(names)
    if len(names) != d:
        refuse("names", found=f"{len(names)}", expected=f"one for each of {d} features")
    return names


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


def calibration(
    outcomes: Outcomes,
    scores: Scores,
    *,
    bins: int = 10,
    control: int | None = None,
    weights: ArrayLike | None = None,
) -> pd.DataFrame:
    """Predicted against estimated outcomes, by bins of the prediction, of equal size but for ties.

    Args:
        outcomes: predictions, [n, m] each.
        scores: what estimates the truth, [n, m] each: `ipw` or `aipw`.
        bins: 10 for deciles.
        control: if given, it is uplift over this treatment that is compared, not the level.
        weights: how many people each row stands for, [n]; one if not given. Bins have equally many rows.

    Returns:
        A row for each outcome ("revenue", "cost"), treatment and bin: number of rows, mean prediction, mean score and
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
            table = _binned(frame, None if weights is None else np.asarray(weights, np.float64))
            frames.append(table.reset_index().assign(outcome=name, treatment=j))
    columns = ["outcome", "treatment", "bin", "people", "predicted", "estimated", "error"]
    return pd.concat(frames, ignore_index=True)[columns]


def _binned(frame: pd.DataFrame, weights: np.ndarray | None) -> pd.DataFrame:
    """Means of each bin, the number of its rows and the standard error of the mean score."""
    groups = frame.groupby("bin")
    if weights is None:
        return groups.mean().assign(people=groups.size(), error=groups.estimated.sem())
    total = frame.assign(w=weights).groupby("bin").w.sum()
    means = frame[["predicted", "estimated"]].mul(weights, axis=0).groupby(frame.bin).sum().div(total, axis=0)
    off = weights * (frame.estimated - means.estimated.loc[frame.bin].to_numpy())
    return means.assign(people=groups.size(), error=np.sqrt((off**2).groupby(frame.bin).sum()) / total)


class PredictionQuality(NamedTuple):
    """How well the outcomes that were seen are predicted, mean over people as the trial drew them and as rows weigh."""

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
        mse.append(float(np.average((y - y_hat) ** 2, weights=trial.weight)))
        if not np.isin(y, (0, 1)).all():
            logloss.append(float("nan"))
            continue
        q = np.clip(y_hat, np.finfo(np.float32).eps, 1 - np.finfo(np.float32).eps)
        logloss.append(float(np.average(-(y * np.log(q) + (1 - y) * np.log1p(-q)), weights=trial.weight)))
    return PredictionQuality(*mse, *logloss)


def _given(trial: Trial) -> tuple[np.ndarray, np.ndarray]:
    """1[t_i = j] and p_ij, [n, m] each."""
    n, m = trial.t.shape[0], num_arms(trial)
    given = np.asarray(observation_weights(trial) > 0, np.float64)
    return given, np.broadcast_to(np.atleast_2d(np.asarray(trial.p, np.float64)), (n, m))


def _shares_statistic(counts: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Of k trials' counts of treatments, [k, m]: d' V^-1 d over all treatments but the first, [k]."""
    p = p[:, 1:]
    covariance = np.diag(p.sum(axis=0)) - p.T @ p
    off = counts[:, 1:] - p.sum(axis=0)
    return (off * np.linalg.solve(covariance, off.T).T).sum(axis=1)


def _effective(total: np.ndarray, squares: np.ndarray) -> np.ndarray:
    return np.where(squares > 0, total**2 / np.where(squares > 0, squares, 1), 0)
