from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dfcl_jax.study.training import cost_curve_area, mean_value

from dfcl_jax import METHODS, InputError, Outcomes, scores
from dfcl_jax.data import simulate, split_simulation
from dfcl_jax.methods import TWO_STAGE
from dfcl_jax.models import NetworkConfig
from dfcl_jax.study import CHEAPEST, ORACLE, StudyConfig, compare, default_budgets, stack_seeds
from dfcl_jax.train import FitConfig

CONFIG = StudyConfig(
    network=NetworkConfig(hidden=(16,)),
    warm=FitConfig(epochs=2, batch_size=200),
    decision=FitConfig(epochs=2, batch_size=500),
)
BUDGETS = (0.02, 0.05, 0.1)
SIMULATE = jax.jit(simulate.marketing, static_argnums=1)
SPLITS = [split_simulation(SIMULATE(jax.random.key(seed), 4000), 2000, 1000) for seed in range(2)]
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def study():
    return compare(KEY, SPLITS, BUDGETS, METHODS, CONFIG)


def test_every_method_has_a_value_for_every_seed_and_budget(study):
    methods = {TWO_STAGE, *METHODS, ORACLE, CHEAPEST}
    assert set(study.values.method) == methods
    assert len(study.values) == len(methods) * len(SPLITS) * len(BUDGETS)
    assert study.values.groupby("method").size().eq(len(SPLITS) * len(BUDGETS)).all()


def test_no_policy_costs_more_than_its_budget(study):
    # Sums of 1,000 numbers of order 1, the units of money converted in float32.
    assert (study.values.cost <= study.values.budget * (1 + 1e-5)).all()


def test_no_policy_is_worth_more_than_the_oracle(study):
    wide = study.values.pivot(index=["seed", "budget"], columns="method", values="revenue")
    # The oracle's plan leaves at most one person's step of the budget, here below 1% of revenue, unspent.
    assert (wide.max(axis=1) <= wide[ORACLE] * 1.01).all()
    assert (wide[ORACLE] > wide[CHEAPEST]).all()


def test_values_are_in_the_money_of_the_data(study):
    cheapest = study.values[study.values.method == CHEAPEST].groupby("seed").revenue.first()
    for seed, split in enumerate(SPLITS):
        assert split.truth is not None
        assert cheapest[seed] == pytest.approx(float(split.truth.r[:, 0].mean()), rel=1e-5)  # float32 units


@pytest.mark.slow
def test_same_key_same_study(study):
    again = compare(KEY, SPLITS, BUDGETS, METHODS, CONFIG)
    assert again.values.equals(study.values)
    assert again.history.equals(study.history)


def test_a_method_does_not_depend_on_the_methods_beside_it(study):
    alone = compare(KEY, SPLITS, BUDGETS, {"PL-centred": METHODS["PL-centred"]}, CONFIG)
    rows = study.values[study.values.method == "PL-centred"].reset_index(drop=True)
    assert alone.values[alone.values.method == "PL-centred"].reset_index(drop=True).equals(rows)


def test_without_the_truth_values_are_estimates_on_the_test_part():
    known = [split._replace(truth=None) for split in SPLITS]
    study = compare(KEY, known, BUDGETS, {}, CONFIG)
    assert study.settled_by == "aipw"
    assert ORACLE not in set(study.values.method)
    assert study.test_share == pytest.approx(0.5)


def test_published_constants_and_alpha_are_options():
    for change in ({"constants": "marketing"}, {"alpha": 1.0}):
        study = compare(KEY, SPLITS, BUDGETS, {"PL-centred": METHODS["PL-centred"]}, replace(CONFIG, **change))
        assert np.isfinite(study.history.loss).all()


def test_two_treatments_are_chosen_and_judged_by_cost_curves():
    draw = jax.jit(simulate.criteo_like, static_argnums=1)
    splits = [split_simulation(draw(jax.random.key(seed), 8000), 4000, 2000) for seed in range(2)]
    network = NetworkConfig("shared_trunk", (8,), (4,), "sigmoid")
    config = replace(CONFIG, select="aucc", prediction="cross_entropy", network=network)
    study = compare(KEY, splits, (0.045, 0.05), {"PL-centred": METHODS["PL-centred"]}, config)
    assert np.isfinite(study.quality.aucc).all()
    assert (study.units == 1).all()


def test_which_of_two_treatments_is_called_1_does_not_matter():
    trial, truth = jax.jit(simulate.criteo_like, static_argnums=1)(KEY, 5000)
    renamed = trial._replace(t=1 - trial.t, p=trial.p[::-1])
    outcomes = Outcomes(truth.r[:, ::-1], truth.c[:, ::-1])
    assert float(cost_curve_area(outcomes, renamed)) == float(cost_curve_area(truth, trial))


def test_a_policy_that_drops_a_budget_is_worth_nothing_to_the_choice_of_a_checkpoint():
    truth = SPLITS[0].truth
    assert truth is not None
    budgets, both, second = jnp.array([0.01, 0.1]), jnp.array([True, True]), jnp.array([False, True])
    dear = Outcomes(truth.r, truth.c + 0.05)
    assert np.isfinite(mean_value(truth, (scores.truth(truth), budgets, both)))
    assert np.isnan(mean_value(truth, (scores.truth(dear), budgets, both)))
    assert np.isfinite(mean_value(truth, (scores.truth(dear), budgets, second)))


def test_budgets_lie_between_the_cheapest_and_the_dearest_treatment():
    assert default_budgets(np.array([0.0, 0.1, 0.4]), fractions=(0.25, 1.0)) == (0.1, 0.4)
    assert default_budgets(np.array([0.1061, 0.1514, 0.1828]), fractions=(0.5,)) == (0.1444,)


def test_each_seed_counts_in_its_own_mean_revenue():
    seeds = stack_seeds(SPLITS, BUDGETS, "identity")
    np.testing.assert_allclose(seeds.train.r.mean(axis=1), 1.0, rtol=1e-6)  # float32 units
    np.testing.assert_allclose(seeds.budgets * seeds.units[:, None], np.tile(BUDGETS, (2, 1)), rtol=1e-6)


def test_training_rows_that_do_not_divide_among_devices_are_left_out():
    seeds = stack_seeds(SPLITS, BUDGETS, "identity", multiple=300)
    whole = stack_seeds(SPLITS, BUDGETS, "identity")
    assert seeds.train.x.shape[1] == 1800
    np.testing.assert_array_equal(seeds.train.r, whole.train.r[:, :1800])
    np.testing.assert_array_equal(seeds.train.p, whole.train.p)
    np.testing.assert_array_equal(seeds.test.x, whole.test.x)


@pytest.mark.parametrize(
    ("budgets", "config", "message"),
    [
        (BUDGETS, replace(CONFIG, devices=1000), "devices: found 1000, expected at most"),
        ((0.1, -1.0), CONFIG, "budget: found -1.0"),
        ((float("nan"),), CONFIG, "budget: found nan"),
        ((), CONFIG, "budgets: found none"),
        ((0.1, 0.1), CONFIG, "budgets: found 0.1, 0.1"),
        (BUDGETS, replace(CONFIG, select="aucc"), "select: found 'aucc' with 5 treatments"),
    ],
)
def test_bad_input_is_named_before_training(budgets, config, message):
    with pytest.raises(InputError, match=message):
        compare(KEY, SPLITS, budgets, METHODS, config)


def test_a_study_needs_a_device():
    with pytest.raises(InputError, match="devices: found 0, expected at least 1"):
        StudyConfig(devices=0)


def test_default_budgets_need_costs_that_differ():
    with pytest.raises(InputError, match=r"mean costs of the treatments: found 0\.1 for all"):
        default_budgets(np.array([0.1, 0.1]))
