"""What is true of every method."""

from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import Outcomes, Policy, load_policy, metrics, save_policy, scores
from dfcl_jax.methods import Method
from dfcl_jax.models import Params

ARMS = ("a", "b", "c")


@pytest.fixture
def decides_alike_once_saved(tmp_path: Path) -> Callable[[Method, Params, np.ndarray, Outcomes, float], None]:
    """Asserts that a policy of three treatments decides as before once it is saved and loaded."""

    def check(method: Method, params: Params, x: np.ndarray, truth: Outcomes, budget: float) -> None:
        curve = metrics.spend_curve(method.predict(params, jnp.asarray(x)), scores.truth(truth))
        policy = Policy(method, params, None, ARMS, curve)
        save_policy(policy, tmp_path / "policy")
        decided = policy(x, budget)
        assert len(set(decided)) > 1
        np.testing.assert_array_equal(load_policy(tmp_path / "policy")(x, budget), decided)

    return check
