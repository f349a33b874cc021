import numpy as np
import pytest

from dfcl_jax import InputError
from dfcl_jax.solvers import default_budgets


def test_budgets_lie_between_the_cheapest_and_the_dearest_treatment():
    assert default_budgets(np.array([0.0, 0.1, 0.4]), fractions=(0.25, 1.0)) == (0.1, 0.4)
    assert default_budgets(np.array([0.1061, 0.1514, 0.1828]), fractions=(0.5,)) == (0.1444,)


def test_default_budgets_need_costs_that_differ():
    with pytest.raises(InputError, match=r"mean costs of the treatments: found 0\.1 for all"):
        default_budgets(np.array([0.1, 0.1]))
