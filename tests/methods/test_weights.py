"""A trial whose rows have weights is the same as one whose rows are repeated."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import Decision, InputError, Outcomes, Scores, Trial, TwoStage, scores
from dfcl_jax.data import Task, simulate
from dfcl_jax.data.clusters import apart_from, random_order
from dfcl_jax.losses import constants
from dfcl_jax.losses import decision as losses
from dfcl_jax.losses.constants import best_margin
from dfcl_jax.methods import SILENT, CheapestArm, Direct, Ensemble, WeightedTwoStage
from dfcl_jax.methods.judged import mean_value
from dfcl_jax.methods.method import fit_each
from dfcl_jax.metrics import diagnostics
from dfcl_jax.models import NetworkConfig
from dfcl_jax.train import FitConfig
from dfcl_jax.types import take

pytestmark = pytest.mark.thorough

N, BUDGETS = 240, (0.03, 0.06)
RNG = np.random.default_rng(0)
PEOPLE = jnp.asarray(RNG.integers(1, 4, N), jnp.float64)
AGAIN = jnp.repeat(jnp.arange(N), PEOPLE.astype(int), total_repeat_length=int(PEOPLE.sum()))
SIMULATED = jax.jit(simulate.marketing, static_argnums=1)(jax.random.key(0), 2 * N)[0]
TRAIN, VALID = (take(SIMULATED, jnp.arange(first, first + N)) for first in (0, N))
# Whatever the weights count in, they say the same.
WEIGHED = Task(TRAIN._replace(weight=0.5 * PEOPLE), VALID._replace(weight=2 * PEOPLE), BUDGETS)
REPEATED = Task(take(TRAIN, AGAIN), take(VALID, AGAIN), BUDGETS)
# The whole sample is one batch, so that the order of rows plays no part.
TRAINING = FitConfig(epochs=4, batch_size=1000, learning_rate=1e-2)
START = TwoStage(NetworkConfig(hidden=(8,)), training=TRAINING)
MER = Decision(scores.raw, losses.entropy_regularised, START, TRAINING)
METHODS = {
    "two-stage": START,
    "two-stage, weighted by precision": WeightedTwoStage(START, TRAINING),
    "PL": replace(MER, loss=losses.policy_learning, by_rows=True),
    "MER": MER,
    "MER with prediction loss": replace(MER, alpha=0.5),
    "PL-own-units": replace(MER, scores=scores.centred_in_own_units, tracked=True, by_rows=True),
    "DR in own units": replace(MER, scores=scores.aipw_in_own_units, start=WeightedTwoStage(START, TRAINING)),
    "ensemble": Ensemble(MER, members=2),
    "cheapest": CheapestArm(),
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_what_is_learned_of_weights_is_learned_of_repeated_rows(method):
    """Sums of 240 and of as many terms as there are people are rounded apart, which four steps of Adam amplify."""
    one, two = (method.predict(method.fit(jax.random.key(1), task, SILENT), VALID.x) for task in (WEIGHED, REPEATED))
    for y, again in zip(one, two, strict=True):
        np.testing.assert_allclose(y, again, rtol=1e-6, atol=1e-8)


def _surfaces() -> tuple[Outcomes, Scores]:
    hat = Outcomes(*(jnp.asarray(RNG.normal(size=(N, 5)) + np.arange(5) * rise) for rise in (0.3, 0.5)))
    return hat, scores.ipw(TRAIN)


def test_constants_of_weights_are_those_of_repeated_rows():
    hat, _ = _surfaces()
    for spread in (constants.score_spread, best_margin):
        at_budgets = jnp.array([0.5, 1.0])
        one = constants.fitted(hat, at_budgets, spread=spread, people=PEOPLE)
        two = constants.fitted(Outcomes(*(y[AGAIN] for y in hat)), at_budgets, spread=spread)
        np.testing.assert_allclose(one.lams, two.lams, rtol=1e-12)
        # Between the two people next to the median, of as many as the weights say, a quantile is interpolated.
        close = 1e-12 if spread is constants.score_spread else 0.05
        np.testing.assert_allclose(one.temperature, two.temperature, rtol=close)


def test_the_validation_value_of_weights_is_that_of_repeated_rows():
    hat, surfaces = _surfaces()
    budgets, met = jnp.array([0.05, 0.1]), jnp.ones(2, bool)
    repeated = (Outcomes(*(y[AGAIN] for y in hat)), Scores(*(y[AGAIN] for y in surfaces)))
    one = mean_value(hat, (surfaces, budgets, PEOPLE, met))
    two = mean_value(repeated[0], (repeated[1], budgets, None, met))
    assert float(one) == pytest.approx(float(two), rel=1e-9)


def test_finite_differences_of_a_row_move_all_of_its_people_together():
    """The value is that of repeated rows; a step of three people at once changes the matched size by 3 / n more."""
    hat, surfaces = _surfaces()
    k = constants.fitted(hat, jnp.array([0.5, 1.0]))
    weighed = scores.weighed(surfaces, PEOPLE / PEOPLE.mean())
    one, slope = jax.value_and_grad(losses.finite_difference)(hat, weighed, k)
    again = Scores(*(y[AGAIN] for y in surfaces))

    def repeated(hat: Outcomes) -> jax.Array:
        return losses.finite_difference(Outcomes(*(y[AGAIN] for y in hat)), again, k)

    two, same = jax.value_and_grad(repeated)(hat)
    assert float(one) == pytest.approx(float(two), rel=1e-9)
    off = jnp.abs(slope.r - same.r).max() / jnp.abs(same.r).max()
    assert float(off) < 0.15  # a matched part of about 40 of 240 rows, moved by up to 3 of them times 1 / p


@pytest.mark.parametrize(
    "method",
    [Direct(), replace(MER, loss=losses.primal_policy_learning), replace(MER, scores=scores.raw_winsorised)],
    ids=["direct", "budgets of batches", "tails"],
)
def test_methods_that_take_rows_alike_refuse_weights_by_name(method):
    with pytest.raises(InputError, match=f"weights of rows for {type(method).__name__}: found a method that takes"):
        fit_each(method, jax.random.key(0), [WEIGHED], SILENT)


def test_what_is_said_of_predictions_counts_rows_by_their_weights():
    hat, surfaces = _surfaces()
    again = Outcomes(*(y[AGAIN] for y in hat))
    one = diagnostics.prediction_quality(hat, TRAIN._replace(weight=PEOPLE))
    two = diagnostics.prediction_quality(again, take(TRAIN, AGAIN))
    np.testing.assert_allclose(one[:2], two[:2], rtol=1e-9)
    # In one bin the order of rows plays no part.
    one = diagnostics.calibration(hat, surfaces, bins=1, weights=PEOPLE)
    two = diagnostics.calibration(again, Scores(*(y[AGAIN] for y in surfaces)), bins=1)
    np.testing.assert_allclose(one.estimated, two.estimated, rtol=1e-9)


def test_samples_are_cut_so_that_clusters_stay_together():
    homes = jnp.asarray(RNG.integers(0, 60, N))
    trial = TRAIN._replace(cluster=homes)
    order = random_order(jax.random.key(0), trial)
    assert sorted(order) == list(range(N))
    # In order each home comes once.
    assert np.count_nonzero(np.diff(np.asarray(homes)[order])) == len(np.unique(homes)) - 1
    rest = apart_from(order[100:], order[:100], trial)
    assert len(rest) == N - 100
    assert not set(np.asarray(homes)[rest]) & set(np.asarray(homes)[order[:100]])


def test_members_that_cut_their_validation_part_anew_keep_clusters_on_one_side():
    homes = jnp.asarray(np.repeat(np.arange(N), 2))
    task = Task(TRAIN._replace(cluster=homes[:N]), VALID._replace(cluster=homes[N:]), BUDGETS)
    seen: list[Trial] = []

    def fitted(method, key, tasks):
        seen.extend(one for each in tasks for one in (each.train, each.valid))
        return [{"cost": jnp.zeros(5)} for _ in tasks]

    Ensemble(START, members=3, resplit=True).fit(jax.random.key(0), task, SILENT._replace(fitted=fitted))
    assert len(seen) == 6
    for train, valid in zip(seen[::2], seen[1::2], strict=True):
        assert train.cluster is not None
        assert valid.cluster is not None
        assert not set(np.asarray(train.cluster).tolist()) & set(np.asarray(valid.cluster).tolist())
