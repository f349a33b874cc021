import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import scores
from dfcl_jax.types import Outcomes, Trial

N, M = 400, 3
KNOWN = np.array([0.0, np.nan, 0.25])


def trial() -> Trial:
    """A control that cost 0 and a third treatment that cost 0.25 in every row."""
    rng = np.random.default_rng(0)
    t = rng.integers(0, M, N)
    cost = np.where(t == 1, rng.random(N), np.array([0, 0, 0.25])[t])
    return Trial(*map(jnp.asarray, (rng.normal(size=(N, 2)), t, rng.gamma(2, size=N), cost, np.full(M, 1 / M))))


def predicted() -> Outcomes:
    r, c = np.random.default_rng(1).gamma(2, size=(2, N, M))
    return Outcomes(jnp.asarray(r), jnp.asarray(c))


@pytest.mark.parametrize("estimate", [scores.ipw, lambda rows: scores.aipw(rows, predicted())])
def test_a_control_that_cost_0_costs_everybody_0(estimate):
    plain = estimate(trial())
    known = scores.known_costs(plain, KNOWN)
    np.testing.assert_array_equal(known.c[:, 0], 0)
    np.testing.assert_array_equal(known.c[:, 2], 0.25)
    np.testing.assert_array_equal(known.c[:, 1], plain.c[:, 1])
    np.testing.assert_array_equal(known.r, plain.r)
    np.testing.assert_array_equal(known.w, plain.w)
    # The plain surface says that some of them cost something: that is what is mended.
    assert jnp.abs(plain.c[:, 2] - 0.25).max() > 0.1


def test_predictions_are_mended_likewise():
    known = scores.known_costs(predicted(), KNOWN)
    np.testing.assert_array_equal(known.c[:, [0, 2]], np.tile([0, 0.25], (N, 1)))
    np.testing.assert_array_equal(known.r, predicted().r)


def test_centred_scores_keep_what_was_taken_off_every_treatment():
    base = scores.mean_base(predicted().c, trial().p)
    known = scores.known_costs(scores.centred(trial(), predicted()), KNOWN, base=base)
    # Differences between treatments are what centred scores estimate.
    np.testing.assert_allclose(known.c[:, 2] - known.c[:, 0], 0.25, atol=1e-12)
    np.testing.assert_allclose(known.c[:, 0], -base, atol=1e-12)


def test_nothing_known_changes_nothing():
    plain = scores.ipw(trial())
    for known in (np.zeros(0), np.full(M, np.nan)):
        np.testing.assert_array_equal(scores.known_costs(plain, known).c, plain.c)


def test_known_costs_are_part_of_a_program():
    plain = scores.ipw(trial())
    np.testing.assert_array_equal(jax.jit(scores.known_costs)(plain, KNOWN).c, scores.known_costs(plain, KNOWN).c)


@pytest.mark.parametrize("shares", [(1 / 3, 1 / 3, 1 / 3), (0.7, 0.2, 0.1)])
def test_a_cost_that_never_varied_is_its_own_mean_whatever_propensities_say(shares):
    rows = trial()._replace(p=jnp.asarray(shares))
    means = scores.mean_costs(rows)
    assert means[[0, 2]].tolist() == [0, 0.25]
    # Equal weights within the treatment: a sum of 400 numbers in another order.
    assert means[1] == pytest.approx(float(rows.c[rows.t == 1].mean()), rel=1e-12)
    assert scores.mean_costs(rows, np.array([np.nan, 0.6, np.nan])).tolist() == [0, 0.6, 0.25]


def test_the_mean_cost_of_a_treatment_that_nobody_had_is_not_known():
    rows = trial()
    assert np.isnan(scores.mean_costs(rows._replace(t=jnp.minimum(rows.t, 1)))).tolist() == [False, False, True]


def test_mean_costs_count_people_by_their_own_weights():
    rows = Trial(*map(jnp.asarray, (np.zeros((3, 1)), [0, 1, 1], np.zeros(3), [1.0, 2.0, 5.0],
                                    [[0.5, 0.5], [0.5, 0.5], [0.8, 0.2]])))  # fmt: skip
    # Weights 2 and 5.
    np.testing.assert_allclose(scores.mean_costs(rows), [1, (2 * 2 + 5 * 5) / 7], rtol=1e-12)
