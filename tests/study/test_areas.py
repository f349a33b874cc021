"""Areas under the cost curve, a column for each method and a row for each seed."""

import jax
import numpy as np
import pytest

from dfcl_jax import TwoStage, metrics
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


def test_known_outcomes_give_the_area_where_they_are_known():
    study = compare(jax.random.key(0), SPLITS, METHODS)
    table = areas(study, SPLITS)
    assert list(table.columns) == [TWO_STAGE, ORACLE]
    assert list(table.index) == [3, 5]
    assert (table[ORACLE] > table[TWO_STAGE]).all()
    for split, cell in zip(SPLITS, study.cells[TWO_STAGE], strict=True):
        score = metrics.roi_score(START.predict(cell.params, split.exam.test.x))
        assert table.loc[cell.seed, TWO_STAGE] == float(metrics.true_aucc(score, split.exam.truth))


def test_what_was_seen_gives_the_area_where_nothing_is_known():
    study = compare(jax.random.key(0), SEEN, METHODS)
    table = areas(study, SEEN)
    assert list(table.columns) == [TWO_STAGE]
    seen = study.quality[study.quality.method == TWO_STAGE].set_index("seed").aucc
    np.testing.assert_array_equal(table[TWO_STAGE], seen)
