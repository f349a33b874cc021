"""How much variance a score takes off what is learned from it, by replicated trials of one population."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import pandas as pd
from jax import Array

from dfcl_jax import metrics, scores
from dfcl_jax.data import Split
from dfcl_jax.losses import lams_at_budgets
from dfcl_jax.methods import Method
from dfcl_jax.models import Model, Params
from dfcl_jax.solvers import hard, priced
from dfcl_jax.study.config import Hooks, Seeds, StudyConfig, stack_seeds
from dfcl_jax.study.training import Warm, loss_constants, predict_all, train_method, train_two_stage, warm_start
from dfcl_jax.types import Outcomes, Scores, num_arms, pick


def variances(
    key: Array,
    first: Split,
    replicates: Sequence[Split],
    budgets: Sequence[float],
    methods: dict[str, Method],
    config: StudyConfig,
) -> pd.DataFrame:
    """Noise of the gradient, of a policy's value and of the learned decision, a row for each method.

    One two-stage model, fitted on `first`, is where every method starts on every replicate. Columns, all free of units:

    - gradient: mean cosine between the gradients of the loss of two replicates at the start, about |E g|^2 / E |g|^2:
      1 without noise, 0 where noise is all.
    - value: sd / |mean| of the estimated priced gain of the two-stage policy over the cheapest treatment, at the middle
      multiplier.
    - disagreement: share of test people whom two replicates' learned policies treat differently, mean over budgets.
    - lift, lift_sd: % of true value over the two-stage policy, mean and standard deviation over replicates.

    Args:
        key: initial parameters and the order of batches.
        first: the trial of the two-stage model.
        replicates: trials of the same population with one test part and its truth, of equal sizes.
        budgets: cost per person.
        methods: scores and losses to compare.
        config: model and training.
    """
    model = config.network.build(num_arms(first.train))
    warm_key, decision_key = jax.random.split(key)
    one = stack_seeds([first], budgets, config.network.link)
    seeds = stack_seeds(replicates, budgets, config.network.link)
    start = train_two_stage(warm_key, model, one, config, Hooks())
    params = jax.tree.map(lambda leaf: jnp.repeat(leaf, seeds.number, axis=0), start.params)
    warm = warm_start(start._replace(params=params), model, seeds, config)
    base, _ = _true_values(model, params, seeds)
    rows = []
    for name, method in methods.items():
        row: dict[str, Any] = {"method": name} | _noise_at_the_start(method, model, seeds, warm, config)
        fitted = train_method(decision_key, name, method, model, seeds, warm, config, Hooks())
        values, row["disagreement"] = _true_values(model, fitted.params, seeds)
        lift = 100 * (values / base - 1)
        rows.append(row | {"lift": float(lift.mean()), "lift_sd": float(lift.std(ddof=1))})
    return pd.DataFrame(rows)


def _noise_at_the_start(
    method: Method, model: Model, seeds: Seeds, warm: Warm, config: StudyConfig
) -> dict[str, float]:
    constants = loss_constants(method, config, warm.outcomes, seeds.budgets)
    surfaces = jax.jit(jax.vmap(method.scores))(seeds.train, warm.outcomes)

    def gradient(params: Params, x: Array, surfaces: Scores, constants: Any) -> Params:
        return jax.grad(lambda p: method.loss(model.apply(p, x), surfaces, constants))(params)

    gradients = jax.jit(jax.vmap(gradient))(warm.fit.params, seeds.train.x, surfaces, constants)
    lams = constants.lams[:, constants.lams.shape[1] // 2]
    gains = jax.jit(jax.vmap(_gain))(warm.outcomes, surfaces, lams)
    return {
        "gradient": _mean_cosine(gradients, seeds.number),
        "value": float(gains.std(ddof=1) / jnp.abs(gains.mean())),
    }


def _mean_cosine(vectors: Params, k: int) -> float:
    """Of two different ones among k, leaves [k, ...]."""
    flat = jnp.concatenate([leaf.reshape(k, -1) for leaf in jax.tree.leaves(vectors)], axis=1)
    units = flat / jnp.linalg.norm(flat, axis=1, keepdims=True)
    return float(((units.sum(axis=0) ** 2).sum() - k) / (k * (k - 1)))


def _gain(outcomes: Outcomes, surfaces: Scores, lam: Array) -> Array:
    gain = priced(Outcomes(surfaces.r, surfaces.c), lam)
    cheapest = jnp.argmin(outcomes.c.mean(axis=0))
    return (pick(gain, hard(outcomes, lam)) - gain[:, cheapest]).mean()


def _true_values(model: Model, params: Params, seeds: Seeds) -> tuple[Array, float]:
    """Each replicate's true revenue, mean over budgets, [k], and how often two of them decide differently."""

    def decide(both: tuple[Outcomes, Outcomes, Array]) -> tuple[Array, Array]:
        outcomes, truth, budgets = both
        surfaces = scores.truth(truth)
        lams = lams_at_budgets(outcomes, surfaces, budgets)
        arms = jax.vmap(lambda lam: hard(outcomes, lam))(lams)
        return metrics.eom(outcomes, surfaces, budgets).revenue.mean(), arms

    predictions = predict_all(model, params, seeds.test.x)
    values, arms = jax.jit(lambda *all_: jax.lax.map(decide, all_))(predictions, seeds.truth, seeds.budgets)
    k = seeds.number
    share = jax.nn.one_hot(arms, predictions.r.shape[-1]).mean(axis=0)
    # Of two different replicates, not of two drawn with return.
    disagreement = (1 - (share**2).sum(axis=-1)).mean() * k / (k - 1)
    return values, float(disagreement)
