"""What is compiled for an accelerator needs none to be checked: it lowers for GPU and TPU and never calls the host."""

import re
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import export

from dfcl_jax import Outcomes, Scores, Trial, losses, metrics, scores, solvers
from dfcl_jax.models import mlp
from dfcl_jax.train import FitConfig, Rows, Stage, Validation, make_trainer

N, M, D = 4096, 4, 6


def of(*shape: int, kind: Any = jnp.float32) -> Any:
    """An array that nobody needs to fill."""
    return jax.ShapeDtypeStruct(shape, kind)


NUMBER, FEW, SURFACE, PEOPLE, STEPS = of(), of(2), of(N, M), of(N), of(N, M - 1)
ROWS = of(N, kind=jnp.uint32)
KEY = jax.eval_shape(lambda: jax.random.key(0))
OUTCOMES, SCORES = Outcomes(SURFACE, SURFACE), Scores(SURFACE, SURFACE, SURFACE)


def trial_of(m: int) -> Trial:
    return Trial(of(N, D), of(N, kind=jnp.int32), PEOPLE, PEOPLE, of(m))


TRIAL, TWO = trial_of(M), trial_of(2)
RULE = jax.eval_shape(lambda lam: solvers.Rule(lam, lam, lam, jnp.int32(0)), NUMBER)
NORMAL = partial(solvers.perturbed, samples=4)

# name: (function, arguments)
FUNCTIONS = {
    "solvers.allocate": (partial(solvers.allocate, top_ups=0), (OUTCOMES, NUMBER)),
    "solvers.allocate with top-ups": (solvers.allocate, (OUTCOMES, NUMBER)),
    "solvers.budget_path": (lambda o: solvers.budget_path(o).spend, (OUTCOMES,)),
    "solvers.multiplier": (solvers.multiplier, (OUTCOMES, NUMBER)),
    "solvers.lams_for_budgets": (solvers.lams_for_budgets, (OUTCOMES, FEW)),
    "solvers.upper_hull": (solvers.upper_hull, (OUTCOMES,)),
    "solvers.hard": (solvers.hard, (OUTCOMES, NUMBER)),
    "solvers.soft": (solvers.soft, (OUTCOMES, NUMBER, NUMBER)),
    "solvers.decide": (
        lambda o, rule, key, rows: solvers.decide(o, rule, solvers.dice(key, rows)),
        (OUTCOMES, RULE, KEY, ROWS),
    ),
    "solvers.optimal_value": (jax.grad(lambda o, b: solvers.optimal_value(o, b), argnums=(0, 1)), (OUTCOMES, NUMBER)),
    "solvers.soft_multiplier": (jax.grad(lambda o, b: solvers.soft_multiplier(o, b, 0.1)), (OUTCOMES, NUMBER)),
    "solvers.perturbed": (jax.grad(lambda s, k: NORMAL(k, s, 0.1)[:, 0].sum()), (SURFACE, KEY)),
    "losses.prediction_loss": (jax.grad(losses.prediction_loss), (OUTCOMES, TRIAL)),
    "losses.policy_learning_loss": (jax.grad(losses.policy_learning_loss), (OUTCOMES, SCORES, FEW)),
    "losses.finite_difference_loss": (jax.grad(losses.finite_difference_loss), (OUTCOMES, SCORES, FEW)),
    "losses.dual_finite_difference_loss": (jax.grad(losses.dual_finite_difference_loss), (OUTCOMES, SCORES, FEW)),
    "losses.primal_policy_learning_loss": (jax.grad(losses.primal_policy_learning_loss), (OUTCOMES, SCORES, FEW)),
    "losses.primal_finite_difference_loss": (jax.grad(losses.primal_finite_difference_loss), (OUTCOMES, SCORES, FEW)),
    "losses.perturbed_loss": (
        jax.grad(lambda o, s, lams, key: losses.perturbed_loss(o, s, lams, key=key, scale=0.1)),
        (OUTCOMES, SCORES, FEW, KEY),
    ),
    "losses.fenchel_young_loss": (
        jax.grad(lambda o, s, lams, key: losses.fenchel_young_loss(o, s, lams, key=key, scale=0.1)),
        (OUTCOMES, SCORES, FEW, KEY),
    ),
    "losses.direct_rank_loss": (jax.grad(losses.direct_rank_loss), (PEOPLE, TWO)),
    "losses.roi_loss": (jax.grad(losses.roi_loss), (PEOPLE, TWO)),
    "losses.marginal_utility_loss": (jax.grad(losses.marginal_utility_loss), (STEPS, TRIAL)),
    "losses.uplift_rank_loss": (jax.grad(losses.uplift_rank_loss), (PEOPLE, TWO)),
    "scores.ipw": (scores.ipw, (TRIAL,)),
    "scores.aipw": (scores.aipw, (TRIAL, OUTCOMES)),
    "scores.centred": (scores.centred, (TRIAL, OUTCOMES)),
    "metrics.policy_value": (
        lambda o, s, lam: metrics.policy_value(solvers.hard(o, lam), s),
        (OUTCOMES, SCORES, NUMBER),
    ),
    "metrics.eom": (metrics.eom, (OUTCOMES, SCORES, FEW)),
    "metrics.value_steps": (lambda o, s, b: metrics.value_steps(o, s).at(b), (OUTCOMES, SCORES, FEW)),
    "metrics.qini_area": (lambda o, s, b: metrics.qini_area(metrics.value_steps(o, s), b), (OUTCOMES, SCORES, NUMBER)),
    "metrics.aucc": (metrics.aucc, (PEOPLE, TWO)),
    "metrics.exact_aucc": (metrics.exact_aucc, (PEOPLE, TWO)),
    "metrics.mt_aucc": (metrics.mt_aucc, (STEPS, TRIAL)),
    "metrics.causalml_qini": (metrics.causalml_qini, (PEOPLE, TWO)),
    "metrics.sklift_qini": (metrics.sklift_qini, (PEOPLE, TWO)),
    "metrics.influence": (lambda o, s, lam: metrics.influence(solvers.hard(o, lam), s), (OUTCOMES, SCORES, NUMBER)),
}


@pytest.fixture(autouse=True)
def _branches_of_an_accelerator(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")


def assert_no_host(exported: export.Exported) -> None:
    assert exported.platforms == ("cuda", "tpu")
    calls = set(re.findall(r"custom_call @([\w$]+)", exported.mlir_module()))
    assert not [call for call in calls if "callback" in call or "cpu" in call.lower()], calls


@pytest.mark.thorough
@pytest.mark.parametrize("name", FUNCTIONS)
def test_it_lowers_for_accelerators_without_the_host(name):
    function, arguments = FUNCTIONS[name]
    assert_no_host(export.export(jax.jit(function), platforms=("cuda", "tpu"))(*arguments))


@pytest.mark.parametrize("chunk", [None, 64])
def test_an_epoch_of_training_lowers_for_accelerators_without_the_host(chunk):
    model = mlp(M, hidden=(8,))

    def objective(outcomes, rows, lams):
        return losses.policy_learning_loss(outcomes, rows.extra, lams)

    stage = Stage(
        model, objective, lambda outcomes, judge: outcomes.r.mean(), FitConfig(epochs=1, batch_size=256, chunk=chunk)
    )
    trainer = make_trainer(stage, N)
    rows, valid = Rows(TRIAL, SCORES), Validation(TRIAL.x, ())
    params = jax.eval_shape(model.init, KEY, TRIAL.x)
    state = jax.eval_shape(trainer.start, KEY, params, valid, NUMBER)
    assert_no_host(export.export(jax.jit(trainer.epoch), platforms=("cuda", "tpu"))(state, rows, FEW, valid))


def test_a_call_of_the_host_does_not_lower():
    def called(x):
        return jax.pure_callback(lambda y: y, PEOPLE, x)

    with pytest.raises((ValueError, NotImplementedError)):
        export.export(jax.jit(called), platforms=("cuda", "tpu"))(PEOPLE)
