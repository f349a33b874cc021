import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from dfcl_jax import InputError, Outcomes, Policy, metrics, scores
from dfcl_jax.data import Encoder
from dfcl_jax.data.encode import NumericColumn
from dfcl_jax.methods import CheapestArm
from dfcl_jax.methods.policy import BLOCK
from dfcl_jax.solvers import decide, dice

RNG = np.random.default_rng(0)
N = BLOCK + 300
X = RNG.normal(size=(N, 3)).astype(np.float32)


class Linear(CheapestArm):
    """Predicts revenue and cost that are linear in two features."""

    def predict(self, params, x):
        return Outcomes(x @ params["r"], 1 + jnp.abs(x @ params["c"]))


PARAMS = {"r": jnp.asarray(RNG.normal(size=(3, 4)), jnp.float32), "c": jnp.asarray(RNG.random((3, 4)), jnp.float32)}
METHOD = Linear()
OUTCOMES = METHOD.predict(PARAMS, jnp.asarray(X))
CURVE = metrics.spend_curve(OUTCOMES, scores.truth(OUTCOMES))
POLICY = Policy(METHOD, PARAMS, None, ("a", "b", "c", "d"), CURVE)
BUDGET = float(CURVE.spend[1:].mean())
KEY = jax.random.key(1)


def test_a_policy_decides_by_its_curve_its_method_and_dice_of_rows():
    expected = decide(OUTCOMES, CURVE.at(BUDGET).rule, dice(KEY, jnp.arange(N)))
    arm = POLICY.decide(X, BUDGET, KEY)
    np.testing.assert_array_equal(arm, expected)
    assert len(set(arm.tolist())) > 1
    np.testing.assert_array_equal(POLICY(X, BUDGET, key=KEY), np.array(["a", "b", "c", "d"])[arm])
    np.testing.assert_array_equal(POLICY(X, BUDGET), POLICY(X, BUDGET, key=jax.random.key(0)))


def test_a_person_is_decided_for_alike_in_whatever_company():
    whole = POLICY.decide(X, BUDGET, KEY)
    some = RNG.permutation(N)[:1000]
    np.testing.assert_array_equal(POLICY.decide(X[some], BUDGET, KEY, rows=some), whole[some])
    for first, last in ((0, 1), (7, BLOCK + 7), (N - 1, N)):
        part = POLICY.decide(X[first:last], BUDGET, KEY, rows=np.arange(first, last))
        np.testing.assert_array_equal(part, whole[first:last])


def test_nobody_is_decided_for_as_nobody():
    assert POLICY.decide(X[:0], BUDGET, KEY).shape == (0,)


def test_a_risk_spends_less():
    spend = [OUTCOMES.c[np.arange(N), POLICY.decide(X, BUDGET, KEY, risk=risk)].mean() for risk in (None, 0.05, 0.01)]
    assert spend[0] > spend[1] > spend[2]


def test_columns_are_found_by_name():
    encoder = Encoder(tuple(NumericColumn(name, 0.0, 0.0, 1.0, False) for name in "xyz"))
    named = POLICY._replace(encoder=encoder)
    frame = pd.DataFrame(X, columns=list("xyz"))
    other = frame[["z", "x", "y"]].assign(more="text")
    np.testing.assert_array_equal(named(other, BUDGET), POLICY(X, BUDGET))
    with pytest.raises(InputError, match="column 'y'"):
        named(frame[["x", "z"]], BUDGET)


def test_a_table_for_a_policy_of_a_matrix_is_refused():
    with pytest.raises(InputError, match="people: found a table, expected a matrix of features"):
        POLICY(pd.DataFrame(X), BUDGET)
