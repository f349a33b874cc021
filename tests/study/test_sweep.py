from dataclasses import replace
from functools import partial
from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dfcl_jax.study.training import train_method

from dfcl_jax import METHODS, InputError, constants, losses, methods, scores
from dfcl_jax.data import simulate, split_simulation
from dfcl_jax.methods import TWO_STAGE, Method
from dfcl_jax.models import NetworkConfig
from dfcl_jax.study import Hooks, StudyConfig, grid, sweep
from dfcl_jax.study.comparison import begin
from dfcl_jax.study.sweep import label, shown, terms_of
from dfcl_jax.train import FitConfig

CONFIG = StudyConfig(
    network=NetworkConfig(hidden=(8,)),
    warm=FitConfig(epochs=1, batch_size=250),
    decision=FitConfig(epochs=2, batch_size=250, learning_rate=1e-2),
)
BUDGETS = (0.02, 0.05, 0.1)
DRAW = jax.jit(partial(simulate.marketing, d=6), static_argnums=1)
SPLITS = [split_simulation(DRAW(jax.random.key(seed), 2000), 1000, 500) for seed in range(2)]
KEY = jax.random.key(0)
CENTRED, TRACKED = METHODS["PL-centred"], METHODS["PL-own-units"]
AT_LAMS = CENTRED._replace(constants=constants.fitted_at)
# Steps of the last one's length end outside the floats.
SETTINGS = [
    {"alpha": 0.0, "learning_rate": 1e-2, "temperature_in_spreads": 1.5, "budgets": BUDGETS},
    {"alpha": 2.0, "learning_rate": 3e-3, "temperature_in_spreads": 0.5, "budgets": BUDGETS[1:2]},
    {"alpha": 0.5, "learning_rate": 1e30, "temperature_in_spreads": 1.0, "budgets": BUDGETS[1:]},
]
DIVERGED = label(SETTINGS[2])


@pytest.fixture(scope="module")
def start():
    return begin(KEY, SPLITS, BUDGETS, CONFIG, Hooks())


@pytest.fixture(scope="module")
def swept(start):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_module("dfcl_jax.study.sweep"), "begin", lambda *_: start)
        return sweep(KEY, SPLITS, BUDGETS, TRACKED, SETTINGS, CONFIG)


def assert_same_fit(member, alone):
    # Parameters and settings are float32 here, and 8 Adam steps magnify what the first sums differ by some hundredfold;
    # tests/train/test_members.py is in float64.
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    close(member.loss, alone.loss)
    close(member.value, alone.value)
    jax.tree.map(close, member.params, alone.params)


@pytest.mark.parametrize("setting", SETTINGS[:2], ids=["no prediction loss", "one budget"])
def test_a_member_is_the_same_run_alone(start, swept, setting):
    trained_for = [BUDGETS.index(budget) for budget in setting["budgets"]]

    def fitted(outcomes, budgets):
        spreads = setting["temperature_in_spreads"]
        return constants.fitted(outcomes, budgets[np.array(trained_for)], temperature_in_spreads=spreads)

    decision = replace(CONFIG.decision, learning_rate=setting["learning_rate"])
    config = replace(CONFIG, alpha=setting["alpha"], decision=decision)
    method = TRACKED._replace(constants=fitted)
    fit = train_method(start.key, "alone", method, start.model, start.seeds, start.warm, config, Hooks())
    assert_same_fit(swept.study.fits[label(setting)], fit)


def test_a_member_that_diverges_keeps_its_start_and_leaves_the_others_alone(start, swept):
    diverged = swept.study.fits[DIVERGED]
    assert not np.isfinite(diverged.loss[-1]).any()
    jax.tree.map(np.testing.assert_array_equal, diverged.params, start.warm.fit.params)
    lift = swept.values.set_index("learning_rate").lift
    assert (lift.loc[1e30] == 0).all()
    assert np.isfinite(lift).all()


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


def test_sets_of_unequal_size_are_filled_up_with_terms_of_no_weight(start):
    terms, _ = terms_of(constants.fitted_at, AT_LAMS, SETS, start, CONFIG)
    for s in range(len(SPLITS)):
        outcomes = jax.tree.map(lambda leaf, s=s: leaf[s], start.warm.outcomes)
        for k, lams in enumerate(LAMS):
            size = len(lams)
            expected = constants.fitted_at(outcomes, start.seeds.budgets[s], lams=jnp.array(lams))
            found = jax.tree.map(lambda leaf, s=s, k=k: leaf[s, k], terms.constants)
            assert (found.weights[size:] == 0).all()
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_allclose(one[:size], other, rtol=1e-12)  # one sum in another order


@pytest.mark.parametrize("loss", ["PL", "IFD", "IFD, longest step", "DIFD"])
@pytest.mark.parametrize("size", [1, 2])
def test_a_term_of_no_weight_adds_exactly_nothing(start, loss, size):
    outcomes = jax.tree.map(lambda leaf: leaf[0, :200], start.warm.outcomes)
    surfaces = scores.ipw(jax.tree.map(lambda leaf: leaf[0, :200], start.seeds.train._replace(p=None))._replace(
        p=start.seeds.train.p[0]
    ))  # fmt: skip
    of = {
        "PL": methods.entropy_regularised,
        "IFD": methods.finite_difference,
        "IFD, longest step": lambda o, g, k: losses.finite_difference_loss(o, g, k.lams, clip="max", weights=k.weights),
        "DIFD": lambda o, g, k: losses.dual_finite_difference_loss(
            o, g, k.lams, window=k.window, temperature=k.temperature, weights=k.weights
        ),
    }[loss]
    terms, _ = terms_of(constants.fitted_at, AT_LAMS, SETS, start, CONFIG)
    filled = jax.tree.map(lambda leaf: leaf[0, size - 1], terms.constants)
    bare = jax.tree.map(lambda leaf: leaf[:size], filled)
    one, other = (jax.value_and_grad(of)(outcomes, surfaces, k) for k in (filled, bare))
    jax.tree.map(np.testing.assert_array_equal, one, other)
    assert float(jnp.abs(one[1].r).sum()) > 0


GIVEN = Method(scores.centred, methods.entropy_regularised, constants=partial(constants.given, lams=(0.1,)))


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
            "'tau', expected one of alpha, learning_rate, budgets, temperature_in",
        ),
        (CENTRED, [{"lams": (0.1,)}], "hyper-parameter: found 'lams'"),
        (
            GIVEN,
            [{"temperature_in_spreads": 1.0}],
            "one of alpha, learning_rate, budgets, lams, temperature, w",
        ),
        (AT_LAMS, [{"lams": (0.1, -0.5)}], "lams: found -0.5"),
        (
            GIVEN,
            [{"lams": (0.1, 1.0), "window": (1.0,)}],
            r"sets of lams .0.1, 1., window .1.: found several sizes",
        ),
        (AT_LAMS._replace(tracked=True), [{"lams": (0.1,)}], "lams of a method that tracks its multipliers"),
        (CENTRED, [{"alpha": 1.0}, {"learning_rate": 1.0}], "settings of a sweep: found one of"),
    ],
)
def test_bad_settings_are_named_before_training(method, settings, message):
    def no_training(stage, epochs, rows):
        raise AssertionError(stage)

    with pytest.raises(InputError, match=message):
        sweep(KEY, SPLITS, BUDGETS, method, settings, CONFIG, Hooks(on_stage=no_training))


def test_published_constants_leave_nothing_of_themselves_to_sweep():
    config = replace(CONFIG, constants="marketing")
    with pytest.raises(InputError, match=r"expected one of alpha, learning_rate, budgets$"):
        sweep(KEY, SPLITS, BUDGETS, CENTRED, [{"temperature_in_spreads": 1.0}], config)


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
