import json
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError
from dfcl_jax.methods import CHEAPEST, Policy, standard
from dfcl_jax.models import NetworkConfig
from dfcl_jax.runs import load_policy, save_policy

BUDGET = 0.08


@pytest.fixture(scope="module")
def folder(policy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "policies" / "TSM-SL" / "0"
    save_policy(policy, folder)
    return folder


ELSEWHERE = """
import sys
import jax, numpy as np, pandas as pd
jax.config.update("jax_enable_x64", sys.argv[4] == "True")
from dfcl_jax.runs import load_policy
names = load_policy(sys.argv[1])(pd.read_parquet(sys.argv[2]), float(sys.argv[3]))
np.save(sys.argv[2] + ".npy", names)
"""


@pytest.mark.thorough
def test_another_process_decides_alike_from_a_moved_folder_with_columns_in_another_order(
    policy, people, folder, tmp_path
):
    moved, frame = tmp_path / "moved", people(9000)
    shutil.copytree(folder, moved)
    frame[frame.columns[::-1]].assign(other=1).to_parquet(tmp_path / "people")
    arguments = [str(moved), str(tmp_path / "people"), str(BUDGET), str(jax.config.read("jax_enable_x64"))]
    subprocess.run([sys.executable, "-c", ELSEWHERE, *arguments], check=True)
    names = policy(frame, BUDGET)
    assert len(set(names)) > 1
    np.testing.assert_array_equal(np.load(tmp_path / "people.npy"), names)


def test_a_loaded_policy_is_the_one_that_was_saved(policy, folder):
    loaded = load_policy(folder)
    assert isinstance(loaded, Policy)
    assert loaded.method == policy.method
    assert loaded.encoder == policy.encoder
    assert loaded.arms == policy.arms
    for mine, kept in zip((loaded.params, loaded.curve), (policy.params, policy.curve), strict=True):
        jax.tree.map(np.testing.assert_array_equal, mine, kept)
        assert jax.tree.structure(mine) == jax.tree.structure(kept)


@pytest.mark.parametrize("name", standard())
def test_every_method_is_rebuilt_from_its_folder(policy, tmp_path, name):
    method = standard()[name]
    params = {"cost": np.arange(3.0)} if name == CHEAPEST else _params(NetworkConfig())
    saved = policy._replace(method=method, params=params)
    save_policy(saved, tmp_path / "policy")
    loaded = load_policy(tmp_path / "policy")
    x = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    for mine, kept in zip(loaded.predict(x), saved.predict(x), strict=True):
        np.testing.assert_array_equal(mine, kept)
    assert loaded.method.money == method.money


def _params(network: NetworkConfig):
    net = network.build(3).init(jax.random.key(0), jnp.zeros((1, 4)))
    return {"net": net, "units": {"r": np.ones(()), "c": np.ones(())}, "costs": np.array([[-9.0] * 3, [9.0] * 3])}


@pytest.mark.parametrize("file", ["policy.json", "params.npz"])
@pytest.mark.parametrize("damage", ["missing", "cut", "flipped"])
def test_a_damaged_or_half_folder_is_refused_by_name(folder, tmp_path, file, damage):
    half = tmp_path / "half"
    shutil.copytree(folder, half)
    data = bytearray((half / file).read_bytes())
    if damage == "missing":
        (half / file).unlink()
    elif damage == "cut":
        (half / file).write_bytes(data[: len(data) // 2])
    else:
        place = data.rindex(b"1")  # a digit of the curve, or of what packs the arrays
        data[place] = ord("2")
        (half / file).write_bytes(data)
    with pytest.raises(InputError, match=rf"policy file .*half/{file}: found (no way to read it|it damaged)"):
        load_policy(half)


def test_a_policy_replaces_a_policy_and_nothing_else(policy, ranking, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "policy")
    save_policy(ranking, tmp_path / "policy")
    assert load_policy(tmp_path / "policy").method == ranking.method
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"folder: found .*notes, which exists, expected a new one"):
        save_policy(policy, tmp_path / "notes")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes", "policy"]
    assert (tmp_path / "notes" / "mine.txt").read_text() == "mine"


def test_a_policy_that_cannot_be_written_leaves_what_was_there(policy, folder, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path / "policy")

    def full(path, data):
        raise OSError("no space")

    monkeypatch.setattr("dfcl_jax.methods.saved.write_atomically", full)
    with pytest.raises(OSError, match="no space"):
        save_policy(policy._replace(arms=("x", "y", "z")), tmp_path / "policy")
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]
    assert load_policy(tmp_path / "policy").arms == policy.arms


def test_the_description_is_plain_data(policy, folder):
    about = json.loads((folder / "policy.json").read_text(), parse_constant=lambda name: pytest.fail(name))["models"][0]
    assert about["arms"] == list(policy.arms)
    assert about["curve"]["lam"][0] is None
    assert about["curve"]["spend"] == policy.curve.spend.tolist()
