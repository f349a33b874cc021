from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import Outcomes, Trial, scores
from dfcl_jax.losses import finite_difference_loss, naive_finite_difference_loss

N, LAM = 14, 0.6


def small_case(seed: int, m: int) -> tuple[Outcomes, Trial]:
    rng = np.random.default_rng(seed)
    r_hat, c_hat = rng.normal(size=(2, N, m))
    t = rng.permutation(np.arange(N) % m)
    r, c = rng.uniform(size=(2, N))
    trial = Trial(*(jnp.asarray(a) for a in (np.zeros((N, 1)), t, r, c, np.full(m, 1 / m))))
    return Outcomes(jnp.asarray(r_hat), jnp.asarray(c_hat)), trial


# Gradients by the predictions: one program for all cases of a shape.
naive_gradient = jax.jit(jax.grad(naive_finite_difference_loss), static_argnames="normalise")
improved_gradient = jax.jit(jax.grad(finite_difference_loss), static_argnames="normalise")


@partial(jax.jit, static_argnames="normalise")
def values(r, c, surfaces, *, normalise):
    """Minus the value of the decisions by each of the predictions [k, n, m]."""
    return jax.vmap(lambda r, c: finite_difference_loss(Outcomes(r, c), surfaces, LAM, normalise=normalise))(r, c)


@pytest.mark.parametrize("normalise", ["matched", "sample"])
@pytest.mark.parametrize("step", [0.5, -0.5])
def test_gradient_is_deciding_for_everybody_again_after_each_move(step, normalise):
    outcomes, trial = small_case(0, m=3)
    surfaces = scores.ipw(trial)
    gradient = naive_gradient(outcomes, surfaces, LAM, step=step, normalise=normalise)
    r, c = (np.asarray(surface) for surface in outcomes)
    moves = step * np.eye(3 * N).reshape(-1, N, 3)
    start = np.asarray(values(r[None], c[None], surfaces, normalise=normalise))
    by_revenue = np.asarray(values(r + moves, c + 0 * moves, surfaces, normalise=normalise)) - start
    by_cost = np.asarray(values(r + 0 * moves, c + moves, surfaces, normalise=normalise)) - start
    assert (by_revenue != 0).any()
    # Values of order 1 in float64.
    np.testing.assert_allclose(np.ravel(gradient.r), by_revenue / step, atol=1e-13)
    np.testing.assert_allclose(np.ravel(gradient.c), by_cost / step, atol=1e-13)


@pytest.mark.parametrize("normalise", ["matched", "sample"])
@pytest.mark.parametrize("seed", range(3))
def test_with_two_treatments_the_improved_one_is_the_naive_one_of_both_signs(seed, normalise):
    """A window as long as the step lets the same flips teach, as if of the step's length."""
    outcomes, trial = small_case(seed, m=2)
    surfaces, h = scores.ipw(trial), 0.7

    improved = improved_gradient(outcomes, surfaces, LAM, window=h, normalise=normalise)
    up, down = (naive_gradient(outcomes, surfaces, LAM, step=step, normalise=normalise) for step in (h, -h))
    assert 0 < (np.asarray(improved.r) != 0).sum() < 2 * N
    for one, higher, lower in zip(improved, up, down, strict=True):
        # Values of order 1 in float64.
        np.testing.assert_allclose(one, np.asarray(higher) + np.asarray(lower), atol=1e-13)


@pytest.mark.parametrize("seed", range(3))
def test_with_more_treatments_both_move_the_same_people_and_agree_on_the_nearest(seed):
    outcomes, trial = small_case(seed, m=4)
    surfaces, h = scores.ipw(trial), 0.7
    naive = np.asarray(naive_gradient(outcomes, surfaces, LAM, step=h).r)
    improved = np.asarray(improved_gradient(outcomes, surfaces, LAM, window=h).r)
    np.testing.assert_array_equal((naive != 0).any(axis=1), (improved != 0).any(axis=1))
    both = (naive != 0) & (improved != 0)
    assert both.any()
    # One nearest treatment a person; values of order 1 in float64.
    np.testing.assert_array_equal(both.sum(axis=1), (improved != 0).any(axis=1))
    np.testing.assert_allclose(naive[both], improved[both], atol=1e-13)


def test_a_step_too_short_to_flip_anything_teaches_nothing():
    outcomes, trial = small_case(0, m=3)
    gradient = naive_gradient(outcomes, scores.ipw(trial), LAM, step=1e-9, normalise="matched")
    assert all((np.asarray(leaf) == 0).all() for leaf in gradient)
