import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError, Outcomes, Trial
from dfcl_jax.metrics import aucc, roi_score


def trial_of(t, r, c) -> Trial:
    t, r, c = (jnp.asarray(np.asarray(a, np.float64)) for a in (t, r, c))
    return Trial(jnp.zeros((len(t), 1)), t.astype(int), r, c, jnp.array([0.5, 0.5]))


@pytest.mark.parametrize("case", [0, 1])
def test_area_is_that_of_the_authors_code(reference, case):
    given = {name: reference[f"aucc{case}_{name}"] for name in ("t", "r", "c", "score", "quantile", "aucc")}
    trial = trial_of(given["t"], given["r"], given["c"])
    ours = aucc(jnp.asarray(given["score"]), trial, points=int(given["quantile"]))
    # Sums of a few thousand float64 numbers in another order.
    assert float(ours) == pytest.approx(float(given["aucc"]), abs=1e-9)


def published_example() -> tuple[np.ndarray, Trial]:
    rng = np.random.default_rng(0)
    x = rng.random(2000)
    t = rng.random(2000) < 0.5
    r = rng.random(2000) < 0.1 + 0.2 * x * t
    c = rng.random(2000) < 0.2 + 0.3 * t
    return x, trial_of(t, r, c)


@pytest.mark.parametrize(("sign", "expected"), [(1, 0.6818712896), (-1, 0.3173787419)])
def test_known_answers(sign, expected):
    x, trial = published_example()
    # The published figures have ten digits.
    assert float(aucc(sign * x, trial, points=20)) == pytest.approx(expected, abs=1e-10)


def test_a_monotone_transform_of_the_score_changes_nothing():
    x, trial = published_example()
    assert float(aucc(np.exp(3 * x), trial)) == float(aucc(x, trial))


def test_random_rankings_have_half_the_area():
    _, trial = published_example()
    areas = [float(aucc(np.random.default_rng(seed).random(2000), trial)) for seed in range(200)]
    # 4 standard errors of the mean; a curve of 200 points ends at 1 and counts 201, so half is 0.5 to 1/200.
    assert abs(np.mean(areas) - 0.5) < 4 * np.std(areas) / np.sqrt(200) + 1 / 200


def test_float32_agrees_with_float64():
    x, trial = published_example()
    single = jax.tree.map(lambda a: a.astype(jnp.float32) if a.dtype == jnp.float64 else a, trial)
    # A running sum of 2,000 float32 numbers near 1e-3 each errs by less than 1e-4 of its total.
    assert float(aucc(x.astype(np.float32), single)) == pytest.approx(float(aucc(x, trial)), rel=1e-3)


def test_roi_is_incremental_revenue_over_incremental_cost():
    outcomes = Outcomes(jnp.array([[1.0, 3.0], [2.0, 2.5]]), jnp.array([[0.0, 4.0], [1.0, 0.5]]))
    # A negative incremental cost counts as 1e-6.
    np.testing.assert_allclose(roi_score(outcomes), [0.5, 0.5 / 1e-6])


def test_more_than_two_treatments_have_no_cost_curve():
    trial = Trial(jnp.zeros((3, 1)), jnp.arange(3), jnp.ones(3), jnp.ones(3), jnp.full(3, 1 / 3))
    with pytest.raises(InputError, match="trial: found 3 treatments, expected 2"):
        aucc(jnp.zeros(3), trial)
