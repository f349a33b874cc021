import re
from pathlib import Path

import jax
import numpy as np
import pytest

from dfcl_jax import InputError
from dfcl_jax.data import simulate, split_simulation
from dfcl_jax.models import NetworkConfig
from dfcl_jax.report import load_predictor, open_run
from dfcl_jax.report.predictor import describe_models
from dfcl_jax.report.run_folder import stage_folder
from dfcl_jax.train import Fit
from dfcl_jax.train.checkpoint_folder import FINISHED, write_checkpoint

DRAW = jax.jit(lambda seed: simulate.marketing(jax.random.key(seed), 60, d=9))
SPLITS = [split_simulation(DRAW(seed), 20, 20) for seed in range(2)]
X = SPLITS[0].test.x


@pytest.mark.parametrize(
    "network",
    [
        NetworkConfig(hidden=(4, 3), link="softplus", members=3),
        NetworkConfig("shared_trunk", hidden=(4,), head=(3,), link="sigmoid"),
    ],
)
def test_a_loaded_predictor_is_the_model_that_was_trained_whatever_its_network(tmp_path: Path, network: NetworkConfig):
    model, keys = network.build(5), jax.random.split(jax.random.key(0), 2)
    params = jax.jit(jax.vmap(lambda key: model.init(key, X[:1])))(keys)
    curves = (np.ones((1, 2)), np.ones((1, 2)))
    with open_run(tmp_path / "run", {}) as run:
        describe_models(run, SPLITS, network, ("a", "b", "c", "d", "e"))
        write_checkpoint(stage_folder(run.path, "method"), FINISHED, Fit(params, *curves), {})
    for seed in range(2):
        wanted = jax.jit(model.apply)(jax.tree.map(lambda leaf, seed=seed: leaf[seed], params), X)
        loaded = load_predictor(tmp_path / "run", "method", seed=seed).in_units(X)
        np.testing.assert_array_equal(loaded.r, wanted.r)
        np.testing.assert_array_equal(loaded.c, wanted.c)


def test_a_folder_without_a_description_of_its_models_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=re.escape(f"run folder: found no {tmp_path / 'checkpoint' / 'model.json'}")):
        load_predictor(tmp_path, "method")
