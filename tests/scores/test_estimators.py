import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import Outcomes, Trial, scores

TRIAL = Trial(
    x=jnp.zeros((3, 1)),
    t=jnp.array([0, 2, 1]),
    r=jnp.array([5.0, 7.0, 3.0]),
    c=jnp.array([0.5, 2.0, 1.0]),
    p=jnp.array([0.5, 0.25, 0.25]),
)
OUTCOMES_HAT = Outcomes(
    r=jnp.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [0.0, 0.0, 3.0]]),
    c=jnp.array([[0.0, 0.1, 0.2], [0.0, 1.0, 2.0], [0.0, 0.3, 0.6]]),
)


def test_ipw_is_the_outcome_over_the_propensity_at_the_treatment_given():
    np.testing.assert_allclose(scores.ipw(TRIAL).r, [[5 / 0.5, 0, 0], [0, 0, 7 / 0.25], [0, 3 / 0.25, 0]])
    np.testing.assert_allclose(scores.ipw(TRIAL).c, [[0.5 / 0.5, 0, 0], [0, 0, 2 / 0.25], [0, 1 / 0.25, 0]])
    np.testing.assert_allclose(scores.ipw(TRIAL).w, [[2, 0, 0], [0, 0, 4], [0, 4, 0]])


def test_centred_takes_the_mean_prediction_off_the_outcome():
    expected = [[(5 - 2) / 0.5, 0, 0], [0, 0, (7 - 5) / 0.25], [0, (3 - 1) / 0.25, 0]]
    np.testing.assert_allclose(scores.centred(TRIAL, OUTCOMES_HAT).r, expected)


def test_aipw_corrects_the_prediction_where_something_was_seen():
    expected = [[1 + (5 - 1) / 0.5, 2, 3], [4, 5, 6 + (7 - 6) / 0.25], [0, 0 + 3 / 0.25, 3]]
    np.testing.assert_allclose(scores.aipw(TRIAL, OUTCOMES_HAT).r, expected)


def test_truth_is_the_surface_with_every_treatment_seen():
    result = scores.truth(OUTCOMES_HAT)
    np.testing.assert_array_equal(result.r, OUTCOMES_HAT.r)
    np.testing.assert_array_equal(result.w, np.ones((3, 3)))


def test_propensities_by_person_and_by_treatment_agree():
    by_person = TRIAL._replace(p=jnp.broadcast_to(TRIAL.p, (3, 3)))
    for one, other in zip(scores.ipw(TRIAL), scores.ipw(by_person), strict=True):
        np.testing.assert_array_equal(one, other)


POPULATION = Outcomes(
    r=jnp.array([[1.0, 2.0, 0.5], [3.0, 1.0, 4.0]]),
    c=jnp.array([[0.0, 0.5, 1.0], [0.2, 0.6, 0.7]]),
)
WRONG = Outcomes(r=jnp.array([[9.0, -3.0, 2.0], [0.0, 5.0, 1.0]]), c=jnp.array([[1.0, 0.0, 3.0], [2.0, 2.0, 0.0]]))
DRAWS = 200_000


def _trial_of_the_population(p: np.ndarray) -> tuple[Trial, np.ndarray]:
    """Each person of the population drawn `DRAWS` times, treated by `p` [2, m], with noise on the outcomes."""
    who = np.repeat(np.arange(2), DRAWS)
    rng = np.random.default_rng(0)
    t = (rng.random((2 * DRAWS, 1)) > np.cumsum(p, axis=1)[who, :-1]).sum(axis=1)
    noise = rng.exponential(size=t.shape)
    r, c = (np.asarray(surface)[who, t] * noise for surface in POPULATION)
    return Trial(*(jnp.asarray(column) for column in (who[:, None], t, r, c, p[who]))), who


@pytest.mark.parametrize("estimator", ["ipw", "aipw", "centred"])
def test_scores_are_unbiased_for_the_true_surfaces_even_with_wrong_predictions(estimator):
    p = np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
    trial, who = _trial_of_the_population(p)
    predictions = Outcomes(*(jnp.asarray(np.asarray(surface)[who]) for surface in WRONG))
    result = scores.ipw(trial) if estimator == "ipw" else getattr(scores, estimator)(trial, predictions)
    for surface, truth, wrong in ((result.r, POPULATION.r, WRONG.r), (result.c, POPULATION.c, WRONG.c)):
        expected = truth - wrong.mean(axis=1, keepdims=True) if estimator == "centred" else truth
        by_person = np.asarray(surface).reshape(2, DRAWS, 3)
        error = by_person.mean(axis=1) - expected
        # Twelve means for each estimator: 4.5 standard errors fail by chance once in 12,000; the seed is fixed.
        assert (np.abs(error) < 4.5 * by_person.std(axis=1) / np.sqrt(DRAWS) + 1e-12).all()
