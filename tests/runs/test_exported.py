import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from dfcl_jax import InputError
from dfcl_jax.runs import export_policy
from dfcl_jax.runs.serve import Served

BUDGET = 0.08


@pytest.fixture(scope="module")
def folder(policy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "policy"
    export_policy(policy, folder)
    return folder


SERVING = """
import sys
import numpy as np, pandas as pd
from serve import Served
decide = Served(sys.argv[1])
names = decide(pd.read_parquet(sys.argv[2]), float(sys.argv[3]))
assert not [name for name in sys.modules if name.startswith(("dfcl_jax", "flax", "optax"))]
np.save(sys.argv[2] + ".npy", names)
"""


@pytest.mark.thorough
def test_an_exported_policy_decides_alike_without_the_library(policy, people, folder, tmp_path):
    frame = people(5000)
    frame.to_parquet(tmp_path / "people")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    arguments = [str(folder), str(tmp_path / "people"), str(BUDGET)]
    subprocess.run([sys.executable, "-c", SERVING, *arguments], check=True, cwd=folder, env=environment)
    expected = policy(frame, BUDGET)
    assert len(set(expected)) > 1
    assert_alike(policy, frame, np.load(tmp_path / "people.npy"), expected)


@pytest.mark.thorough
@pytest.mark.parametrize("n", [1, 2, 7, 64, 1000, 4097])
@pytest.mark.parametrize("risk", [None, 0.05])
def test_batches_of_any_size_are_decided_alike(policy, people, folder, n, risk):
    frame = people(5000)[-n:]
    rows = np.arange(5000 - n, 5000, dtype=np.uint32)
    served = Served(folder)(frame, BUDGET, rows=rows, risk=risk)
    arm = policy.decide(frame, BUDGET, jax.random.key(0), rows=rows, risk=risk)
    assert_alike(policy, frame, served, np.asarray(policy.arms)[arm])


def assert_alike(policy, frame, served, expected):
    """The same but for people whose treatments tie within float32 at a multiplier of the rule."""
    differ = np.flatnonzero(served != expected)
    outcomes, rule = policy.predict(frame), policy.curve.at(BUDGET).rule
    for lam in (rule.lam, rule.dearer):
        score = np.sort(np.asarray(outcomes.r - jnp.where(jnp.isinf(lam), 0, lam) * outcomes.c), axis=1)[differ]
        assert (score[:, -1] - score[:, -2] < 1e-5).all()
    assert len(differ) <= len(frame) // 1000


@pytest.mark.parametrize("budget", [0.0, 0.01, 0.08, 0.3, 10.0])
def test_the_rule_of_a_budget_is_that_of_the_curve(policy, people, folder, budget):
    frame = people(300)
    np.testing.assert_array_equal(Served(folder)(frame, budget), policy(frame, budget))


def test_a_method_that_ranks_is_exported_for_a_matrix_of_features(ranking, people, tmp_path):
    x = ranking.features(people(500))
    unnamed = ranking._replace(encoder=None)
    export_policy(unnamed, tmp_path / "policy", features=x.shape[1], platforms=("cpu", "cuda", "tpu"))
    np.testing.assert_array_equal(Served(tmp_path / "policy")(x, BUDGET), unnamed(x, BUDGET))
    with pytest.raises(InputError, match="features: found none, expected how many there are"):
        export_policy(unnamed, tmp_path / "other")


def test_other_dice_are_another_programs(policy, people, folder, tmp_path):
    export_policy(policy, tmp_path / "other", key=jax.random.key(9))
    frame = people(3000)
    # Between the cheapest treatment for everybody and the tightest decisions, everybody is mixed.
    budget = float(policy.curve.spend[:2].mean())
    names = policy(frame, budget, key=jax.random.key(9))
    np.testing.assert_array_equal(Served(tmp_path / "other")(frame, budget), names)
    assert (Served(folder)(frame, budget) != names).any()


def test_what_is_written_is_read_by_a_script(folder, people, tmp_path):
    people(20).to_csv(tmp_path / "people.csv", index=False)
    command = [sys.executable, str(folder / "serve.py"), str(tmp_path / "people.csv"), str(BUDGET)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    served = Served(folder)(pd.read_csv(tmp_path / "people.csv"), BUDGET)
    assert done.stdout.split() == served.tolist()
