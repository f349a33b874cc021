import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError
from dfcl_jax.metrics import marginal_roi_score
from dfcl_jax.solvers import hard, surfaces_from_slopes

U = jnp.array([[3.0, 1.0], [1.0, 2.0], [0.5, 0.2]])


def test_the_return_of_each_step_is_the_slope():
    np.testing.assert_allclose(marginal_roi_score(surfaces_from_slopes(U)), U, rtol=1e-15)
    steps = jnp.array([0.3, 0.01])
    surfaces = surfaces_from_slopes(U, steps=steps)
    np.testing.assert_allclose(marginal_roi_score(surfaces), U, rtol=1e-13)
    np.testing.assert_allclose(np.diff(surfaces.c, axis=1), jnp.broadcast_to(steps, (3, 2)), rtol=1e-14)


def test_steps_are_taken_while_their_slope_is_above_the_multiplier_and_slopes_that_rise_are_pooled():
    surfaces = surfaces_from_slopes(U)
    assert hard(surfaces, 2.5).tolist() == [1, 0, 0]
    # The second person's steps of 1 and 2 are one of two units at 1.5.
    assert hard(surfaces, 1.6).tolist() == [1, 0, 0]
    assert hard(surfaces, 1.4).tolist() == [1, 2, 0]
    assert hard(surfaces, 0.3).tolist() == [2, 2, 1]
    # Where the second step costs three times as much as the first, they are one at (1 + 3 * 2) / 4.
    weighted = surfaces_from_slopes(U, steps=jnp.array([1.0, 3.0]))
    assert hard(weighted, 1.8).tolist() == [1, 0, 0]
    assert hard(weighted, 1.7).tolist() == [1, 2, 0]


@pytest.mark.parametrize("shape", [(3,), (3, 0), (3, 2, 1)])
def test_what_is_no_table_of_steps_is_refused(shape):
    with pytest.raises(InputError, match=r"slopes: found shape .*, expected \[n, m - 1\]"):
        surfaces_from_slopes(jnp.zeros(shape))
