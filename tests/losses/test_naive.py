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


@pytest.mark.parametrize("normalise", ["matched", "sample"])
@pytest.mark.parametrize("step", [0.5, -0.5])
def test_gradient_is_deciding_for_everybody_again_after_each_move(step, normalise):
    outcomes, trial = small_case(0, m=3)
    surfaces = scores.ipw(trial)
    gradient = jax.grad(lambda o: naive_finite_difference_loss(o, surfaces, LAM, step=step, normalise=normalise))(
        outcomes
    )

    def value(r, c):
        return finite_difference_loss(Outcomes(r, c), surfaces, LAM, normalise=normalise)

    moves = step * jnp.eye(3 * N).reshape(-1, N, 3)
    start = value(*outcomes)
    by_revenue = jax.vmap(lambda move: value(outcomes.r + move, outcomes.c))(moves) - start
    by_cost = jax.vmap(lambda move: value(outcomes.r, outcomes.c + move))(moves) - start
    assert (np.asarray(by_revenue) != 0).any()
    # Values of order 1 in float64.
    np.testing.assert_allclose(gradient.r.ravel(), by_revenue / step, atol=1e-13)
    np.testing.assert_allclose(gradient.c.ravel(), by_cost / step, atol=1e-13)


@pytest.mark.parametrize("normalise", ["matched", "sample"])
@pytest.mark.parametrize("seed", range(3))
def test_with_two_treatments_the_improved_one_is_the_naive_one_of_both_signs(seed, normalise):
    """A window as long as the step lets the same flips teach, as if of the step's length."""
    outcomes, trial = small_case(seed, m=2)
    surfaces, h = scores.ipw(trial), 0.7

    def naive(step):
        return jax.grad(lambda o: naive_finite_difference_loss(o, surfaces, LAM, step=step, normalise=normalise))(
            outcomes
        )

    improved = jax.grad(lambda o: finite_difference_loss(o, surfaces, LAM, window=h, normalise=normalise))(outcomes)
    up, down = naive(h), naive(-h)
    assert 0 < int((improved.r != 0).sum()) < 2 * N
    # Values of order 1 in float64.
    np.testing.assert_allclose(improved.r, up.r + down.r, atol=1e-13)
    np.testing.assert_allclose(improved.c, up.c + down.c, atol=1e-13)


@pytest.mark.parametrize("seed", range(3))
def test_with_more_treatments_both_move_the_same_people_and_agree_on_the_nearest(seed):
    outcomes, trial = small_case(seed, m=4)
    surfaces, h = scores.ipw(trial), 0.7
    naive = np.asarray(jax.grad(lambda o: naive_finite_difference_loss(o, surfaces, LAM, step=h))(outcomes).r)
    improved = np.asarray(jax.grad(lambda o: finite_difference_loss(o, surfaces, LAM, window=h))(outcomes).r)
    np.testing.assert_array_equal((naive != 0).any(axis=1), (improved != 0).any(axis=1))
    both = (naive != 0) & (improved != 0)
    assert both.any()
    # One nearest treatment a person; values of order 1 in float64.
    np.testing.assert_array_equal(both.sum(axis=1), (improved != 0).any(axis=1))
    np.testing.assert_allclose(naive[both], improved[both], atol=1e-13)


def test_a_step_too_short_to_flip_anything_teaches_nothing():
    outcomes, trial = small_case(0, m=3)
    gradient = jax.grad(lambda o: naive_finite_difference_loss(o, scores.ipw(trial), LAM, step=1e-9))(outcomes)
    assert all((np.asarray(leaf) == 0).all() for leaf in gradient)
