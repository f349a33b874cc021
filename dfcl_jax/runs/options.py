"""Ranges of numeric options, written beside them and checked before any work."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from math import inf, isfinite
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from dfcl_jax.errors import refuse


@dataclass(frozen=True)
class Within:
    """A range that an option must lie in: `week: Annotated[int, Within(0)] = 0`."""

    low: float = -inf
    high: float = inf
    above: bool = False  # `low` itself is out
    below: bool = False  # `high` itself is out

    def __contains__(self, value: float) -> bool:
        over = value > self.low if self.above else value >= self.low
        under = value < self.high if self.below else value <= self.high
        return isfinite(value) and over and under

    def __str__(self) -> str:
        parts = ["a finite number"]
        if self.low > -inf:
            parts.append(f"{'above' if self.above else 'of at least'} {self.low:g}")
        if self.high < inf:
            parts.append(f"{'below' if self.below else 'of at most'} {self.high:g}")
        return parts[0] + (" " + " and ".join(parts[1:]) if parts[1:] else "")


COUNT = Within(1)
SHARE = Within(0, 1, above=True, below=True)


def check_ranges(config: Any) -> None:
    """Refuse the first option of a configuration that is out of its range, by its name on the command line."""
    for name, value, ranges in _options(config, ""):
        for within in ranges:
            for number in value if isinstance(value, tuple | list) else [value]:
                if number is not None and number not in within:
                    refuse(f"--{name}", found=number, expected=str(within))


def _options(config: Any, prefix: str) -> Iterator[tuple[str, Any, list[Within]]]:
    hints = get_type_hints(type(config), include_extras=True)
    for field in fields(config):
        value, name = getattr(config, field.name), prefix + field.name.replace("_", "-")
        if is_dataclass(value):
            yield from _options(value, f"{name}.")
        else:
            yield name, value, list(_ranges(hints[field.name]))


def _ranges(hint: Any) -> Iterator[Within]:
    if get_origin(hint) is Annotated:
        yield from (each for each in hint.__metadata__ if isinstance(each, Within))
    for inner in get_args(hint):
        yield from _ranges(inner)
