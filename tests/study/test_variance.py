from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from dfcl_jax import Decision, InputError, Outcomes, TwoStage, scores
from dfcl_jax.data import Exam, Split, Task, simulate
from dfcl_jax.losses.decision import entropy_regularised
from dfcl_jax.models import NetworkConfig
from dfcl_jax.study import variances
from dfcl_jax.train import FitConfig
from dfcl_jax.types import take

TRIALS = 6
START = TwoStage(NetworkConfig(hidden=(8,)), training=FitConfig(epochs=10, batch_size=100, learning_rate=1e-2))
CENTRED = Decision(scores.centred, entropy_regularised, START, FitConfig(epochs=1, batch_size=500))
KINDS = {
    "raw": replace(CENTRED, scores=scores.raw),
    "centred": CENTRED,
    "still": replace(CENTRED, training=replace(CENTRED.training, learning_rate=0.0)),
}


def replicated(n: int) -> list[Split]:
    trial, truth = jax.jit(simulate.marketing, static_argnums=1)(jax.random.key(0), (TRIALS + 2) * n)
    rest = jnp.arange(TRIALS * n, (TRIALS + 2) * n)
    common = take(trial, rest)
    exam = Exam(common, Outcomes(truth.r[rest], truth.c[rest]))
    parts = [take(trial, jnp.arange(k * n, (k + 1) * n)) for k in range(TRIALS)]
    return [Split(Task(part, common, (0.05, 0.1), seed), exam) for seed, part in enumerate(parts)]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    first, *rest = replicated(3000)
    return variances(jax.random.key(0), first, rest, KINDS).set_index("method")


@pytest.mark.slow
def test_centred_scores_are_less_noisy_for_gradients_and_values(table):
    assert table.gradient["raw"] < table.gradient["centred"] < 1
    assert table.value["centred"] < table.value["raw"]
    assert table.value["centred"] == table.value["still"]


@pytest.mark.slow
def test_policies_that_do_not_move_agree_and_gain_nothing(table):
    assert table.disagreement["still"] == pytest.approx(0, abs=1e-9)
    assert table.lift["still"] == pytest.approx(0, abs=1e-9)
    assert table.lift_sd["still"] == pytest.approx(0, abs=1e-9)
    assert 0 < table.disagreement["raw"] < 1
    assert np.isfinite(table[["lift", "lift_sd"]]).all(axis=None)


def test_what_cannot_be_compared_is_refused():
    first, *rest = replicated(10)
    unknown = [split._replace(exam=Exam(split.exam.test, None)) for split in rest]
    with pytest.raises(InputError, match="replicates: found 1, expected at least 2"):
        variances(jax.random.key(0), first, rest[:1], KINDS)
    with pytest.raises(InputError, match="exam: found no truth"):
        variances(jax.random.key(0), first, unknown, KINDS)
    with pytest.raises(InputError, match="methods: found several two-stage learnings"):
        variances(jax.random.key(0), first, rest, KINDS | {"other": replace(CENTRED, start=TwoStage())})
