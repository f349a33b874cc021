"""How much variance a score takes off what is learned from it, by replicated trials of one population."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import pandas as pd
from jax import Array

from dfcl_jax import metrics, scores
from dfcl_jax.data import Exam, Split
from dfcl_jax.errors import refuse
from dfcl_jax.losses import lams_at_budgets
from dfcl_jax.methods import SILENT, Decision
from dfcl_jax.methods.decision import Begin, begin_from, train_on
from dfcl_jax.models import Model, Params
from dfcl_jax.solvers import hard, priced
from dfcl_jax.train import ALL_SEEDS, StageLog, predict
from dfcl_jax.types import Outcomes, Scores, pick


def variances(key: Array, first: Split, replicates: Sequence[Split], methods: dict[str, Decision]) -> pd.DataFrame:
    """Noise of the gradient, of a policy's value and of the learned decision, a row for each method.

    One two-stage network, fitted on `first`, is where every method starts on every replicate. Columns, all free of
    units:

    - gradient: mean cosine between the gradients of the loss of two replicates at the start, about |E g|^2 / E |g|^2:
      1 without noise, 0 where noise is all.
    - value: sd / |mean| of the estimated priced gain of the two-stage policy over the cheapest treatment, at the middle
      multiplier.
    - disagreement: share of test people whom two replicates' learned policies treat differently, mean over budgets.
    - lift, lift_sd: % of true value over the two-stage policy, mean and standard deviation over replicates.

    Args:
        key: initial parameters and the order of batches.
        first: the trial of the two-stage network.
        replicates: trials of the same population, of equal sizes and each with a seed of its own. The exam of the
            first of them, with its truth, judges all.
        methods: scores and losses to compare; all start from the same two-stage learning.

    Raises:
        InputError: fewer than two replicates, an exam without truth, or methods that start from different networks.
    """
    if len(replicates) < 2:
        refuse("replicates", found=len(replicates), expected="at least 2")
    exam, tasks = replicates[0].exam, [split.task for split in replicates]
    if exam.truth is None:
        refuse("exam", found="no truth", expected="true outcomes, as a simulation has them")
    start, *others = dict.fromkeys(method.start for method in methods.values())
    if others:
        refuse("methods", found="several two-stage learnings to start from", expected="one")
    two_stage = start.fit(key, first.task, SILENT)
    log = SILENT._replace(fitted=lambda method, key, tasks: [two_stage] * len(tasks))
    rows = []
    for name, method in methods.items():
        begin = begin_from(method, key, tasks, log, ALL_SEEDS)
        base, _ = _true_values(begin.model, begin.net, exam, tasks[0].budgets)
        fitted = train_on(method, begin, begin.terms(method), ALL_SEEDS, StageLog())
        values, disagreement = _true_values(begin.model, fitted.params, exam, tasks[0].budgets)
        lift = 100 * (values / base - 1)
        row: dict[str, Any] = {"method": name} | _noise_at_the_start(method, begin) | {"disagreement": disagreement}
        rows.append(row | {"lift": float(lift.mean()), "lift_sd": float(lift.std(ddof=1))})
    return pd.DataFrame(rows)


def _noise_at_the_start(method: Decision, begin: Begin) -> dict[str, float]:
    constants, sample = begin.terms(method).constants, begin.counted.sample
    surfaces = jax.jit(jax.vmap(method.scores))(sample, begin.sample_hat)

    def gradient(params: Params, x: Array, surfaces: Scores, constants: Any) -> Params:
        return jax.grad(lambda p: method.loss(begin.model.apply(p, x), surfaces, constants))(params)

    gradients = jax.jit(jax.vmap(gradient))(begin.net, sample.x, surfaces, constants)
    lams = constants.lams[:, constants.lams.shape[1] // 2]
    gains = jax.jit(jax.vmap(_gain))(begin.sample_hat, surfaces, lams)
    return {"gradient": _mean_cosine(gradients, len(lams)), "value": float(gains.std(ddof=1) / jnp.abs(gains.mean()))}


def _mean_cosine(vectors: Params, k: int) -> float:
    """Of two different ones among k, leaves [k, ...]."""
    flat = jnp.concatenate([leaf.reshape(k, -1) for leaf in jax.tree.leaves(vectors)], axis=1)
    units = flat / jnp.linalg.norm(flat, axis=1, keepdims=True)
    return float(((units.sum(axis=0) ** 2).sum() - k) / (k * (k - 1)))


def _gain(outcomes: Outcomes, surfaces: Scores, lam: Array) -> Array:
    gain = priced(Outcomes(surfaces.r, surfaces.c), lam)
    cheapest = jnp.argmin(outcomes.c.mean(axis=0))
    return (pick(gain, hard(outcomes, lam)) - gain[:, cheapest]).mean()


def _true_values(model: Model, nets: Params, exam: Exam, budgets: Sequence[float]) -> tuple[Array, float]:
    """Each network's true revenue, mean over budgets, [k], and how often two of them decide differently.

    Networks may predict in any unit of money: their multipliers are found by the true spend.
    """
    assert exam.truth is not None
    values, arms = _decide(model, nets, exam.test.x, exam.truth, jnp.asarray(budgets, exam.truth.c.dtype))
    k = len(values)
    share = jax.nn.one_hot(arms, exam.truth.r.shape[-1]).mean(axis=0)
    # Of two different replicates, not of two drawn with return.
    disagreement = (1 - (share**2).sum(axis=-1)).mean() * k / (k - 1)
    return values, float(disagreement)


@partial(jax.jit, static_argnums=0)
def _decide(model: Model, nets: Params, x: Array, truth: Outcomes, budgets: Array) -> tuple[Array, Array]:
    surfaces = scores.truth(truth)

    def one(net: Params) -> tuple[Array, Array]:
        outcomes = predict(model, net, x)
        lams = lams_at_budgets(outcomes, surfaces, budgets)
        arms = jax.vmap(lambda lam: hard(outcomes, lam))(lams)
        return metrics.eom(outcomes, surfaces, budgets).revenue.mean(), arms

    return jax.lax.map(one, nets)
