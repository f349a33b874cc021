import jax
import pytest

from dfcl_jax import InputError
from dfcl_jax.data import Task, simulate, split_simulation
from dfcl_jax.methods import SILENT, Boosted, CausalForest, TwoStage
from dfcl_jax.methods.extras import installed

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def task() -> Task:
    return split_simulation(simulate.marketing(KEY, 30), 20, 5, budgets=(0.1,)).task


@pytest.mark.parametrize(
    ("method", "package", "extra"),
    [(Boosted(), "scikit-learn", "boost"), (CausalForest(), "econml", "forest")],
    ids=["boost", "forest"],
)
def test_a_missing_package_is_named_with_its_extra(method, package, extra, task, monkeypatch):
    monkeypatch.setattr("dfcl_jax.methods.extras.find_spec", lambda name: None)
    with pytest.raises(InputError, match=rf'no package {package}, expected it: pip install "dfcl-jax\[{extra}\]"'):
        method.fit(KEY, task, SILENT)


def test_methods_without_their_package_are_left_out_with_a_sentence(monkeypatch):
    methods = {"network": TwoStage(), "trees": Boosted(), "forest": CausalForest()}
    monkeypatch.setattr("dfcl_jax.methods.extras.find_spec", lambda name: None if name == "econml" else name)
    assert installed(methods) == (
        {"network": TwoStage(), "trees": Boosted()},
        ["forest is left out: it needs the extra forest"],
    )
