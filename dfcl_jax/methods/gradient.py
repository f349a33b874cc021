"""What methods that train networks share: money in the model's units, keys, parameters with their units."""

from collections.abc import Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from dfcl_jax import scores
from dfcl_jax.data import Task
from dfcl_jax.errors import refuse
from dfcl_jax.models import Link, Model, NetworkConfig, Params
from dfcl_jax.train import FitConfig, Rows, Seeds, Stage, StageLog, Streamed, Validation, fit, mesh_of, predict
from dfcl_jax.types import (
    Outcomes,
    Source,
    Trial,
    Units,
    in_units,
    mean_of_people,
    num_arms,
    of_mean_weight,
    stack,
    take,
)

# People of a streamed trial that units, scores and constants are learned from.
SAMPLE = 2**18

build = cache(NetworkConfig.build)


class Counted(NamedTuple):
    """A task with money counted in the model's units; of several seeds leaves have a leading axis [s, ...]."""

    sample: Trial  # training people in memory: all of them, or a sample of a streamed trial
    valid: Trial
    budgets: Array  # [b]
    units: Units
    seed: Array  # [] int
    costs: Array  # [2, m] least and largest cost that the trial has seen of each treatment, in the money of the data


def count(task: Task, link: Link, *, multiple: int = 1) -> Counted:
    """A task in the model's units, with as many training rows as are a multiple of the number of devices.

    The unit of revenue is its mean size, that of cost what costs as much at the trial's own price (`_price`), so that
    an error of either weighs as it does in a decision. Both are 1 for a model of probabilities. No plan then depends
    on the money that revenue or cost is counted in.
    """
    sample = divided_by(multiple, in_memory(task.train))
    sample, valid = of_mean_weight(sample), of_mean_weight(task.valid)
    unit = 1.0 if link == "sigmoid" else mean_size(sample.r, sample.weight)
    price = 1.0 if link == "sigmoid" else _price(sample)
    units = Units(jnp.asarray(unit, sample.r.dtype), jnp.asarray(unit / price, sample.c.dtype))
    budgets = jnp.asarray(task.budgets, units.c.dtype) / units.c
    seed = jnp.asarray(task.seed, jnp.uint32)
    return Counted(in_units(sample, units), in_units(valid, units), budgets, units, seed, _costs_seen(task, sample))


def _price(sample: Trial) -> float:
    """Revenue that a unit of cost brings on the way from the treatment of least mean cost to that of the largest.

    An estimate between a twentieth of mean revenue over mean cost and the whole of it: beyond that it is noise.
    """
    revenue, cost = (np.asarray(mean_of_people(y, sample.weight), np.float64) for y in scores.ipw(sample)[:2])
    cheap, dear = int(cost.argmin()), int(cost.argmax())
    ratio = mean_size(sample.r, sample.weight) / mean_size(sample.c, sample.weight)
    if not cost[dear] > cost[cheap]:
        return ratio
    return float(np.clip((revenue[dear] - revenue[cheap]) / (cost[dear] - cost[cheap]), ratio / 20, ratio))


def _costs_seen(task: Task, sample: Trial) -> Array:
    """The range of each treatment's cost: one number where it is known by design or never varied."""
    given = jax.nn.one_hot(sample.t, num_arms(sample), dtype=bool)
    low = jnp.where(given, sample.c[:, None], jnp.inf).min(axis=0)
    high = jnp.where(given, sample.c[:, None], -jnp.inf).max(axis=0)
    known = jnp.asarray(task.costs or [jnp.nan] * num_arms(sample), low.dtype)
    return jnp.stack([jnp.where(jnp.isnan(known), end, known) for end in (low, high)])


def count_all(tasks: Sequence[Task], link: Link, seeds: Seeds, *, multiple: int = 1) -> Counted:
    """`count` of one task, or of several stacked."""
    counted = [count(task, link, multiple=multiple) for task in tasks]
    return stack(counted) if seeds.axes else counted[0]


def in_memory(source: Source) -> Trial:
    """All people of a trial in memory, or a sample of a streamed one."""
    return source if isinstance(source, Trial) else jax.tree.map(jnp.asarray, source.sample(SAMPLE))


def divided_by(devices: int, people: Trial) -> Trial:
    """The people without the last ones that so many devices do not divide."""
    each, over = divmod(people.rows, devices)
    return take(people, jnp.arange(each * devices)) if over else people


def mean_size(outcome: Array, weight: Array | None = None) -> float:
    """Mean |y| of an outcome over people, and 1 where all are 0."""
    mean = float(mean_of_people(jnp.abs(outcome), weight))
    return mean if mean > 0 else 1.0


def keys_for(key: Array, counted: Counted, seeds: Seeds) -> Array:
    """The key of each seed: its number folded into a key that all share."""
    return seeds.each(partial(jax.random.fold_in, key))(counted.seed)


def with_units(net: Params, counted: Counted) -> Params:
    """Parameters that predict money: the network's, its units and the range of costs that the trial has seen."""
    return {"net": net, "units": counted.units._asdict(), "costs": counted.costs}


def refuse_changed(training: FitConfig, of: str, *options: str) -> None:
    """Refuse options of training that a method has no use for.

    Raises:
        InputError: one of them that is not as it is by default.
    """
    plain = FitConfig()
    for name in options:
        if getattr(training, name) != getattr(plain, name):
            refuse(f"{name} of {of}", found=getattr(training, name), expected="the default")


def fit_network(
    key: Array,
    counted: Counted,
    stage: Stage,
    seeds: Seeds,
    log: StageLog,
    *,
    rows: Rows | Streamed | None = None,
    judge: Any = None,
    begin: Params | None = None,
) -> Params:
    """Train the network of a stage on the people of tasks, in the model's units.

    Args:
        key: initial parameters and the order of batches.
        counted: the tasks.
        stage: what is trained, and how.
        seeds: how many tasks there are.
        log: what is told.
        rows: training people, with what the objective needs of them; the sample if not given.
        judge: what predictions of the validation people are judged by; those people if not given.
        begin: where training starts; new parameters if not given.
    """
    init_keys, order_keys = (keys_for(jax.random.fold_in(key, k), counted, seeds) for k in (0, 1))
    if begin is None:
        begin = seeds.each(lambda k, x: stage.model.init(k, x[:1]))(init_keys, counted.sample.x)
    return fit(
        order_keys,
        begin,
        Rows(counted.sample) if rows is None else rows,
        None,
        Validation(counted.valid.x, counted.valid if judge is None else judge),
        stage,
        seeds=seeds,
        mesh=mesh_of(stage.config),
        log=log,
    ).params


@partial(jax.jit, static_argnums=0)
def predict_money(network: NetworkConfig, params: Params, x: Array) -> Outcomes:
    """Predictions in the money of the data, [n, m] each, for parameters `with_units`."""
    r, c = predict(build(network, params["costs"].shape[-1]), params["net"], x)
    return Outcomes(r * params["units"]["r"], c * params["units"]["c"])


def within_seen(outcomes: Outcomes, costs: Array) -> Outcomes:
    """Predictions with each treatment's cost within the range [2, m] that the trial has seen of it."""
    return outcomes._replace(c=jnp.clip(outcomes.c, *costs[:, None]))


@partial(jax.jit, static_argnums=(0, 1))
def predict_counted(model: Model, seeds: Seeds, net: Params, x: Array) -> Outcomes:
    """Predictions in the model's units, of every seed's network on its own rows."""
    return seeds.each(partial(predict, model))(net, x)


def refuse_unless_two(task: Task, what: str) -> None:
    """Refuse a choice by AUCC in a trial of other than two treatments."""
    m = num_arms(task.valid)
    if m != 2:
        refuse(what, found=f"'aucc' with {m} treatments", expected="another, or a trial of 2 treatments")


def refuse_unless_rising(task: Task) -> None:
    """Refuse a network that rises from each treatment to the next where they are not in the order of their cost."""
    sample = in_memory(task.train)
    cost = np.asarray(mean_of_people(scores.ipw(sample).c, sample.weight), np.float64)
    if (np.diff(cost) < 0).any():
        found = ", ".join(f"{each:.6g}" for each in cost)
        refuse("mean costs of the treatments", found=found, expected="rising ones, for a network that rises with them")
