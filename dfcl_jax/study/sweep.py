"""Sweeps: one method at many settings of its numbers, trained in one compiled program on the same data."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array

from dfcl_jax.constants import Constants, published
from dfcl_jax.data import Split
from dfcl_jax.errors import refuse
from dfcl_jax.methods import TWO_STAGE, Method
from dfcl_jax.study.comparison import Start, Study, begin, settle
from dfcl_jax.study.config import Hooks, StudyConfig
from dfcl_jax.study.training import Terms, train_on_decisions
from dfcl_jax.train import Fit, with_members
from dfcl_jax.types import Outcomes

# A hyper-parameter's value by its name: a number, or several for one that is a set, such as multipliers.
Setting = Mapping[str, float | Sequence[float]]

# What is swept beside the numbers of a method's constants.
ALPHA, LEARNING_RATE, BUDGETS = "alpha", "learning_rate", "budgets"


class Sweep(NamedTuple):
    """What came of it; money as in `Study`."""

    values: pd.DataFrame  # seed, a column for each hyper-parameter, budget, revenue, cost, lam, mixed, lift: test part
    settings: dict[str, Setting]  # of each member, by the name that it has in `study`
    study: Study  # the members as its methods, beside two-stage learning


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
    budgets: Sequence[float],
    method: Method,
    settings: Sequence[Setting],
    config: StudyConfig,
    hooks: Hooks = Hooks(),  # noqa: B008  an immutable tuple
    *,
    name: str = "sweep",
    memory: int | None = None,
) -> Sweep:
    """Train a method from one two-stage model at k settings for every seed, and value all on the test parts.

    Hyper-parameters, by name:

    - alpha: weight of the prediction loss beside the decision loss, instead of the configuration's.
    - learning_rate: of the decision stage, instead of the configuration's times the method's pace.
    - budgets: cost per person that the method trains for; it is judged at `budgets` all the same.
    - every keyword of the method's `constants`: of `constants.fitted` temperature_in_spreads and window_in_spreads; of
      `constants.fitted_at` these and lams; of `constants.given` lams, temperature and window.

    Sets of unequal size (lams, budgets) are filled up with terms of weight 0. A member is what `compare` makes of the
    method at that setting, on the same batches in the same order. One whose loss diverges keeps its best checkpoint.

    Args:
        key: initial parameters and the order of batches.
        splits: one for each seed, of equal sizes.
        budgets: cost per person.
        method: what is trained.
        settings: values by name, the same names in all: `grid`, or any other list.
        config: model, training, choices.
        hooks: progress, and storage, where the members are one stage `name`.
        name: of the sweep.
        memory: bytes that training may take beside the data, see `train.with_members`.

    Raises:
        InputError: before training: no settings, one twice, names or values that cannot be; what `compare` refuses.
    """
    of = method.constants if config.constants == "fitted" else _published(config.constants)
    _check(settings, method._replace(constants=of), config)
    start = begin(key, splits, budgets, config, hooks)
    terms, paces = terms_of(of, method, settings, start, config)
    compiled = with_members(len(settings), memory=memory)
    fitted = train_on_decisions(
        start.key, name, method, start.model, start.seeds, start.warm, config, hooks,
        terms=terms, paces=paces, compiled=compiled,
    )  # fmt: skip
    named = {label(setting): setting for setting in settings}
    fits = {TWO_STAGE: start.warm.fit} | {member: _member(fitted, k) for k, member in enumerate(named)}
    study = settle(start, fits, budgets, config)
    return Sweep(_tidy(study, named), named, study)


def label(setting: Setting) -> str:
    """A setting as the name of a member."""
    return ", ".join(f"{name.removesuffix('_in_spreads')} {shown(value)}" for name, value in setting.items())


def shown(value: float | Sequence[float]) -> str:
    """A number, or a set of them, as tables show it."""
    return f"{value:g}" if np.ndim(value) == 0 else "{" + ", ".join(f"{v:g}" for v in np.asarray(value)) + "}"


def _published(name: str) -> Callable[[Outcomes, Array], Constants]:
    return lambda outcomes, budgets: published(name)


def _check(settings: Sequence[Setting], method: Method, config: StudyConfig) -> None:
    if len(settings) == 0:
        refuse("settings of a sweep", found="none", expected="at least one")
    keywords = inspect.signature(method.constants).parameters.values()
    numbers = [
        p.name for p in keywords if p.kind is p.KEYWORD_ONLY and (p.default is p.empty or not callable(p.default))
    ]
    known = [ALPHA, LEARNING_RATE, BUDGETS, *numbers]
    first = list(settings[0])
    for setting in settings:
        for name, value in setting.items():
            if name not in known:
                refuse("hyper-parameter", found=f"'{name}'", expected=f"one of {', '.join(known)}")
            _check_value(name, value)
        if list(setting) != first:
            refuse("settings of a sweep", found=f"one of {list(setting)}", expected=f"all of {first}, as the first")
        if len({np.size(value) for value in setting.values() if np.ndim(value)}) > 1:
            refuse(f"sets of {label(setting)}", found="several sizes", expected="one")
    names = [label(setting) for setting in settings]
    for name in names:
        if names.count(name) > 1:
            refuse("settings of a sweep", found=f"{name} twice", expected="each once")
    if LEARNING_RATE in first and config.decision.learning_rate * method.pace == 0:
        refuse("learning rate that a sweep is relative to", found=0, expected="a number above 0")
    if method.alpha is not None and ALPHA in first:
        refuse("alpha of a method that has its own schedule", found="a sweep of it", expected="alpha=None")
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


def terms_of(
    of: Callable[..., Constants], method: Method, settings: Sequence[Setting], start: Start, config: StudyConfig
) -> tuple[Terms, Array]:
    """What the members' losses are told, leaves [s, k, ...], and their paces [s, k]."""
    s, k = start.seeds.number, len(settings)
    numbers, weights = _stacked(settings)
    alpha = jnp.broadcast_to(numbers.pop(ALPHA, jnp.full(k, config.alpha))[None], (s, k))
    rate = config.decision.learning_rate * method.pace
    paces = jnp.broadcast_to((numbers.pop(LEARNING_RATE, jnp.full(k, rate)) / (rate or 1.0))[None], (s, k))
    if BUDGETS in numbers:
        budgets = numbers.pop(BUDGETS)[None] / jnp.asarray(start.seeds.units)[:, None, None]
    else:
        budgets = jnp.repeat(start.seeds.budgets[:, None], k, axis=1)
    constants = _constants_of_members(of, start.warm.outcomes, budgets, numbers)
    return Terms(alpha, constants._replace(weights=constants.weights * weights[None]), jnp.zeros((s, k))), paces


def _stacked(settings: Sequence[Setting]) -> tuple[dict[str, Array], Array]:
    """Values by name, [k] or [k, l] with sets filled up by their last number, and [k, l] or [k, 1] which numbers count.

    A number that is there twice is as safe to compute with as once, so a weight of 0 leaves nothing of it.
    """
    longest = max(np.size(value) for setting in settings for value in setting.values())
    sizes = [max(np.size(value) for value in setting.values()) for setting in settings]

    def filled(name: str) -> np.ndarray:
        values = [np.asarray(setting[name], np.float64) for setting in settings]
        if all(value.ndim == 0 for value in values):
            return np.array(values)
        return np.stack([np.pad(np.atleast_1d(v), (0, longest - v.size), mode="edge") for v in values])

    return {name: jnp.asarray(filled(name)) for name in settings[0]}, jnp.asarray(
        np.arange(longest)[None, :] < np.array(sizes)[:, None], float
    )


@partial(jax.jit, static_argnums=0)
def _constants_of_members(
    of: Callable[..., Constants], outcomes: Outcomes, budgets: Array, numbers: dict[str, Array]
) -> Constants:
    def one_seed(outcomes: Outcomes, budgets: Array) -> Constants:
        return jax.lax.map(lambda member: of(outcomes, member[0], **member[1]), (budgets, numbers))

    return jax.vmap(one_seed)(outcomes, budgets)


def _member(fitted: Fit, k: int) -> Fit:
    return Fit(jax.tree.map(lambda leaf: leaf[:, k], fitted.params), fitted.loss[:, :, k], fitted.value[:, :, k])


def _tidy(study: Study, settings: dict[str, Setting]) -> pd.DataFrame:
    values = study.values[study.values.method.isin(settings)]
    base = study.values[study.values.method == TWO_STAGE].set_index(["seed", "budget"]).revenue
    two_stage = base.loc[pd.MultiIndex.from_frame(values[["seed", "budget"]])].to_numpy()
    numbers: dict[str, Any] = {
        name: [v if np.ndim(v := settings[method][name]) == 0 else shown(v) for method in values.method]
        for name in next(iter(settings.values()))
    }
    columns = values.drop(columns=["seed", "method"]).assign(lift=100 * (values.revenue / two_stage - 1))
    return pd.concat([values[["seed"]].assign(**numbers), columns], axis=1).reset_index(drop=True)
