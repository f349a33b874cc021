from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import Outcomes
from dfcl_jax.data import simulate
from dfcl_jax.losses import constants
from dfcl_jax.losses.decision import entropy_regularised, finite_difference
from dfcl_jax.scores import truth
from dfcl_jax.solvers import hard, lams_for_budgets
from dfcl_jax.types import pick

OUTCOMES = jax.jit(simulate.marketing, static_argnums=1)(jax.random.key(0), 2000).truth
BUDGETS = jnp.array([0.02, 0.05, 0.1])
PROGRAMS = {
    "PL": jax.jit(jax.value_and_grad(entropy_regularised)),
    "IFD": jax.jit(jax.value_and_grad(finite_difference)),
}


def test_multipliers_are_those_of_the_budgets():
    np.testing.assert_array_equal(constants.fitted(OUTCOMES, BUDGETS).lams, lams_for_budgets(OUTCOMES, BUDGETS))


def test_temperature_and_window_are_in_spreads_of_the_score():
    fitted = constants.fitted(OUTCOMES, BUDGETS, temperature_in_spreads=0.7, window_in_spreads=0.1)
    for k, lam in enumerate(fitted.lams):
        score = np.asarray(OUTCOMES.r - lam * OUTCOMES.c)
        spread = (score - score.mean(axis=1, keepdims=True)).std()
        assert float(fitted.temperature[k]) == pytest.approx(0.7 * spread)
        assert float(fitted.window[k]) == pytest.approx(0.1 * spread)
        assert float(fitted.weights[k]) == pytest.approx(1 / (0.7 * spread))


def test_the_median_margin_is_half_of_everybodys_way_to_another_decision():
    score = jnp.array([[0.0, 5.0, 4.0], [9.0, 1.0, 1.0], [2.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
    # Margins of 1, 8, 0 and 3.
    assert float(constants.best_margin(score)) == pytest.approx(2)
    assert float(constants.best_margin(score, quantile=1.0)) == pytest.approx(8)
    for quantile in (0.2, 0.5):
        k = constants.fitted(OUTCOMES, BUDGETS, spread=partial(constants.best_margin, quantile=quantile))
        for lam, temperature in zip(k.lams, k.temperature, strict=True):
            best = np.sort(np.asarray(OUTCOMES.r - lam * OUTCOMES.c), axis=1)
            # The quantile lies between two of 2,000 people.
            assert np.mean(best[:, -1] - best[:, -2] < temperature / 2) == pytest.approx(quantile, abs=1e-3)


def test_annealed_lengths_are_multiples_and_the_terms_keep_their_weights():
    start = constants.fitted(OUTCOMES, BUDGETS)
    now = constants.annealed(start, 0.25)
    for length in ("temperature", "window", "cost_window"):
        np.testing.assert_array_equal(getattr(now, length), 0.25 * getattr(start, length))
    for same in ("lams", "weights", "budgets"):
        np.testing.assert_array_equal(getattr(now, same), getattr(start, same))


@pytest.mark.parametrize("spread", [constants.score_spread, constants.best_margin])
@pytest.mark.parametrize("unit", [0.1, 100.0])
def test_the_loss_with_fitted_constants_is_free_of_the_unit_of_money(unit, spread):
    scaled = Outcomes(OUTCOMES.r * unit, OUTCOMES.c * unit)
    losses = []
    for outcomes, budgets in ((OUTCOMES, BUDGETS), (scaled, BUDGETS * unit)):
        k = constants.fitted(outcomes, budgets, spread=spread)
        surfaces = truth(Outcomes(outcomes.r[::-1], outcomes.c[::-1]))
        for method in PROGRAMS.values():
            loss, gradient = method(outcomes, surfaces, k)
            scale = unit if outcomes is scaled else 1.0
            losses.append([float(loss), *(np.abs(leaf).sum() * scale for leaf in gradient)])
    # The overshoot of 1e-6 has a unit: of 2,000 people a few at a window's end may change sides.
    np.testing.assert_allclose(losses[:2], losses[2:], rtol=1e-2)


def test_the_unit_of_cost_does_not_choose_who_teaches_on_cost():
    surfaces = truth(Outcomes(OUTCOMES.r[::-1], OUTCOMES.c[::-1]))
    k = constants.fitted(OUTCOMES, BUDGETS[1:2])
    _, gradient = PROGRAMS["IFD"](OUTCOMES, surfaces, k)
    taught = np.asarray(gradient.r) != 0
    assert 0 < taught.mean() < 1
    # The windows of r and c differ by lam; a step within 1e-6 of the window's end may fall on either side.
    alike = np.isclose(gradient.c, -k.lams[0] * gradient.r, rtol=1e-9, atol=0)
    assert alike.mean() > 0.999


def test_tracked_multipliers_meet_the_budgets_by_the_spend_of_the_scores():
    start = constants.fitted(OUTCOMES, BUDGETS)
    # A model trained on decisions alone: its predictions order treatments, and are no money.
    drifted = Outcomes(3 * OUTCOMES.r, 5 * OUTCOMES.c + 7)
    now = constants.tracked(start, drifted, truth(OUTCOMES))
    for k, budget in enumerate(BUDGETS):
        spend = float(pick(OUTCOMES.c, hard(drifted, now.lams[k])).mean())
        # One person's largest step is below 1% of the budget.
        assert 0.99 * float(budget) <= spend <= float(budget)
    np.testing.assert_array_equal(now.temperature, start.temperature)
    np.testing.assert_allclose(now.cost_window * now.lams, start.window)


def test_a_budget_that_cannot_be_met_keeps_its_multiplier():
    start = constants.fitted(OUTCOMES, BUDGETS)
    # Spend is seen to be higher than was predicted: the first budget is below the cheapest decisions, the others not.
    dearer = truth(Outcomes(OUTCOMES.r, OUTCOMES.c + 0.03))
    # One person's step is as good as free.
    steep = OUTCOMES._replace(c=OUTCOMES.c.at[0, 1].set(OUTCOMES.c[0, 0] + 1e-12))
    now = constants.tracked(start, steep, dearer)
    assert now.lams[0] == start.lams[0]
    assert (now.lams[1:] > start.lams[1:]).all()
    assert now.lams.max() < 1e3


def test_tracking_a_model_that_still_predicts_money_changes_nothing():
    start = constants.fitted(OUTCOMES, BUDGETS)
    for one, other in zip(constants.tracked(start, OUTCOMES, truth(OUTCOMES)), start, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_predictions_that_tell_no_treatment_apart_give_usable_constants():
    flat = Outcomes(jnp.ones((10, 3)), jnp.zeros((10, 3)))
    for spread in (constants.score_spread, constants.best_margin):
        assert all(np.isfinite(leaf).all() for leaf in constants.fitted(flat, BUDGETS, spread=spread))


def test_published_constants():
    criteo, marketing = constants.published_criteo(OUTCOMES, BUDGETS), constants.published_marketing(OUTCOMES, BUDGETS)
    assert criteo.lams.tolist() == [0.1]
    assert criteo.temperature.tolist() == [3.0]
    assert criteo.window.tolist() == criteo.cost_window.tolist() == [0.3]
    assert criteo.weights.tolist() == [1.0]
    assert marketing.lams.tolist() == [0.1, 0.5, 1.0]
    assert marketing.temperature.tolist() == [0.01] * 3
    assert marketing.window.tolist() == [0.3] * 3
    assert np.isnan(marketing.budgets).all()
    assert marketing.weights.tolist() == [1.0] * 3
