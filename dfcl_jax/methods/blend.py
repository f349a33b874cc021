"""A convex combination of the scores of several methods: what stacking chooses from."""

from dataclasses import dataclass

from jax import Array

from dfcl_jax.data import Task
from dfcl_jax.errors import refuse
from dfcl_jax.methods.ensemble import mean_in_units, units_on
from dfcl_jax.methods.method import Log, Method, weighs
from dfcl_jax.models import Params
from dfcl_jax.types import Outcomes, Units


@dataclass(frozen=True)
class Blend:
    """sum_k share_k times the surfaces of method k, in the units of `ensemble.common_units`.

    What the methods learn is learned once: with other shares only their units are found again.

    Raises:
        InputError: fewer than two methods; shares that are not one for each method, positive with sum 1.
    """

    of: tuple[Method, ...]
    shares: tuple[float, ...] = ()  # none: equal ones

    money = False

    def __post_init__(self) -> None:
        """Check methods and shares."""
        if len(self.of) < 2:
            refuse("methods of a blend", found=len(self.of), expected="at least 2")
        shares = self.shares or (1 / len(self.of),) * len(self.of)
        if len(shares) != len(self.of) or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-9:
            refuse("shares of a blend", found=self.shares, expected="a positive one for each method, with sum 1")

    @property
    def weighs(self) -> bool:
        """Whether all methods weigh rows."""
        return all(map(weighs, self.of))

    def fit(self, key: Array, task: Task, log: Log) -> Params:
        """{"0", "1", ...: the methods' parameters, "units": of revenue and of cost, [k] each}."""
        fitted = [log.fitted(method, key, [task])[0] for method in self.of]
        predicted = [method.predict(params, task.valid.x) for method, params in zip(self.of, fitted, strict=True)]
        members = {str(k): params for k, params in enumerate(fitted)}
        return members | {"units": units_on(task, predicted)._asdict()}

    def predict(self, params: Params, x: Array) -> Outcomes:
        """The combined surfaces, whose differences rank decisions, [n, m] each."""
        each = [method.predict(params[str(k)], x) for k, method in enumerate(self.of)]
        return mean_in_units(each, Units(**params["units"]), self.shares or None)


def with_blends(methods: dict[str, Method], base: str, never: str) -> dict[str, Method]:
    """The methods, the base with each other one by halves, and the mean of all.

    Args:
        methods: by name.
        base: the method that lifts are over.
        never: a method that is in no blend.
    """
    rivals = {name: method for name, method in methods.items() if name not in (base, never)}
    blends: dict[str, Method] = {f"{base} + {name}": Blend((methods[base], method)) for name, method in rivals.items()}
    if len(rivals) > 1:
        blends["mean of all"] = Blend((methods[base], *rivals.values()))
    return methods | blends
