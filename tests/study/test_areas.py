"""Areas under the cost curve, a column for each method and a row for each seed."""

import jax
import pytest

from dfcl_jax import InputError, TwoStage, metrics
from dfcl_jax.data import simulate, split_simulation
from dfcl_jax.methods import CHEAPEST, TWO_STAGE, CheapestArm
from dfcl_jax.models import NetworkConfig
from dfcl_jax.study import ORACLE, areas, compare
from dfcl_jax.train import FitConfig

pytestmark = pytest.mark.thorough

START = TwoStage(NetworkConfig(hidden=(8,), link="sigmoid"), "cross_entropy", FitConfig(epochs=1, batch_size=500))
SPLITS = [
    split_simulation(simulate.criteo_like(jax.random.key(seed), 6000), 2000, 1000, budgets=(0.05,), seed=seed)
    for seed in (3, 5)
]
# What was measured on real people: nobody knows the truth.
SEEN = [split._replace(exam=split.exam._replace(truth=None)) for split in SPLITS]
METHODS = {TWO_STAGE: START, CHEAPEST: CheapestArm()}


@pytest.fixture(scope="module")
def study():
    return compare(jax.random.key(0), SPLITS, METHODS)


def test_there_is_a_column_for_each_method_that_ranks_and_a_row_for_each_seed(study):
    table = areas(study)
    assert list(table.columns) == [TWO_STAGE, ORACLE]
    assert list(table.index) == [3, 5]


def test_nobody_ranks_better_than_the_oracle_by_the_truth(study):
    table = areas(study)
    assert (table[ORACLE] > table[TWO_STAGE]).all()
    # What was seen of 3,000 people, of whom nine convert, would tell nothing.
    truth = SPLITS[1].exam.truth
    assert truth is not None
    assert table.loc[5, ORACLE] == float(metrics.true_aucc(metrics.roi_score(truth), truth))


def test_where_outcomes_are_known_the_area_is_by_them(study):
    for split, cell in zip(SPLITS, study.cells[TWO_STAGE], strict=True):
        score = metrics.roi_score(START.predict(cell.params, split.exam.test.x))
        assert split.exam.truth is not None
        expected = float(metrics.true_aucc(score, split.exam.truth))
        # Programs of other shapes round a ratio otherwise, which moves hardly anybody's place.
        assert areas(study)[TWO_STAGE][cell.seed] == pytest.approx(expected, abs=1e-3)
        assert abs(expected - float(metrics.aucc(score, split.exam.test))) > 1e-2


def test_where_nothing_is_known_the_area_is_that_of_the_trial():
    study = compare(jax.random.key(0), SEEN, METHODS)
    table = areas(study)
    assert list(table.columns) == [TWO_STAGE]
    for split, cell in zip(SEEN, study.cells[TWO_STAGE], strict=True):
        score = metrics.roi_score(START.predict(cell.params, split.exam.test.x))
        # Programs of other shapes round a ratio otherwise, which moves hardly anybody's place.
        expected = float(metrics.aucc(score, split.exam.test))
        assert table.loc[cell.seed, TWO_STAGE] == pytest.approx(expected, abs=1e-3)


def test_several_treatments_have_no_cost_curve(study):
    without = study._replace(quality=study.quality.drop(columns="aucc"))
    with pytest.raises(InputError, match="treatments: found several"):
        areas(without)
