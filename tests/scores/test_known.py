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
