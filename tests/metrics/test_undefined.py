"""Areas that are shares of nothing are NaN, with a reason, also under jit and in every replicate of a bootstrap."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import Trial, metrics

COST_CURVES = [metrics.aucc, metrics.exact_aucc, metrics.mt_aucc]
OF_UPLIFT = [metrics.causalml_auuc, metrics.causalml_qini, metrics.sklift_auuc, metrics.sklift_qini]
N = 60
T = np.arange(N) % 2
# Of the treated 20 of 30 respond, of the others 10 of 30.
RESPONSE = ((np.arange(N) // 2) % 3 <= T).astype(float)


def trial_of(t=T, r=RESPONSE, c=T * 1.0) -> Trial:
    return Trial(jnp.zeros((N, 1)), *map(jnp.asarray, (t, r, c, np.array([0.5, 0.5]))))


def score_for(area):
    score = np.random.default_rng(0).random(N)
    return score[:, None] if area is metrics.mt_aucc else score


@pytest.mark.thorough
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize(
    ("areas", "columns", "reason"),
    [
        (
            COST_CURVES,
            {"c": np.full(N, 0.3)},
            "Mean cost is 0.3 under 'coupon' and 0.3 under 'none': a cost curve needs",
        ),
        (COST_CURVES, {"c": 1.0 - T}, "Mean cost is 0 under 'coupon' and 1 under 'none'"),
        (COST_CURVES, {"r": np.full(N, 0.1)}, "Mean revenue is 0.1 under 'coupon' and 0.1 under 'none'"),
        (COST_CURVES, {"r": RESPONSE[::-1].copy()}, "a treatment that brings more than the control"),
        (OF_UPLIFT[:2], {"r": np.full(N, 0.1)}, "there is nothing to gain that an area could be a share of"),
        (OF_UPLIFT, {"r": np.zeros(N)}, "Mean revenue is 0 under 'coupon' and 0 under 'none'"),
        (OF_UPLIFT[2:], {"r": np.ones(N)}, "there is nothing to gain"),
        (
            [*COST_CURVES, *OF_UPLIFT],
            {"t": np.zeros(N, int)},
            "Nobody was given 'coupon': there is nothing to compare.",
        ),
    ],
)
def test_an_area_that_is_a_share_of_nothing_is_nan_and_says_why(areas, columns, reason, dtype):
    trial = trial_of(**columns)
    trial = trial._replace(r=trial.r.astype(dtype), c=trial.c.astype(dtype), p=trial.p.astype(dtype))
    for area in areas:
        assert np.isnan(area(score_for(area), trial)), area
        assert np.isnan(jax.jit(area)(jnp.asarray(score_for(area)), trial)), area
        assert reason in metrics.why_undefined(trial, area, arms=["none", "coupon"]), area


@pytest.mark.parametrize("area", [*COST_CURVES, *OF_UPLIFT])
def test_an_area_that_is_defined_has_no_reason(area):
    assert np.isfinite(area(score_for(area), trial_of()))
    assert metrics.why_undefined(trial_of(), area) is None


def statistic(data, weights):
    score, trial, mean = data
    return {"area": metrics.aucc(score, trial, weights=weights), "mean": weights @ mean / weights.sum()}


def test_the_bootstrap_of_an_undefined_area_has_no_interval():
    data = (jnp.asarray(score_for(metrics.aucc)), trial_of(c=np.ones(N)), jnp.asarray(RESPONSE))
    boot = metrics.bootstrap(statistic, data, N, key=jax.random.key(0), replicates=50)
    for method in ("percentile", "normal"):
        interval = boot.interval(method=method)
        assert np.isnan(interval["area"]).all()
        assert np.isfinite(interval["mean"]).all()
    assert np.isnan(boot.error["area"])
    assert np.isfinite(boot.error["mean"])


@pytest.mark.parametrize(("missing", "known"), [(5, True), (6, False)])
def test_an_interval_is_known_while_fewer_draws_are_missing_than_it_leaves_out(missing, known):
    draws = np.concatenate([np.full(missing, np.nan), np.linspace(-1, 1, 100 - missing)])
    boot = metrics.Replicates(np.array(0.0), draws)
    assert np.isfinite(boot.interval(level=0.95).low) == known
    assert np.isfinite(boot.error) == known
    assert np.isnan(metrics.Replicates(np.array(np.nan), np.linspace(-1, 1, 100)).interval().high)
