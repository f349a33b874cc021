import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError, Outcomes, Trial, scores

N, M = 103, 2


def trial_of(r) -> Trial:
    n = len(r)
    t = jax.random.randint(jax.random.key(1), (n,), 0, M)
    return Trial(jnp.arange(n)[:, None], t, r, jnp.zeros(n), jnp.full(M, 1 / M))


def memoriser(key, trial: Trial):
    """Predicts a person's own outcome where they were fitted on, and -1 for everybody else."""
    del key

    def predict(x) -> Outcomes:
        rows = np.asarray(trial.x)[:, 0]
        outcome = np.full(max(rows.max(), np.max(x)) + 1, -1.0)
        outcome[rows] = trial.r
        own = outcome[np.asarray(x)]
        return Outcomes(jnp.asarray(np.tile(own, (1, M))), jnp.asarray(np.tile(np.asarray(x, float), (1, M))))

    return predict


@pytest.mark.thorough
@pytest.mark.parametrize("folds", [2, 5, 10])
def test_nobody_is_predicted_from_their_own_outcome(folds):
    outcomes = scores.crossfit(jax.random.key(0), trial_of(jnp.ones(N)), memoriser, folds=folds)
    np.testing.assert_array_equal(outcomes.r, -np.ones((N, M)))


def test_predictions_come_back_in_the_order_of_the_people():
    outcomes = scores.crossfit(jax.random.key(0), trial_of(jnp.ones(N)), memoriser)
    np.testing.assert_array_equal(outcomes.c[:, 0], np.arange(N))


def test_every_fold_is_fitted_on_all_the_others():
    sizes = []

    def counting(key, trial):
        sizes.append((len(trial.t), len(set(np.asarray(trial.x[:, 0]).tolist()))))
        return memoriser(key, trial)

    scores.crossfit(jax.random.key(0), trial_of(jnp.ones(N)), counting, folds=4)
    assert sorted(sizes) == [(77, 77), (77, 77), (77, 77), (78, 78)]


@pytest.mark.parametrize("folds", [1, N + 1])
def test_folds_without_people_inside_or_outside_are_refused(folds):
    with pytest.raises(InputError, match=f"folds: found {folds}, expected from 2 to {N}"):
        scores.crossfit(jax.random.key(0), trial_of(jnp.ones(N)), memoriser, folds=folds)


def test_out_of_fold_scores_are_unbiased_where_those_of_a_memoriser_are_not():
    n = 4000
    trial = trial_of(jax.random.exponential(jax.random.key(2), (n,)))

    def value(outcomes: Outcomes) -> tuple[float, float]:
        first = np.asarray(scores.aipw(trial, outcomes).r)[:, 0]
        return float(first.mean()), float(first.std() / np.sqrt(n))

    mean, standard_error = value(scores.crossfit(jax.random.key(0), trial, memoriser))
    assert abs(mean - 1) < 4.5 * standard_error
    # Its own outcomes leave a memoriser no residual: what looks certain is the noise itself.
    _, in_sample = value(memoriser(None, trial)(trial.x))
    assert in_sample < 0.7 * standard_error


def test_with_predictions_by_treatment_means_it_traces_under_jit_and_vmap():
    def by_treatment(key, trial):
        del key
        w = scores.observation_weights(trial)
        mean = (w * trial.r[:, None]).sum(axis=0) / w.sum(axis=0)
        return lambda x: Outcomes(jnp.tile(mean[None], (x.shape[0], 1)), jnp.zeros((x.shape[0], M)))

    trial = trial_of(jnp.arange(N, dtype=float))
    keys = jax.random.split(jax.random.key(0), 2)
    both = jax.jit(jax.vmap(lambda key: scores.crossfit(key, trial, by_treatment)))(keys)
    alone = jax.jit(lambda key: scores.crossfit(key, trial, by_treatment))(keys[1])
    np.testing.assert_allclose(np.asarray(both.r)[1], alone.r, rtol=1e-12)
