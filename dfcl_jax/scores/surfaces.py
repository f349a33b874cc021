"""Estimators as methods are given them: (training rows, two-stage predictions) -> what decisions earn."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp

from dfcl_jax.scores.estimators import aipw, centred, ipw
from dfcl_jax.scores.spread import in_own_units, outcome_level, outcome_scale, tails, winsorised
from dfcl_jax.types import Outcomes, Scores, Trial

Estimator = Callable[[Trial, Outcomes], Scores]


class OnSample(NamedTuple):
    """An estimator that needs a statistic of the whole sample: learned once, then applied to any rows of it."""

    learn: Callable[[Trial, Outcomes], Any]  # (sample, its predictions) -> statistic
    apply: Callable[[Trial, Outcomes, Any], Scores]  # (rows, their predictions, statistic) -> scores

    def __call__(self, trial: Trial, outcomes_hat: Outcomes) -> Scores:
        """The scores of a whole sample."""
        return self.apply(trial, outcomes_hat, self.learn(trial, outcomes_hat))


def learn(estimator: Estimator, sample: Trial, outcomes_hat: Outcomes) -> Any:
    """The statistic of the whole sample that an estimator needs; None where it needs none."""
    return estimator.learn(sample, outcomes_hat) if isinstance(estimator, OnSample) else None


def apply(estimator: Estimator, trial: Trial, outcomes_hat: Outcomes, statistic: Any) -> Scores:
    """The scores of some rows, with the statistic that `learn` found."""
    if isinstance(estimator, OnSample):
        return estimator.apply(trial, outcomes_hat, statistic)
    return estimator(trial, outcomes_hat)


def raw(trial: Trial, outcomes_hat: Outcomes) -> Scores:
    """Raw outcomes weighted by propensities: the scores of the published losses, which look at no prediction."""
    return ipw(trial)


def unweighted(trial: Trial, outcomes_hat: Outcomes) -> Scores:
    """Raw outcomes as they are, as the authors' code has (D6): an ablation, biased where propensities differ."""
    return raw(trial._replace(p=jnp.ones_like(trial.p)), outcomes_hat)


def _level(sample: Trial, outcomes_hat: Outcomes) -> Any:
    return outcome_level(outcomes_hat, sample.weight)


def _centred_in_own_units(trial: Trial, outcomes_hat: Outcomes, level: Any) -> Scores:
    return in_own_units(centred(trial, outcomes_hat), outcome_scale(outcomes_hat, level=level))


def _aipw_in_own_units(trial: Trial, outcomes_hat: Outcomes, level: Any, *, power: float = 1.0) -> Scores:
    return in_own_units(aipw(trial, outcomes_hat), outcome_scale(outcomes_hat, level=level, power=power))


def _raw_by_precision(trial: Trial, outcomes_hat: Outcomes, level: Any) -> Scores:
    scale = outcome_scale(outcomes_hat, level=level)[:, None]
    return Scores(*(surface / scale**2 for surface in ipw(trial)))


def _tails(sample: Trial, outcomes_hat: Outcomes) -> Outcomes:
    return tails(sample)


def _raw_winsorised(trial: Trial, outcomes_hat: Outcomes, cuts: Outcomes) -> Scores:
    return raw(winsorised(trial, cuts=cuts), outcomes_hat)


def _centred_winsorised(trial: Trial, outcomes_hat: Outcomes, cuts: Outcomes) -> Scores:
    return centred(winsorised(trial, cuts=cuts), outcomes_hat)


# Centred scores, each person's in the unit of their predicted base.
centred_in_own_units = OnSample(_level, _centred_in_own_units)
# The same of doubly robust scores.
aipw_in_own_units = OnSample(_level, _aipw_in_own_units)
# In the root of that unit, which the noise of rare events is proportional to.
aipw_in_root_units = OnSample(_level, partial(_aipw_in_own_units, power=0.5))
# Raw scores, everybody weighing 1 / scale^2: for `losses.decision.weighted_squares`, least squares of weighted people.
raw_by_precision = OnSample(_level, _raw_by_precision)
# Scores of outcomes without their tails.
raw_winsorised = OnSample(_tails, _raw_winsorised)
centred_winsorised = OnSample(_tails, _centred_winsorised)
