from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import Outcomes, Scores, Trial, scores
from dfcl_jax.losses import policy_learning_loss

P = np.array([[0.1, 0.3, 0.6], [0.7, 0.2, 0.1]])
TRUTH = Outcomes(np.array([[3.0, 4.0, 6.0], [9.0, 5.0, 1.0]]), np.array([[0.0, 0.5, 1.0], [0.2, 0.6, 0.7]]))  # type: ignore[arg-type]
WRONG = Outcomes(np.array([[9.0, -3.0, 2.0], [0.0, 5.0, 1.0]]), np.array([[1.0, 0.0, 3.0], [2.0, 2.0, 0.0]]))  # type: ignore[arg-type]
DRAWS = 200_000
WHO = np.repeat(np.arange(2), DRAWS)


def drawn(p=P, truth=TRUTH) -> Trial:
    """Two people drawn `DRAWS` times each, treated by p [2, m], with noise in proportion to the outcome."""
    rng = np.random.default_rng(0)
    t = (rng.random((2 * DRAWS, 1)) > np.cumsum(p, axis=1)[WHO, :-1]).sum(axis=1)
    noise = rng.gamma(4.0, size=t.shape) / 4
    columns = WHO[:, None], t, truth.r[WHO, t] * noise, truth.c[WHO, t] * noise, p[WHO]
    return Trial(*(jnp.asarray(column) for column in columns))


def known(outcomes: Outcomes) -> Outcomes:
    return Outcomes(jnp.asarray(outcomes.r[WHO]), jnp.asarray(outcomes.c[WHO]))


def by_person(surface) -> np.ndarray:
    return np.asarray(surface).reshape(2, DRAWS, -1)


def assert_same_mean(one, other):
    """Paired means per entry within 4.5 standard errors: 1 in 10,000 for a dozen of them, and the seed is fixed."""
    difference = by_person(one) - by_person(other)
    assert (np.abs(difference.mean(axis=1)) < 4.5 * difference.std(axis=1) / np.sqrt(DRAWS) + 1e-12).all()


def test_the_base_of_least_variance_written_out():
    base = scores.least_variance_base(jnp.array([[2.0, 4.0]]), jnp.array([0.25, 0.75]))
    np.testing.assert_allclose(base, [(2 / 0.25 + 4 / 0.75) / (1 / 0.25 + 1 / 0.75)])


def test_with_equal_propensities_it_is_the_mean():
    p = jnp.full(3, 1 / 3)
    np.testing.assert_allclose(scores.least_variance_base(TRUTH.r, p), scores.mean_base(TRUTH.r, p))


def test_no_other_base_has_less_variance():
    y2 = TRUTH.r**2 * 1.25  # E y_j^2 of a Gamma(4, 1/4) multiple

    def second_moment(b):  # sum_j E[(y_j - b)^2 | x] / p_j
        return ((y2 - 2 * b[:, None] * TRUTH.r + b[:, None] ** 2) / P).sum(axis=1)

    best = np.asarray(scores.least_variance_base(TRUTH.r, jnp.asarray(P)))
    # d/db sum_j E[(y_j - b)^2 | x] / p_j
    assert np.abs((2 * (best[:, None] - TRUTH.r) / P).sum(axis=1)).max() < 1e-9
    for step in (-0.5, 0.5):
        assert (second_moment(best + step) > second_moment(best)).all()


def test_the_margin_of_two_treatments_has_least_variance_with_their_contrast():
    contrast = jnp.array([[0.0, 1.0, 1.0]])
    trial = drawn()
    spreads = {}
    for name, base in {
        "margin": partial(scores.least_variance_base, contrast=contrast),
        "all": scores.least_variance_base,
        "mean": scores.mean_base,
    }.items():
        surface = by_person(scores.centred(trial, known(TRUTH), base=base).r)
        margin = surface[:, :, 2] - surface[:, :, 1]
        standard_error = margin.std(axis=1) / np.sqrt(DRAWS)
        assert (np.abs(margin.mean(axis=1) - (TRUTH.r[:, 2] - TRUTH.r[:, 1])) < 4.5 * standard_error).all(), name
        spreads[name] = margin.var(axis=1)
    assert (spreads["margin"] < spreads["mean"]).all(), spreads
    assert (spreads["margin"] < spreads["all"]).all(), spreads


def test_with_two_treatments_it_decides_as_doubly_robust_scores_do():
    p = np.array([[0.15, 0.85], [0.6, 0.4]])
    two = Outcomes(TRUTH.r[:, :2], TRUTH.c[:, :2])
    trial, wrong = drawn(p, two), known(Outcomes(WRONG.r[:, :2], WRONG.c[:, :2]))
    centred, aipw = scores.centred(trial, wrong, base=scores.least_variance_base), scores.aipw(trial, wrong)
    for one, other in zip(centred[:2], aipw[:2], strict=True):
        np.testing.assert_allclose(np.diff(one, axis=1), np.diff(other, axis=1), atol=1e-10)


by_predictions = jax.jit(jax.grad(lambda o, surfaces: policy_learning_loss(o, surfaces, jnp.array([0.5]))))


def gradient(surfaces: Scores) -> np.ndarray:
    return np.asarray(by_predictions(known(Outcomes(0.3 * WRONG.r, TRUTH.c)), surfaces).r) * (2 * DRAWS)


@pytest.mark.parametrize("nuisance", [TRUTH, WRONG], ids=["right", "wrong"])
@pytest.mark.parametrize("base", [scores.mean_base, scores.least_variance_base])
def test_no_base_moves_the_expected_gradient(base, nuisance):
    trial = drawn()
    assert_same_mean(gradient(scores.ipw(trial)), gradient(scores.centred(trial, known(nuisance), base=base)))


def test_the_order_of_variances_of_the_gradient():
    trial, right = drawn(), known(TRUTH)
    kinds = {
        "ipw": scores.ipw(trial),
        "mean": scores.centred(trial, right),
        "least": scores.centred(trial, right, base=scores.least_variance_base),
        "aipw": scores.aipw(trial, right),
    }
    variance = {name: by_person(gradient(kind)).var(axis=1).sum() for name, kind in kinds.items()}
    assert variance["aipw"] < variance["least"] < variance["mean"] < variance["ipw"], variance
