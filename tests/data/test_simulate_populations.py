import itertools
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError, metrics, scores, solvers
from dfcl_jax.data import simulate, sources
from dfcl_jax.data.parts import open_parts, write_parts
from dfcl_jax.files import locked
from dfcl_jax.types import pick, take

pytestmark = pytest.mark.thorough

KEY = jax.random.key(0)
PEOPLE = jax.random.key(1)
N = 40_000


@pytest.fixture(scope="module")
def wide():
    return simulate.marketing_population(KEY, simulate.WIDE)


@pytest.fixture(scope="module")
def criteo():
    return simulate.criteo_population(KEY)


@pytest.fixture(scope="module")
def wide_simulation(wide):
    return simulate.draw(wide, PEOPLE, N)


@pytest.fixture(scope="module")
def criteo_simulation(criteo):
    return simulate.draw(criteo, PEOPLE, N)


@pytest.fixture(scope="module", params=["wide", "criteo"])
def simulation(request):
    return request.getfixturevalue(f"{request.param}_simulation")


def same(one, other):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        # Compiled for another number of rows, sums of the same numbers may be taken in another order.
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_a_stream_is_what_memory_would_hold(criteo, criteo_simulation):
    """Whoever person i is depends neither on the chunk nor on how many there are."""
    parts = list(simulate.stream(criteo, PEOPLE, 1000, chunk=300))
    assert [len(part.trial.t) for part in parts] == [300, 300, 300, 100]
    whole = simulate.first_people(criteo_simulation, 1000)
    for start, part in zip((0, 300, 600, 900), parts, strict=True):
        rows = jnp.arange(start, min(start + 300, 1000))
        same(part.trial, take(whole.trial, rows))
        same(part.truth, jax.tree.map(lambda surface, rows=rows: surface[rows], whole.truth))


def test_features_are_standard(simulation):
    # A mean over the reference people and over these, each with its error; kurtosis makes deviations vary more, by at
    # most sqrt(kurtosis / n), and the rarest of Criteo's counts has a kurtosis of some thousands.
    error = np.sqrt(1 / N + 1 / 2**16)
    assert np.abs(simulation.trial.x.mean(axis=0)).max() < 5 * error
    kurtosis = (np.asarray(simulation.trial.x) ** 4).mean(axis=0)
    assert (np.abs(simulation.trial.x.std(axis=0) - 1) < 5 * error * np.sqrt(kurtosis)).all()


def test_what_is_seen_is_the_truth_of_the_treatment_given_on_average(simulation):
    surfaces = scores.ipw(simulation.trial)
    for seen, expected in ((surfaces.r, simulation.truth.r), (surfaces.c, simulation.truth.c)):
        difference = np.asarray(seen - expected)
        assert (np.abs(difference.mean(axis=0)) <= 4.5 * difference.std(axis=0) / np.sqrt(N) + 1e-12).all()


@pytest.mark.parametrize("name", ["wide", "criteo"])
def test_the_seen_value_of_a_policy_is_its_true_value_and_its_estimate_on_the_trial(name, request):
    """Monte-Carlo value = EOM = truth, each within 4.5 standard errors."""
    population, simulation = (request.getfixturevalue(f"{name}{part}") for part in ("", "_simulation"))
    truth = simulation.truth
    arm = solvers.hard(truth, 1.0)
    expected = np.asarray(pick(truth.r, arm))
    seen, _ = population.respond(jax.random.key(2), truth, arm)
    estimated = np.asarray(metrics.influence(arm, scores.ipw(simulation.trial)).r)
    for value in (np.asarray(seen), estimated):
        difference = value - expected
        assert abs(difference.mean()) < 4.5 * difference.std() / np.sqrt(N)


def test_wide_features_are_numeric_categorical_and_irrelevant(wide, wide_simulation):
    dials = simulate.WIDE
    assert dials.d == 107
    assert dials.numeric == 60
    x = np.asarray(wide_simulation.trial.x[:20_000])
    levels = [len(np.unique(x[:, k])) for k in range(dials.d)]
    assert levels[60:81] == [2] * 21  # indicators
    assert max(levels[20:40]) < 15  # rounded
    assert min(levels[:20] + levels[40:60] + levels[81:]) == 20_000
    skewness = (x**3).mean(axis=0)
    # e^z of a standard normal z has skewness 6.2; that of its sample is far off, and of normal ones near 0.
    assert skewness[:20].min() > 2.5
    assert np.abs(skewness[81:]).max() < 0.1
    # Each of 4 categories is exactly one level at a time.
    first = np.cumsum([60, *dials.categories])
    on = x > 0
    for start, end in itertools.pairwise(first):
        assert (on[:, start:end].sum(axis=1) == 1).all()
    functions = (wide.base, wide.lift, wide.rate, wide.cost)
    assert max(int(function.columns.max()) for function in functions) < 81
    # 26 x 60 correlations of independent columns: 5 standard errors.
    assert np.abs(np.corrcoef(x[:, 81:], x[:, :60], rowvar=False)[:26, 26:]).max() < 5 / np.sqrt(20_000)


def test_weeks_shift_demand_and_features_but_not_the_functions(wide, wide_simulation):
    x = wide_simulation.trial.x
    week = wide.in_week(3)
    assert not wide.in_week(0).drift.any()
    assert wide.in_week(0).season == 0
    same(week.outcomes(x).r, wide.outcomes(x).r * jnp.exp(week.season))
    later = simulate.draw(week, PEOPLE, N).trial.x
    # Rounding aside, normal columns move by the drift in their own deviations.
    columns = slice(40, 60)
    moved = (later - x).mean(axis=0)[columns]
    np.testing.assert_allclose(moved, week.drift[0, columns] / wide.scaling.deviation[0, columns], rtol=1e-9)
    seasons = jax.jit(jax.vmap(lambda k: wide.in_week(k).season))(jnp.arange(1, 401))
    # Five standard errors of a standard deviation over 400 weeks.
    assert float(seasons.std()) == pytest.approx(0.1, rel=5 / np.sqrt(800))


@pytest.mark.parametrize("noise", [0.5, 2.0])
def test_noise_is_the_coefficient_of_variation_of_what_is_seen(noise):
    trial, truth = simulate.marketing(KEY, N, noise=noise)
    ratio = np.asarray(trial.r / pick(truth.r, trial.t))
    # The variance of Gamma(k, 1/k) squared deviations is (2 + 6/k) / k^2: five standard errors.
    k = 1 / noise**2
    assert ratio.var() == pytest.approx(noise**2, abs=5 * np.sqrt((2 + 6 / k) / k**2 / N))


def test_rare_orders_bring_what_all_would():
    trial, truth = simulate.marketing(KEY, N, ordering=0.1)
    ordered = np.asarray(trial.r > 0)
    assert ordered.mean() == pytest.approx(0.1, abs=5 * np.sqrt(0.09 / N))
    difference = np.asarray(trial.r - pick(truth.r, trial.t))
    assert abs(difference.mean()) < 4.5 * difference.std() / np.sqrt(N)


@pytest.mark.parametrize("rho", [-0.5, 0.0, 0.7])
def test_demand_that_pays_and_that_costs_correlate_as_asked_for(rho):
    trial, truth = simulate.marketing(KEY, N, cost_correlation=rho)
    pays = np.log(truth.r[:, 0])
    costs = np.log(truth.c[:, 4] / (0.2 * truth.r[:, 4])) + pays
    # The two random functions share features and so a correlation of their own in this population.
    fresh = (costs - costs.mean()) - rho * (pays - pays.mean())
    own = np.corrcoef(fresh, pays)[0, 1]
    expected = rho + np.sqrt(1 - rho**2) * own
    assert np.cov(costs, pays)[0, 1] / pays.var() == pytest.approx(expected, abs=0.01)
    np.testing.assert_allclose(trial.c * pick(truth.r, trial.t), trial.r * pick(truth.c, trial.t), rtol=1e-9)


def test_without_nonlinearity_a_linear_model_knows_the_function():
    x = jax.random.normal(KEY, (2000, 10))
    for w, residual in ((0.0, 0.0), (1.0, 0.3)):
        z = simulate.draw_function(jax.random.key(4), x, nonlinearity=w)(x)
        inside = np.abs(np.asarray(z)) < 3.5
        design = np.c_[np.ones(2000), x][inside]
        left = z[inside] - design @ np.linalg.lstsq(design, np.asarray(z)[inside])[0]
        assert (float(left.std()) < 1e-9) if residual == 0 else (float(left.std()) > residual)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(simulate.MarketingDials, d=10, irrelevant=9), "d: found 10"),
        (partial(simulate.MarketingDials, noise=0), "noise: found 0"),
        (partial(simulate.MarketingDials, cost_correlation=2.0), "cost_correlation: found 2.0"),
        (partial(simulate.CriteoDials, published=True, d=30), "d: found 30"),
        (partial(simulate.CriteoDials, visit_rate=0.1, conversion_rate=0.2), "conversion_rate: found 0.2"),
        (lambda: list(simulate.stream(None, KEY, 0)), "n: found 0"),  # type: ignore[arg-type]
    ],
)
def test_numbers_that_make_no_population_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_criteo_has_the_published_rates(criteo_simulation):
    trial, truth = criteo_simulation
    p = jnp.array([0.15, 0.85])
    for seen, expected, rate in ((trial.c, truth.c @ p, 0.046992), (trial.r, truth.r @ p, 0.00292)):
        # Expected rates are exact over 65,536 reference people and so have their error and that of these people.
        assert float(expected.mean()) == pytest.approx(rate, abs=4.5 * float(expected.std()) * np.sqrt(1 / N + 2**-16))
        assert float(seen.mean()) == pytest.approx(float(expected.mean()), abs=4.5 * np.sqrt(rate / N))
    roi = np.asarray((truth.r[:, 1] - truth.r[:, 0]) / (truth.c[:, 1] - truth.c[:, 0]))
    assert roi.std() > 0.5 * abs(roi.mean())


def test_in_memory_rates_are_exact():
    _, truth = simulate.criteo_like(KEY, 5000, published=True)
    p = jnp.array([0.15, 0.85])
    assert float((truth.c @ p).mean()) == pytest.approx(0.046992, rel=1e-9)
    assert float((truth.r @ p).mean()) == pytest.approx(0.00292, rel=1e-9)


def test_strengths_of_effects_and_of_features_are_dials():
    x_of = partial(simulate.criteo_like, KEY, 500, visit_rate=0.1, conversion_rate=0.02)
    usual, doubled, none, flat = (
        x_of(**dials).truth for dials in ({}, {"effect": 2.0}, {"effect": 0.0}, {"signal": 0.0})
    )
    # Without an effect both treatments are alike.
    np.testing.assert_allclose(none.r[:, 0], none.r[:, 1], rtol=1e-12)
    # Logits of visits move by twice as much; intercepts, which the rates fix, are no part of the difference.
    logit = [np.log(truth.c / (1 - truth.c)) for truth in (usual, doubled)]
    np.testing.assert_allclose(np.diff(logit[1], axis=1), 2 * np.diff(logit[0], axis=1), rtol=1e-6)
    # What features say is nothing: without treatment all are alike.
    assert float(jnp.ptp(flat.c[:, 0])) < 1e-12
    assert float(jnp.ptp(usual.c[:, 0])) > 0.1


def test_criteo_features_are_like_the_file(data_folder):
    real = np.genfromtxt(data_folder / "criteo_1000.csv", delimiter=",", skip_header=1)[:, :12]
    made = np.asarray(simulate.published_features(KEY, N))
    for k in range(12):
        mode, share = simulate.FEATURES[k].mode, simulate.FEATURES[k].share
        at_mode = np.isclose(real[:, k], mode, rtol=0, atol=1e-6)
        assert at_mode.mean() == pytest.approx(share, abs=1e-9)
        assert (made[:, k] == mode).mean() == pytest.approx(share, abs=5 * np.sqrt(share * (1 - share) / N))
        # The shapes were chosen by eye: means to 4.5 standard errors of a thousand rows, and skew to the same side.
        assert made[:, k].mean() == pytest.approx(real[:, k].mean(), abs=4.5 * real[:, k].std() / np.sqrt(1000))
        skews = [((x - x.mean()) ** 3).mean() for x in (made[:, k], real[:, k])]
        assert skews[0] * skews[1] > 0
        if not simulate.FEATURES[k].quantiles:
            counts = 2 * np.expm1((real[~at_mode, k] - mode) / simulate.FEATURES[k].scale)
            # Scales were rounded to three digits, so counts are off by up to a hundredth of themselves.
            small = counts[counts < 20]
            np.testing.assert_allclose(small, np.round(small), rtol=0.01)
    for one, other in ((0, 6), (2, 8), (4, 10), (5, 7)):
        for x in (real, made):
            modes = [np.isclose(x[:, k], simulate.FEATURES[k].mode, rtol=0, atol=1e-6) for k in (one, other)]
            assert (modes[0] == modes[1]).all()


def test_the_oracle_has_no_regret_and_nobody_less(wide_simulation):
    _, truth = simulate.first_people(wide_simulation, 2000)
    budgets = np.array([0.02, 0.05, 0.1])
    oracle = metrics.regret(truth, truth, budgets)
    np.testing.assert_allclose(oracle.regret, 0, atol=1e-9)
    noisy = jax.tree.map(lambda s: s * jnp.exp(jax.random.normal(KEY, s.shape)), truth)
    made = metrics.regret(noisy, truth, budgets)
    assert (made.regret > 0).all()
    np.testing.assert_allclose(made.value, metrics.eom(noisy, scores.truth(truth), budgets).revenue)
    np.testing.assert_allclose(made.optimum, solvers.budget_path(truth).at(budgets).value)


def test_parts_hold_the_stream_in_its_order(tmp_path, criteo, criteo_simulation):
    whole = simulate.simulation_table(simulate.first_people(criteo_simulation, 1000), truth=True)
    batches = (simulate.simulation_table(s, truth=True) for s in simulate.stream(criteo, PEOPLE, 1000, chunk=300))
    write_parts(batches, tmp_path / "trial", rows_per_part=500)
    assert sorted(file.name for file in (tmp_path / "trial").iterdir()) == ["part-00000.parquet", "part-00001.parquet"]
    (read,) = open_parts(tmp_path / "trial", whole.column_names).batches(2000)
    assert read.schema.equals(whole.schema)
    np.testing.assert_allclose(read.to_pandas(), whole.to_pandas(), rtol=1e-6, atol=1e-6)
    with pytest.raises(InputError, match="which exists"):
        write_parts(iter([whole]), tmp_path / "trial")
    with pytest.raises(InputError, match=r"data folder: found \., which exists"):
        write_parts(iter([whole]), Path("."))


def test_parts_that_are_not_complete_do_not_appear(tmp_path, criteo_simulation):
    table = simulate.simulation_table(simulate.first_people(criteo_simulation, 50))

    def broken():
        yield table
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_parts(broken(), tmp_path / "trial", rows_per_part=10)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_of_parts_is_removed_and_said(tmp_path, criteo_simulation):
    table = simulate.simulation_table(simulate.first_people(criteo_simulation, 50))
    (tmp_path / ".trial.partial").mkdir()
    (tmp_path / ".trial.partial" / "part-00007.parquet").write_text("half a part")
    said = []
    write_parts(iter([table]), tmp_path / "trial", say=said.append)
    assert said == [f"{tmp_path / '.trial.partial'}: left by a process that was killed, so it is removed"]
    assert [str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*")] == ["trial", "trial/part-00000.parquet"]


def test_parts_that_another_process_writes_are_refused_and_left(tmp_path, criteo_simulation):
    table = simulate.simulation_table(simulate.first_people(criteo_simulation, 50))
    (tmp_path / ".trial.partial").mkdir()
    with locked(tmp_path / ".trial.lock"), pytest.raises(InputError, match="found another process that writes to it"):
        write_parts(iter([table]), tmp_path / "trial")
    assert (tmp_path / ".trial.partial").is_dir()


def test_columns_have_the_names_asked_for(criteo_simulation):
    table = simulate.simulation_table(criteo_simulation, sources.CRITEO)
    assert table.column_names == [*(f"f{k}" for k in range(12)), "treatment", "conversion", "visit"]
    logged = criteo_simulation._replace(trial=criteo_simulation.trial._replace(p=jnp.full((N, 2), 0.5)))
    names = simulate.simulation_table(logged, truth=True).column_names[12:]
    pairs = [f"{name}_{j}" for name in ("propensity", "true_revenue", "true_cost") for j in (0, 1)]
    assert names == ["treatment", "revenue", "cost", *pairs]
