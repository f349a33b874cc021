"""What a study is told, and the seeds it runs in one program."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from jax.typing import ArrayLike

from dfcl_jax.data import Split
from dfcl_jax.errors import refuse
from dfcl_jax.models import Link, NetworkConfig
from dfcl_jax.solvers import check_budgets
from dfcl_jax.train import Checkpoints, FitConfig, Record, data_mesh
from dfcl_jax.types import Outcomes, Trial, in_units, stack, take


@dataclass(frozen=True)
class StudyConfig:
    """How a study trains and judges."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    prediction: Literal["squares", "cross_entropy"] = "squares"
    warm: FitConfig = field(default_factory=lambda: FitConfig(epochs=20, batch_size=512, learning_rate=3e-3))
    decision: FitConfig = field(default_factory=lambda: FitConfig(epochs=12, batch_size=1024, learning_rate=1e-3))
    alpha: float = 0.0  # weight of the prediction loss beside the decision loss, but for methods with their own
    constants: Literal["fitted", "criteo", "marketing"] = "fitted"  # or the published ones of an experiment
    select: Literal["value", "aucc"] = "value"  # what chooses a checkpoint on the validation part
    settle: Literal["aipw", "ipw"] = "aipw"  # what settles a policy's value where the truth is not known
    devices: int = 1  # that training spreads rows over; training rows that do not divide among them are left out

    def __post_init__(self) -> None:
        """Refuse a weight that is none, and no devices."""
        if not 0 <= self.alpha < float("inf"):
            refuse("alpha", found=self.alpha, expected="a finite number of at least 0")
        if self.devices < 1:
            refuse("devices", found=self.devices, expected="at least 1")

    def mesh(self) -> Mesh | None:
        """The devices of training, where there is more than one.

        Raises:
            InputError: there are fewer.
        """
        # Not when the configuration is made, which must not be where JAX looks for its devices first.
        if self.devices > jax.device_count():
            refuse("devices", found=self.devices, expected=f"at most {jax.device_count()}, as many as there are")
        return None if self.devices == 1 else data_mesh(self.devices)


class Seeds(NamedTuple):
    """The splits of all seeds stacked, with money counted in each seed's own unit."""

    train: Trial  # leaves [s, n, ...]
    valid: Trial
    test: Trial
    truth: Outcomes | None  # of the test part, in a simulation
    budgets: Array  # [s, b]
    units: np.ndarray  # [s] the unit, in the money of the data

    @property
    def number(self) -> int:
        """How many seeds."""
        return len(self.units)


class OnStage(Protocol):
    """Called when a stage of training starts; returns what to call after each of its epochs."""

    def __call__(self, stage: str, epochs: int, rows: int) -> Callable[[int, Record], None]:
        """Prepare for `epochs` epochs of `rows` rows each."""
        ...


class Hooks(NamedTuple):
    """What a study tells the outside while it trains, and where it keeps how far it came."""

    on_stage: OnStage = lambda stage, epochs, rows: lambda epoch, record: None
    checkpoints: Callable[[str], Checkpoints | None] = lambda stage: None  # of a stage


def default_budgets(
    mean_costs: ArrayLike, fractions: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.55, 0.7)
) -> tuple[float, ...]:
    """Budgets at fractions of the way from the cheapest treatment's mean cost to the dearest's, to 3 digits of the way.

    Args:
        mean_costs: mean cost of each treatment, [m].
        fractions: of the way.

    Raises:
        InputError: all treatments cost the same.
    """
    costs = np.asarray(mean_costs, np.float64)
    if not np.ptp(costs) > 0:
        refuse("mean costs of the treatments", found=f"{costs.min():.6g} for all", expected="costs that differ")
    digits = 2 - int(np.floor(np.log10(np.ptp(costs))))
    return tuple(round(float(costs.min() + fraction * np.ptp(costs)), digits) for fraction in fractions)


def chosen_budgets(budgets: Sequence[float], mean_costs: ArrayLike) -> Sequence[float]:
    """The budgets asked for, or `default_budgets` where there are none.

    Raises:
        InputError: a budget that is negative, not finite, or below the cheapest treatment's mean cost.
    """
    if not budgets:
        return default_budgets(mean_costs)
    check_budgets(np.asarray(budgets))
    least = float(np.min(mean_costs))
    if min(budgets) < least - 1e-6 * abs(least):
        refuse("budget", found=min(budgets), expected=f"at least {least:.4g}, the cheapest mean cost")
    return budgets


def money_units(splits: Sequence[Split], link: Link) -> np.ndarray:
    """The unit of money of each seed's models, [s]: mean revenue, or 1 for a model of probabilities."""
    return np.array([1.0 if link == "sigmoid" else _mean_revenue(split.train) for split in splits], np.float32)


def stack_seeds(splits: Sequence[Split], budgets: Sequence[float], link: Link, *, multiple: int = 1) -> Seeds:
    """Stack splits of equal sizes, with money in units, and as many training rows as are a multiple of a number."""
    units = money_units(splits, link)

    def part(name: str) -> Trial:
        return stack([in_units(getattr(split, name), unit) for split, unit in zip(splits, units, strict=True)])

    known = [(split.truth, unit) for split, unit in zip(splits, units, strict=True) if split.truth]
    truths = [Outcomes(truth.r / unit, truth.c / unit) for truth, unit in known]
    return Seeds(
        train=_whole_parts(part("train"), multiple),
        valid=part("valid"),
        test=part("test"),
        truth=stack(truths) if truths else None,
        budgets=jnp.asarray(np.asarray(budgets, np.float32)[None, :] / units[:, None]),
        units=units,
    )


def _whole_parts(trials: Trial, parts: int) -> Trial:
    rows = trials.t.shape[1]
    if rows % parts == 0:
        return trials
    return jax.vmap(lambda trial: take(trial, jnp.arange(rows // parts * parts)))(trials)


def _mean_revenue(trial: Trial) -> float:
    mean = float(jnp.abs(trial.r).mean())
    return mean if mean > 0 else 1.0
