"""Sweeps: variants of one decision method that differ in numbers, trained in one compiled program on the same data."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array

from dfcl_jax.data import Split, Task
from dfcl_jax.errors import refuse
from dfcl_jax.losses import Constants
from dfcl_jax.methods import Decision, Log, Method
from dfcl_jax.methods.decision import Begin, Terms, begin_from, train_on
from dfcl_jax.methods.gradient import with_units
from dfcl_jax.models import Params
from dfcl_jax.study.cells import Cells
from dfcl_jax.study.comparison import Judge, Study, check_tasks, compare
from dfcl_jax.train import ALL_SEEDS, with_members
from dfcl_jax.types import Outcomes, Trial

# A hyper-parameter's value by its name: a number, or several for one that is a set, such as multipliers.
Setting = Mapping[str, float | Sequence[float]]

# What is swept beside the keywords of a method's constants.
ALPHA, LEARNING_RATE, BUDGETS = "alpha", "learning_rate", "budgets"


class Sweep(NamedTuple):
    """What came of it; money as in `Study`."""

    values: pd.DataFrame  # seed, a column for each hyper-parameter, budget, revenue, cost, lam, mixed, lift: test part
    settings: dict[str, Setting]  # of each variant, by the name that it has in `study`
    study: Study  # the variants as its methods, beside the base


def grid(**axes: Sequence[float | Sequence[float]]) -> list[Setting]:
    """Every combination of values, one axis for each hyper-parameter; the last axis runs fastest.

    Raises:
        InputError: no axis, or one without values.
    """
    if not axes:
        refuse("axes of a sweep", found="none", expected="at least one")
    for name, values in axes.items():
        if len(values) == 0:
            refuse(f"axis {name}", found="no values", expected="at least one")
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


def sweep(
    key: Array,
    splits: Sequence[Split],
    method: Decision,
    settings: Sequence[Setting],
    *,
    name: str = "sweep",
    judge: Judge = Judge(),  # noqa: B008  an immutable tuple
    cells: Cells | None = None,
    memory: int | None = None,
) -> Sweep:
    """Train a method from its two-stage network at k settings for every seed, and value all on the exams.

    Hyper-parameters, by name:

    - alpha: weight of the prediction loss beside the decision loss.
    - learning_rate: of the decision stage.
    - budgets: cost per person that the method trains for; it is judged at the tasks' budgets all the same.
    - every keyword of the method's `constants` that is a number: of `constants.fitted` temperature_in_spreads and
      window_in_spreads; of `constants.fitted_at` these and lams; of `constants.given` lams, temperature and window.

    A variant is the method with these options (`variant`), and its cells are those that `compare` makes of it, so a
    sweep that was killed, or that has settings added, trains only what is missing. Variants see the same batches in the
    same order. One whose loss diverges keeps its best checkpoint.

    Args:
        key: initial parameters and the order of batches.
        splits: one for each seed, in memory and of equal sizes.
        method: what is trained; the two-stage learning that it starts from is the base of lifts.
        settings: values by name, the same names in all: `grid`, or any other list.
        name: of the training, in what is told of it.
        judge: how policies are judged.
        cells: where what is trained is kept; in memory if not given.
        memory: bytes that training may take beside the data, see `train.with_members`.

    Raises:
        InputError: before training: no settings, one twice, names or values that cannot be, a streamed trial; what
            `compare` refuses.
    """
    check_tasks(splits)
    check_settings(method, settings, len(splits[0].task.budgets))
    if not all(isinstance(split.task.train, Trial) for split in splits):
        refuse("training people of a sweep", found="a streamed trial", expected="a trial in memory")
    cells = cells or Cells()
    tasks = [split.task for split in splits]
    named = {label(setting): setting for setting in settings}
    variants = {each: variant(method, setting) for each, setting in named.items()}

    def together(missing: Sequence[Decision], of: Sequence[Task], log: Log) -> list[list[Params]]:
        return fit_together(method, missing, key, of, log, memory=memory)

    cells.train(judge.base, method.start, key, tasks)
    cells.train_together(name, variants, key, tasks, together)
    every: dict[str, Method] = {judge.base: method.start, **variants}
    study = compare(key, splits, every, judge=judge, cells=cells)
    return Sweep(_tidy(study, named, judge.base), named, study)


def variant(method: Decision, setting: Setting) -> Decision:
    """The method with the options of a setting."""
    options: dict[str, Any] = {name: setting[name] for name in (ALPHA, BUDGETS) if name in setting}
    if BUDGETS in options:
        options[BUDGETS] = tuple(np.atleast_1d(options[BUDGETS]).tolist())
    if LEARNING_RATE in setting:
        options["training"] = replace(method.training, learning_rate=setting[LEARNING_RATE])
    numbers = {name: setting[name] for name in setting if name not in (ALPHA, LEARNING_RATE, BUDGETS)}
    if numbers:
        options["constants"] = partial(method.constants, **numbers)
    return replace(method, **options)


def label(setting: Setting) -> str:
    """A setting as the name of a variant."""
    return ", ".join(f"{name.removesuffix('_in_spreads')} {shown(value)}" for name, value in setting.items())


def shown(value: float | Sequence[float]) -> str:
    """A number, or a set of them, as tables show it."""
    return f"{value:g}" if np.ndim(value) == 0 else "{" + ", ".join(f"{v:g}" for v in np.asarray(value)) + "}"


def check_settings(method: Decision, settings: Sequence[Setting], budgets: int) -> None:
    """Refuse settings that cannot be, before anything is trained for so many `budgets`."""
    if len(settings) == 0:
        refuse("settings of a sweep", found="none", expected="at least one")
    first = list(settings[0])
    for setting in settings:
        for name, value in setting.items():
            _check_value(name, value)
        if len({np.size(value) for value in setting.values() if np.ndim(value)}) > 1:
            refuse(f"sets of {label(setting)}", found="several sizes", expected="one")
        _check_constants(variant(method, setting), setting, budgets)
        if list(setting) != first:
            refuse("settings of a sweep", found=f"one of {list(setting)}", expected=f"all of {first}, as the first")
    names = [label(setting) for setting in settings]
    for name in names:
        if names.count(name) > 1:
            refuse("settings of a sweep", found=f"{name} twice", expected="each once")
    if LEARNING_RATE in first and method.training.learning_rate == 0:
        refuse("learning rate that a sweep is relative to", found=0, expected="a number above 0")
    if method.tracked and "lams" in first:
        refuse("lams of a method that tracks its multipliers", found="a sweep of them", expected="tracked=False")


def _check_value(name: str, value: float | Sequence[float]) -> None:
    numbers = np.atleast_1d(np.asarray(value, np.float64))
    sign = "of at least 0" if name in (ALPHA, BUDGETS, "lams") else "above 0"
    good = np.isfinite(numbers) & (numbers >= 0 if sign == "of at least 0" else numbers > 0)
    if numbers.size == 0 or not good.all():
        found = "no numbers" if numbers.size == 0 else f"{numbers[~good][0]:g}"
        refuse(name, found=found, expected=f"finite numbers {sign}")
    if name in (ALPHA, LEARNING_RATE) and np.ndim(value):
        refuse(name, found=shown(value), expected="one number")


def _check_constants(of: Decision, setting: Setting, budgets: int) -> None:
    """Ask the constants whether they take what is swept."""
    person: Any = jax.ShapeDtypeStruct((2, 2), jnp.float32)
    costs = jax.ShapeDtypeStruct((len(of.budgets or ()) or budgets,), jnp.float32)
    try:
        jax.eval_shape(of.constants, Outcomes(person, person), costs)
    except TypeError as error:
        names = [f"'{name}'" for name in setting if name not in (ALPHA, LEARNING_RATE, BUDGETS)]
        found = [name for name in names if name in str(error)] or names
        expected = f"{ALPHA}, {LEARNING_RATE}, {BUDGETS}, or a number that the method's constants take ({error})"
        refuse("hyper-parameter", found=", ".join(found), expected=expected)


def fit_together(
    method: Decision, variants: Sequence[Decision], key: Array, tasks: Sequence[Task], log: Log, *, memory: int | None
) -> list[list[Params]]:
    """Parameters of each task of each variant, all from one program; variants differ by `variant` alone."""
    # Learning rates are relative to the method's; its alpha gives way where variants have their own.
    common = replace(variants[0], training=method.training)
    begin = begin_from(common, key, tasks, log, ALL_SEEDS)
    s, k = len(tasks), len(variants)
    rate = method.training.learning_rate
    paces = jnp.asarray([of.training.learning_rate / rate if rate else 1.0 for of in variants])
    fitted = train_on(
        common,
        begin,
        terms_of(variants, begin),
        with_members(k, memory=memory),
        log.stage("", method.training.epochs, sum(task.train.rows for task in tasks)),
        pace=jnp.broadcast_to(paces[None], (s, k)),
    )
    members = [with_units(jax.tree.map(lambda leaf, m=m: leaf[:, m], fitted.params), begin.counted) for m in range(k)]
    return [[jax.tree.map(lambda leaf, t=t: leaf[t], params) for t in range(s)] for params in members]


def terms_of(variants: Sequence[Decision], begin: Begin) -> Terms:
    """What the variants' losses are told, leaves [s, k, ...]; of k sets the shorter ones end in terms of weight 0."""
    terms = [begin.terms(of) for of in variants]
    longest = max(of.constants.lams.shape[-1] for of in terms)
    none = jnp.zeros_like(terms[0].epoch)
    alphas = [none if of.alpha is None else of.alpha for of in terms]
    constants = [_filled(of.constants, longest) for of in terms]
    return Terms(
        None if all(of.alpha is None for of in terms) else jnp.stack(alphas, axis=1),
        jax.tree.map(lambda *leaves: jnp.stack(leaves, axis=1), *constants),
        jnp.stack([none] * len(terms), axis=1),
    )


def _filled(constants: Constants, size: int) -> Constants:
    """The last multiplier again up to `size`, without weight: as safe to compute with, and it adds exactly nothing."""
    more = ((0, 0), (0, size - constants.lams.shape[-1]))
    filled = jax.tree.map(lambda leaf: jnp.pad(leaf, more, mode="edge"), constants)
    return filled._replace(weights=jnp.pad(constants.weights, more))


def _tidy(study: Study, settings: dict[str, Setting], base: str) -> pd.DataFrame:
    values = study.values[study.values.method.isin(settings)]
    revenue = study.values[study.values.method == base].set_index(["seed", "budget"]).revenue
    two_stage = revenue.loc[pd.MultiIndex.from_frame(values[["seed", "budget"]])].to_numpy()
    numbers: dict[str, Any] = {
        name: [v if np.ndim(v := settings[method][name]) == 0 else shown(v) for method in values.method]
        for name in next(iter(settings.values()))
    }
    columns = values.drop(columns=["seed", "method"]).assign(lift=100 * (values.revenue / two_stage - 1))
    return pd.concat([values[["seed"]].assign(**numbers), columns], axis=1).reset_index(drop=True)
