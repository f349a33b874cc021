"""A policy of a small table, untrained, whose spend curve rests on a trial of 3,000 others."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from dfcl_jax import Outcomes, Policy, Trial, TwoStage, metrics, scores
from dfcl_jax.data import encode, fit_encoder
from dfcl_jax.losses import decision as losses
from dfcl_jax.methods import Decision, Method
from dfcl_jax.models import NetworkConfig
from dfcl_jax.types import pick

ARMS = ("none", "small", "large")


def some_people(n: int, seed: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    age = rng.normal(size=n)
    age[:5] = np.nan
    return pd.DataFrame({"age": age, "region": rng.choice(["north", "south"], n), "member": rng.random(n) < 0.3})


def policy_of(method: Method, network: NetworkConfig) -> Policy:
    people = some_people(3000)
    encoder = fit_encoder(people, np.arange(3000))
    x = jnp.asarray(encode(encoder, people))
    net = network.build(3).init(jax.random.key(7), x[:1])
    money = {
        "net": net,
        "units": {"r": jnp.array(2.5), "c": jnp.array(1.0)},
        "costs": jnp.array([[-9.0] * 3, [9.0] * 3]),
    }
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), money)
    outcomes = method.predict(params, x)
    t = jnp.asarray(np.random.default_rng(4).integers(0, 3, 3000))
    truth = Outcomes(outcomes.r, jnp.exp(x[:, :1]) * jnp.arange(3)[None, :] * 0.1)
    trial = Trial(x, t, pick(truth.r, t), pick(truth.c, t), jnp.full(3, 1 / 3))
    curve = metrics.spend_curve(outcomes, scores.aipw(trial, truth), points=200)
    return Policy(method, params, encoder, ARMS, curve)


@pytest.fixture(scope="session")
def people() -> Callable[[int], pd.DataFrame]:
    """The first n of some people: a number with gaps, a category, a boolean."""
    return some_people


@pytest.fixture(scope="session")
def policy() -> Policy:
    """Of a method that predicts money."""
    method = TwoStage(network=NetworkConfig(hidden=(8,)))
    return policy_of(method, method.network)


@pytest.fixture(scope="session")
def ranking() -> Policy:
    """Of a method that only ranks."""
    network = NetworkConfig(hidden=(8,))
    return policy_of(Decision(scores.centred, losses.policy_learning, TwoStage(network=network)), network)
