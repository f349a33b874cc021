import numpy as np
import pytest

from dfcl_jax import InputError
from dfcl_jax.solvers import chosen_budgets, default_budgets, usual_fractions


def test_budgets_lie_between_the_cheapest_and_the_dearest_treatment():
    assert default_budgets(np.array([0.0, 0.1, 0.4]), fractions=(0.25, 1.0)) == (0.1, 0.4)
    assert default_budgets(np.array([0.1061, 0.1514, 0.1828]), fractions=(0.5,)) == (0.1444,)


def test_default_budgets_need_costs_that_differ():
    with pytest.raises(InputError, match=r"mean costs of the treatments: found 0\.1 for all"):
        default_budgets(np.array([0.1, 0.1]))
    with pytest.raises(
        InputError, match=r"costs of a, b \(column 'spend'\): found 1 for all, expected costs that differ"
    ):
        # Means of 0.1 as float32 numbers, which differ by rounding.
        default_budgets(np.array([1.0, 1 + 1e-7]), what="costs of a, b (column 'spend')")


def test_budgets_of_a_treatment_that_saves_money_begin_at_0():
    assert default_budgets(np.array([-0.5, 0.0, 0.4]), fractions=(0.25, 1.0)) == (0.1, 0.4)
    with pytest.raises(InputError, match=r"found -0\.5, -0\.1, expected costs that are spent: the column, or the cost"):
        default_budgets(np.array([-0.5, -0.1]))


def test_a_small_trial_has_two_budgets():
    assert len(usual_fractions(299, 3)) == 2
    assert len(usual_fractions(300, 3)) == 6


def test_budgets_in_any_order_are_each_taken_once():
    assert chosen_budgets([0.3, 0.1, 0.3], np.array([0.0, 1.0])) == (0.1, 0.3)
