from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import Decision, InputError, TwoStage, losses, metrics, scores
from dfcl_jax.data import simulate, split_simulation
from dfcl_jax.losses import constants
from dfcl_jax.losses import decision as decision_losses
from dfcl_jax.methods import SILENT, TWO_STAGE, decisions, describe
from dfcl_jax.methods.decision import begin_from, train_on
from dfcl_jax.models import NetworkConfig
from dfcl_jax.study import Cells, Watcher, grid, sweep
from dfcl_jax.study.sweep import label, shown, terms_of, variant
from dfcl_jax.train import ALL_SEEDS, FitConfig, StageLog

pytestmark = pytest.mark.thorough

START = TwoStage(NetworkConfig(hidden=(8,)), training=FitConfig(epochs=1, batch_size=250))
BUDGETS = (0.02, 0.05, 0.1)
DRAW = jax.jit(partial(simulate.marketing, d=6), static_argnums=1)
SPLITS = [
    split_simulation(DRAW(jax.random.key(seed), 2000), 1000, 500, budgets=BUDGETS, seed=seed) for seed in range(2)
]
TASKS = [split.task for split in SPLITS]
KEY = jax.random.key(0)
CENTRED, TRACKED = (
    decisions(START, FitConfig(epochs=2, batch_size=250, learning_rate=1e-2))[name]
    for name in ("PL-centred", "PL-own-units")
)
AT_LAMS = replace(CENTRED, constants=constants.fitted_at)
# Steps of the last one's length end outside the floats.
SETTINGS = [
    {"alpha": 0.0, "learning_rate": 2e-3, "temperature_in_spreads": 1.5, "budgets": BUDGETS},
    {"alpha": 2.0, "learning_rate": 1e-3, "temperature_in_spreads": 0.5, "budgets": BUDGETS[1:2]},
    {"alpha": 0.5, "learning_rate": 1e30, "temperature_in_spreads": 1.0, "budgets": BUDGETS[1:]},
]
DIVERGED = label(SETTINGS[2])


@pytest.fixture(scope="module")
def cells():
    return Cells()


@pytest.fixture(scope="module")
def swept(cells):
    return sweep(KEY, SPLITS, TRACKED, SETTINGS, cells=cells)


@pytest.fixture(scope="module")
def begin(cells):
    """Where decision training starts, from the two-stage networks that the sweep has, too."""

    def kept(method, key, tasks):
        return [cell.params for cell in cells.train(TWO_STAGE, method, key, tasks)]

    return begin_from(TRACKED, KEY, TASKS, SILENT._replace(fitted=kept), ALL_SEEDS)


# Parameters and settings are float32 here, and 8 Adam steps magnify what the first sums differ by some hundredfold;
# tests/train/test_members.py is in float64.
close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("setting", SETTINGS[:2], ids=["no prediction loss", "one budget"])
def test_a_member_is_the_same_run_alone(begin, swept, setting):
    alone = variant(TRACKED, setting)
    fit = train_on(alone, begin, begin.terms(alone), ALL_SEEDS, StageLog())
    for seed, cell in enumerate(swept.study.cells[label(setting)]):
        close(cell.record.loss, fit.loss[:, seed])
        close(cell.record.value, fit.value[:, seed])
        jax.tree.map(lambda one, all_, s=seed: close(one, all_[s]), cell.params["net"], fit.params)


def test_a_variant_is_the_method_with_the_options_of_its_setting():
    of = variant(TRACKED, SETTINGS[1])
    assert (of.alpha, of.training.learning_rate, of.budgets) == (2.0, 1e-3, BUDGETS[1:2])
    assert describe(of.constants)["keywords"] == {"temperature_in_spreads": 0.5}
    assert replace(of, alpha=0.0, training=TRACKED.training, budgets=None, constants=TRACKED.constants) == TRACKED


def test_a_member_that_diverges_keeps_its_start_and_leaves_the_others_alone(swept):
    revenue = swept.values.set_index(["learning_rate", "seed"]).revenue
    for split, diverged, start in zip(SPLITS, swept.study.cells[DIVERGED], swept.study.cells[TWO_STAGE], strict=True):
        assert not np.isfinite(diverged.record.loss.iloc[-1])
        jax.tree.map(np.testing.assert_array_equal, diverged.params, start.params)
        assert split.exam.truth is not None
        begun = TRACKED.predict(start.params, split.exam.test.x)
        assert split.exam.truth is not None
        value = metrics.eom(begun, scores.truth(split.exam.truth), np.array(BUDGETS))
        np.testing.assert_array_equal(revenue.loc[1e30, split.task.seed], value.revenue)
    assert np.isfinite(swept.values.lift).all()


def test_a_row_for_each_seed_member_and_budget(swept):
    table, study = swept.values, swept.study.values
    assert len(table) == len(SPLITS) * len(SETTINGS) * len(BUDGETS)
    for setting in SETTINGS:
        rows = table[np.logical_and.reduce([table[name] == setting[name] for name in ("alpha", "learning_rate")])]
        assert set(rows.budgets) == {shown(setting["budgets"])}
        of_study = study[study.method == label(setting)]
        np.testing.assert_array_equal(rows[["seed", "budget", "revenue"]], of_study[["seed", "budget", "revenue"]])
        base = study[study.method == TWO_STAGE].revenue.to_numpy()
        np.testing.assert_allclose(rows.lift, 100 * (of_study.revenue.to_numpy() / base - 1), atol=1e-10)


LAMS = ((2.0,), (0.0, 4.0), (2.0, 4.0, 8.0))
SETS = grid(lams=LAMS)


@pytest.fixture(scope="module")
def filled(begin):
    """Constants of every seed and set of multipliers."""
    return terms_of([variant(AT_LAMS, setting) for setting in SETS], begin).constants


def test_sets_of_unequal_size_are_filled_up_with_terms_of_no_weight(begin, filled):
    for s in range(len(SPLITS)):
        outcomes = jax.tree.map(lambda leaf, s=s: leaf[s], begin.sample_hat)
        for k, lams in enumerate(LAMS):
            size = len(lams)
            expected = constants.fitted_at(outcomes, begin.counted.budgets[s], lams=jnp.array(lams))
            found = jax.tree.map(lambda leaf, s=s, k=k: leaf[s, k], filled)
            assert (found.weights[size:] == 0).all()
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_allclose(one[:size], other, rtol=1e-12)  # one sum in another order


@pytest.mark.parametrize("loss", ["PL", "IFD", "IFD, longest step", "DIFD"])
@pytest.mark.parametrize("size", [1, 2])
def test_a_term_of_no_weight_teaches_exactly_nothing(begin, filled, loss, size):
    outcomes = jax.tree.map(lambda leaf: leaf[0, :200], begin.sample_hat)
    surfaces = scores.ipw(jax.tree.map(lambda leaf: leaf[0], begin.counted.sample).sample(200))
    of = {
        "PL": decision_losses.entropy_regularised,
        "IFD": decision_losses.finite_difference,
        "IFD, longest step": lambda o, g, k: losses.finite_difference_loss(o, g, k.lams, clip="max", weights=k.weights),
        "DIFD": lambda o, g, k: losses.dual_finite_difference_loss(
            o, g, k.lams, window=k.window, temperature=k.temperature, weights=k.weights
        ),
    }[loss]
    whole = jax.tree.map(lambda leaf: leaf[0, size - 1], filled)
    bare = jax.tree.map(lambda leaf: leaf[:size], whole)
    one, other = (jax.value_and_grad(of)(outcomes, surfaces, k) for k in (whole, bare))
    # Three sums at once may be added up in another order than one.
    np.testing.assert_allclose(one[0], other[0], rtol=1e-15 * 200)
    jax.tree.map(np.testing.assert_array_equal, one[1], other[1])
    assert float(jnp.abs(one[1].r).sum()) > 0


GIVEN = Decision(
    scores.centred, decision_losses.entropy_regularised, START, constants=partial(constants.given, lams=(0.1,))
)


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        (CENTRED, [], "settings of a sweep: found none"),
        (CENTRED, [{"alpha": 1.0}, {"alpha": 1.0}], "settings of a sweep: found alpha 1 twice"),
        (CENTRED, [{"alpha": -0.1}], "alpha: found -0.1, expected finite numbers of at least 0"),
        (CENTRED, [{"alpha": float("nan")}], "alpha: found nan"),
        (CENTRED, [{"alpha": (0.1, 0.5)}], r"alpha: found \{0.1, 0.5\}, expected one number"),
        (CENTRED, [{"learning_rate": 0.0}], "learning_rate: found 0, expected finite numbers above 0"),
        (CENTRED, [{"temperature_in_spreads": 0.0}], "temperature_in_spreads: found 0"),
        (CENTRED, [{"budgets": ()}], "budgets: found no numbers"),
        (CENTRED, [{"budgets": (0.1, float("inf"))}], "budgets: found inf"),
        (
            CENTRED,
            [{"tau": 1.0}],
            "hyper-parameter: found 'tau', expected alpha, learning_rate, budgets, or a number that .*fitted",
        ),
        (CENTRED, [{"lams": (0.1,)}], "hyper-parameter: found 'lams'"),
        (
            GIVEN,
            [{"temperature_in_spreads": 1.0}],
            "hyper-parameter: found 'temperature_in_spreads', expected alpha, .*given",
        ),
        (AT_LAMS, [{"lams": (0.1, -0.5)}], "lams: found -0.5"),
        (
            GIVEN,
            [{"lams": (0.1, 1.0), "window": (1.0,)}],
            r"sets of lams .0.1, 1., window .1.: found several sizes",
        ),
        (CENTRED, [{"spread": 1.0}], "hyper-parameter: found 'spread'"),
        (replace(CENTRED, training=FitConfig(learning_rate=0)), [{"learning_rate": 1.0}], "relative to: found 0"),
        (replace(AT_LAMS, tracked=True), [{"lams": (0.1,)}], "lams of a method that tracks its multipliers"),
        (CENTRED, [{"alpha": 1.0}, {"learning_rate": 1.0}], "settings of a sweep: found one of"),
    ],
)
def test_bad_settings_are_named_before_training(method, settings, message):
    def no_training(label, epochs):
        raise AssertionError(label)

    with pytest.raises(InputError, match=message):
        sweep(KEY, SPLITS, method, settings, cells=Cells(watcher=Watcher(on_stage=no_training)))


@pytest.mark.parametrize("published", [constants.published_criteo, constants.published_marketing])
def test_published_constants_have_no_spreads_to_sweep(published):
    method = replace(CENTRED, constants=published)
    with pytest.raises(InputError, match="hyper-parameter: found 'temperature_in_spreads'"):
        sweep(KEY, SPLITS, method, [{"temperature_in_spreads": 1.0}])


def test_a_grid_is_every_combination():
    assert grid(alpha=[0, 1], lams=[(0.1,), (0.1, 0.5)]) == [
        {"alpha": 0, "lams": (0.1,)},
        {"alpha": 0, "lams": (0.1, 0.5)},
        {"alpha": 1, "lams": (0.1,)},
        {"alpha": 1, "lams": (0.1, 0.5)},
    ]


@pytest.mark.parametrize(("axes", "message"), [({}, "axes of a sweep: found none"), ({"alpha": []}, "axis alpha")])
def test_an_axis_without_values_is_refused(axes, message):
    with pytest.raises(InputError, match=message):
        grid(**axes)
