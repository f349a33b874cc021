from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError, Method, Outcomes, TwoStage, scores
from dfcl_jax.data import simulate, split_simulation, with_budgets
from dfcl_jax.errors import Diverged
from dfcl_jax.losses import constants
from dfcl_jax.methods import CHEAPEST, TWO_STAGE, decisions, standard
from dfcl_jax.methods.gradient import count
from dfcl_jax.methods.judged import cost_curve_area, mean_value
from dfcl_jax.models import NetworkConfig
from dfcl_jax.report.summary import caption
from dfcl_jax.runs import chosen
from dfcl_jax.study import ORACLE, Cells, Judge, Watcher, compare
from dfcl_jax.train import FitConfig

pytestmark = pytest.mark.thorough

START = TwoStage(NetworkConfig(hidden=(16,)), training=FitConfig(epochs=2, batch_size=200))
TRAINING = FitConfig(epochs=2, batch_size=500)
METHODS = chosen(standard(START, TRAINING), ["DFCL-IFD", "PL-centred", "PL-own-units"])
CENTRED = decisions(START, TRAINING)["PL-centred"]
BUDGETS = (0.02, 0.05, 0.1)
SIMULATE = jax.jit(simulate.marketing, static_argnums=1)
SPLITS = [
    split_simulation(SIMULATE(jax.random.key(seed), 4000), 2000, 1000, budgets=BUDGETS, seed=seed) for seed in range(2)
]
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def study():
    return compare(KEY, SPLITS, METHODS)


@pytest.fixture(scope="module")
def cells():
    """With the two-stage networks that most tests start from."""
    cells = Cells()
    cells.train(TWO_STAGE, START, KEY, [split.task for split in SPLITS])
    return cells


def test_every_method_has_a_value_for_every_seed_and_budget(study):
    methods = {*METHODS, ORACLE}
    assert set(study.values.method) == methods
    assert len(study.values) == len(methods) * len(SPLITS) * len(BUDGETS)
    assert study.values.groupby("method").size().eq(len(SPLITS) * len(BUDGETS)).all()


def test_a_method_that_diverges_is_left_out_and_named_if_asked(cells):
    endless = replace(CENTRED, training=replace(TRAINING, learning_rate=1e30))
    methods = {TWO_STAGE: START, "endless": endless, "PL-centred": CENTRED}
    with pytest.raises(Diverged, match="training loss in epoch"):
        compare(KEY, SPLITS, methods, cells=cells)
    told = []
    cells = Cells(watcher=Watcher(say=told.append))
    study = compare(KEY, SPLITS, methods, cells=cells, skip_diverged=True)
    assert list(study.cells) == list(study.methods) == [TWO_STAGE, "PL-centred"]
    assert study.diverged == ("endless",)
    assert "Left out, for their training diverged: endless." in caption(study)
    assert [sentence.split(":")[0] for sentence in told] == ["endless is left out"]
    with pytest.raises(Diverged):
        compare(KEY, SPLITS, methods, judge=Judge(base="endless"), cells=cells, skip_diverged=True)


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
        assert split.exam.truth is not None
        assert cheapest[seed] == pytest.approx(float(split.exam.truth.r[:, 0].mean()), rel=1e-5)  # float32 units


@pytest.mark.slow
def test_same_key_same_study(study):
    again = compare(KEY, SPLITS, METHODS)
    assert again.values.equals(study.values)
    assert again.history.drop(columns="seconds").equals(study.history.drop(columns="seconds"))


def test_a_method_does_not_depend_on_the_methods_beside_it(study, cells):
    alone = compare(KEY, SPLITS, {TWO_STAGE: START, "PL-centred": CENTRED}, cells=cells)
    rows = study.values[study.values.method == "PL-centred"].reset_index(drop=True)
    assert alone.values[alone.values.method == "PL-centred"].reset_index(drop=True).equals(rows)


def test_without_the_truth_values_are_estimates_on_the_test_part(cells):
    known = [split._replace(exam=split.exam._replace(truth=None)) for split in SPLITS]
    study = compare(KEY, known, {TWO_STAGE: START}, cells=cells)
    assert study.settled_by == "aipw"
    assert ORACLE not in set(study.values.method)
    assert study.test_share == pytest.approx(0.5)


def test_published_constants_and_alpha_are_options(cells):
    methods: dict[str, Method] = {
        TWO_STAGE: START,
        "published": replace(CENTRED, constants=constants.published_marketing),
        "alpha 1": replace(CENTRED, alpha=1.0),
    }
    study = compare(KEY, SPLITS, methods, cells=cells)
    assert np.isfinite(study.history.loss).all()
    assert set(study.history.method) == set(methods)


def test_two_treatments_are_chosen_and_judged_by_cost_curves():
    draw = jax.jit(simulate.criteo_like, static_argnums=1)
    splits = [split_simulation(draw(KEY, 8000), 4000, 2000, budgets=(0.045, 0.05))]
    network = NetworkConfig("shared_trunk", (8,), (4,), "sigmoid")
    start = replace(START, network=network, loss="cross_entropy", select="aucc")
    methods: dict[str, Method] = {TWO_STAGE: start, "PL-centred": replace(CENTRED, start=start, select="aucc")}
    study = compare(KEY, splits, methods, judge=Judge(loss="cross_entropy"))
    assert np.isfinite(study.quality.aucc).all()
    assert all((np.asarray(count(split.task, "sigmoid").units) == 1).all() for split in splits)


def test_which_of_two_treatments_is_called_1_does_not_matter():
    trial, truth = jax.jit(simulate.criteo_like, static_argnums=1)(KEY, 8000)
    renamed = trial._replace(t=1 - trial.t, p=trial.p[::-1])
    outcomes = Outcomes(truth.r[:, ::-1], truth.c[:, ::-1])
    area = float(cost_curve_area(truth, trial))
    assert np.isfinite(area)
    assert float(cost_curve_area(outcomes, renamed)) == area


def test_a_policy_that_drops_a_budget_is_worth_nothing_to_the_choice_of_a_checkpoint():
    truth = SPLITS[0].exam.truth
    assert truth is not None
    budgets, both, second = jnp.array([0.01, 0.1]), jnp.array([True, True]), jnp.array([False, True])
    dear = Outcomes(truth.r, truth.c + 0.05)
    assert np.isfinite(mean_value(truth, (scores.truth(truth), budgets, None, both)))
    assert np.isnan(mean_value(truth, (scores.truth(dear), budgets, None, both)))
    assert np.isfinite(mean_value(truth, (scores.truth(dear), budgets, None, second)))


def test_each_seed_counts_revenue_in_its_mean_and_cost_at_its_own_price():
    for split in SPLITS:
        counted = count(split.task, "identity")
        np.testing.assert_allclose(counted.sample.r.mean(), 1.0, rtol=1e-6)  # float32 units
        # Between a twentieth of mean revenue over mean cost and the whole of it.
        assert 1 / 20 - 1e-6 <= counted.sample.c.mean() <= 1 + 1e-6
        np.testing.assert_allclose(counted.budgets * counted.units.c, BUDGETS, rtol=1e-6)


def test_training_rows_that_do_not_divide_among_devices_are_left_out():
    cut, whole = (count(SPLITS[0].task, "identity", multiple=multiple) for multiple in (300, 1))
    assert cut.sample.rows == 1800
    # The units of money are means of the people that are left.
    np.testing.assert_allclose(cut.sample.r * cut.units.r, whole.sample.r[:1800] * whole.units.r, rtol=1e-6)
    np.testing.assert_array_equal(cut.sample.p, whole.sample.p)


@pytest.mark.parametrize(
    ("budgets", "methods", "message"),
    [
        (
            BUDGETS,
            {TWO_STAGE: replace(START, training=FitConfig(devices=1000, batch_size=1000))},
            "devices: found 1000, expected at most",
        ),
        ((0.1, -1.0), METHODS, "budget: found -1.0"),
        ((float("nan"),), METHODS, "budget: found nan"),
        ((), METHODS, "budgets: found none"),
        ((0.1, 0.1), METHODS, "budgets: found 0.1, 0.1"),
        (BUDGETS, {TWO_STAGE: replace(START, select="aucc")}, "select: found 'aucc' with 5 treatments"),
        (BUDGETS, {"PL-centred": CENTRED}, "methods: found PL-centred, expected TSM-SL among them"),
    ],
)
def test_bad_input_is_named_before_training(budgets, methods, message):
    def no_epoch(label, epochs):
        return lambda epoch: pytest.fail(f"{label} is trained")

    with pytest.raises(InputError, match=message):
        compare(KEY, with_budgets(SPLITS, budgets), methods, cells=Cells(watcher=Watcher(on_stage=no_epoch)))


def test_a_study_needs_a_device():
    with pytest.raises(InputError, match="devices: found 0, expected a finite number of at least 1"):
        FitConfig(devices=0)
