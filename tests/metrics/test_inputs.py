"""Arrays of NumPy and JAX and tables of pandas give the same figures; what cannot be is named."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from dfcl_jax import InputError, Outcomes, Scores, Trial, metrics, scores
from dfcl_jax.metrics import diagnostics

N = 40


def example() -> tuple[Trial, Outcomes]:
    rng = np.random.default_rng(0)
    t = np.arange(N) % 2
    columns = (rng.normal(size=(N, 2)), t, (rng.random(N) < 0.3 + 0.3 * t).astype(float), t * rng.random(N))
    c = np.column_stack([np.zeros(N), rng.random(N)])
    return Trial(*map(jnp.asarray, (*columns, np.array([0.5, 0.5])))), Outcomes(
        jnp.asarray(c + rng.random((N, 2))), jnp.asarray(c)
    )


def as_numpy(leaf):
    return np.asarray(leaf)


def as_pandas(leaf):
    return pd.DataFrame(np.asarray(leaf)) if leaf.ndim == 2 else pd.Series(np.asarray(leaf))


@pytest.mark.thorough
@pytest.mark.parametrize("kind", [as_numpy, as_pandas])
def test_every_metric_takes_arrays_and_tables_alike(kind):
    trial, outcomes = example()
    settling = scores.ipw(trial)
    score, arm, budgets = metrics.roi_score(outcomes), trial.t, np.array([0.1, 0.3])
    given = jax.tree.map(kind, (trial, outcomes, settling, score, arm))

    def figures(trial, outcomes, settling, score, arm):
        steps = metrics.value_steps(outcomes, settling)
        uplift = [metrics.causalml_auuc, metrics.causalml_qini, metrics.sklift_auuc, metrics.sklift_qini]
        return [
            metrics.eom(outcomes, settling, budgets).revenue,
            metrics.policy_value(arm, settling),
            metrics.influence(arm, settling).r,
            metrics.qini(steps, budgets),
            metrics.qini_area(metrics.untargeted(outcomes, settling), 0.2),
            metrics.contrasts(outcomes).r,
            metrics.mt_aucc(metrics.marginal_roi_score(outcomes), trial),
            *(metric(score, trial) for metric in (metrics.aucc, metrics.exact_aucc, *uplift)),
            *(test(trial)[1].statistic for test in (diagnostics.arm_shares, diagnostics.balance)),
            diagnostics.overlap(trial).effective_size.to_numpy(),
            diagnostics.matched(outcomes, settling, np.array([0.5])).effective_size.to_numpy(),
            diagnostics.calibration(outcomes, settling, bins=4).estimated.to_numpy(),
            diagnostics.prediction_quality(outcomes, trial)[:2],
        ]

    for ours, theirs in zip(figures(trial, outcomes, settling, score, arm), figures(*given), strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        (np.array([0, 1, 2] + [0] * 37), r"policy of unit 2: found 2, expected a whole number of 0\.\.1"),
        (np.array([0.5] * N), r"policy of unit 0: found 0.5, expected a whole number"),
        (np.zeros(3, int), r"policy: found shape \(3,\), expected one for each of 40 units"),
    ],
)
def test_policies_that_cannot_be_are_named(arm, message):
    settling = scores.ipw(example()[0])
    for metric in (metrics.policy_value, metrics.influence):
        with pytest.raises(InputError, match=message):
            metric(arm, settling)


def test_scores_of_different_shapes_are_named():
    settling = scores.ipw(example()[0])
    with pytest.raises(
        InputError, match=r"scores: found r \(40, 2\), c \(40, 1\), w \(40, 2\), expected three \[n, m\]"
    ):
        metrics.policy_value(np.zeros(N, int), Scores(settling.r, settling.c[:, :1], settling.w))


def test_what_only_one_metric_needs_is_named_there():
    trial, outcomes = example()
    with pytest.raises(InputError, match="trial, feature 1 of unit 2: found nan, expected a finite number"):
        diagnostics.balance(trial._replace(x=trial.x.at[2, 1].set(jnp.nan)))
    with pytest.raises(InputError, match="names: found 1, expected one for each of 2 features"):
        diagnostics.balance(trial, names=["age"])
    with pytest.raises(InputError, match="bins: found 30, expected 1 to 20"):
        diagnostics.calibration(outcomes, scores.ipw(trial), bins=30)
    with pytest.raises(InputError, match=r"outcomes: found shape \(39, 2\), expected \(40, 2\)"):
        diagnostics.prediction_quality(Outcomes(*(s[:39] for s in outcomes)), trial)
    with pytest.raises(InputError, match="weights of unit 0: found nan"):
        metrics.eom(outcomes, scores.ipw(trial), 0.1, weights=np.full(N, np.nan))
