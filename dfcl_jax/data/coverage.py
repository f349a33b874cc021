"""Which treatments a policy gave to nobody of some kind of people: of them its logs say nothing."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from dfcl_jax.data.encode import CategoryColumn, Encoder, NumericColumn, level_codes, read_values
from dfcl_jax.data.kinds import date_text

# Parts that the values of a number are cut into, of equally many people.
_PARTS = 10
# People of a treatment that a kind would have if the treatment came as often as elsewhere: fewer may lack by chance.
_EXPECTED = 10
_SHOWN = 5


class Kinds(NamedTuple):
    """The kinds of people that a column tells apart, and how many of each had each treatment."""

    column: NumericColumn | CategoryColumn
    edges: np.ndarray  # of a number: the upper ends of its kinds, the last of which is everything above
    names: tuple[str, ...]  # of the kinds; the last are people without a value or of another level
    counts: np.ndarray  # [kinds, m] int


class Coverage(NamedTuple):
    """How many logged people of each kind had each treatment; see `covered`."""

    arms: tuple[str, ...]
    kinds: tuple[Kinds, ...]

    def adding(self, features: pd.DataFrame, t: np.ndarray) -> "Coverage":
        """With further people of features [n, columns] and treatments t [n], codes of `arms`."""
        m = len(self.arms)

        def counted(of: Kinds) -> Kinds:
            place = _places(of.column, of.edges, features[of.column.name])
            more = np.bincount(place * m + t, minlength=of.counts.size).reshape(of.counts.shape)
            return of._replace(counts=of.counts + more)

        return self._replace(kinds=tuple(map(counted, self.kinds)))

    def sentences(self) -> list[str]:
        """What is to be said: treatments that nobody had, kinds that are not there, treatments that a kind never had.

        A treatment counts as never given to a kind if 10 of its people would have had it at the share of the others:
        with fewer, chance alone may leave none. Kinds are told apart by one column at a time; a policy that leaves out
        a treatment by two columns together is not found out.
        """
        given = self.kinds[0].counts.sum(axis=0)
        said = [f"nobody had treatment {arm}" for arm, people in zip(self.arms, given, strict=True) if people == 0]
        lacking = [sentence for of in self.kinds for sentence in _lacking(of, self.arms, given)]
        more = len(lacking) - _SHOWN
        return said + lacking[:_SHOWN] + ([f"and {more} more kinds of people lack a treatment"] if more > 0 else [])


def covered(encoder: Encoder, arms: tuple[str, ...], features: pd.DataFrame) -> Coverage:
    """The kinds of people that are told apart, none of whom is counted yet.

    A category has a kind for each level. A number has one for each value where there are at most ten, and otherwise for
    each tenth of people.

    Args:
        encoder: of the trial.
        arms: names of its m treatments.
        features: [n, columns] of some people, whose tenths are taken.

    Raises:
        InputError: values that cannot be read as the trial's were.
    """
    return Coverage(arms, tuple(_kinds(column, features[column.name], len(arms)) for column in encoder.columns))


def _kinds(column: NumericColumn | CategoryColumn, values: pd.Series, m: int) -> Kinds:
    name = column.name
    if isinstance(column, CategoryColumn):
        names = (*(f"{name} {level}" for level in column.levels), f"another {name} or none")
        return Kinds(column, np.zeros(0), names, np.zeros((len(names), m), int))
    known = read_values(column, values)
    known = known[~np.isnan(known)]
    different = np.unique(known)
    edges = different
    if len(different) > _PARTS:
        edges = np.unique(np.quantile(known, np.arange(1, _PARTS + 1) / _PARTS, method="inverted_cdf"))
    if len(edges) == 0:
        return Kinds(column, edges, (f"no {name}",), np.zeros((1, m), int))
    low = [different[0], *edges[:-1]]
    names = [
        f"{name} {_text(column, end)}" if len(different) <= _PARTS
        # The first part has its lower end, too.
        else f"{name} {'of' if k == 0 else 'above'} {_text(column, start)} to {_text(column, end)}"
        for k, (start, end) in enumerate(zip(low, edges, strict=True))
    ]  # fmt: skip
    names += [f"{name} above {_text(column, edges[-1])}", f"no {name}"]
    return Kinds(column, edges, tuple(names), np.zeros((len(names), m), int))


def _text(column: NumericColumn, value: float) -> str:
    return date_text(value) if column.unit == "day" else f"{value:.6g}"


def _places(column: NumericColumn | CategoryColumn, edges: np.ndarray, values: pd.Series) -> np.ndarray:
    """The kind of each person, [n] int."""
    if isinstance(column, CategoryColumn):
        level = level_codes(column, values)
        return np.where((level < 0) | (level >= len(column.levels)), len(column.levels), level)
    found = read_values(column, values)
    if len(edges) == 0:
        return np.zeros(len(found), int)
    return np.where(np.isnan(found), len(edges) + 1, np.searchsorted(edges, found))


def _lacking(of: Kinds, arms: tuple[str, ...], given: np.ndarray) -> list[str]:
    said = []
    levels = len(of.column.levels) if isinstance(of.column, CategoryColumn) else 0
    for place, (name, counts) in enumerate(zip(of.names, of.counts, strict=True)):
        people = counts.sum()
        if people == 0 and place < levels:
            said.append(f"nobody has {name}")
        for arm, seen, all_seen in zip(arms, counts, given, strict=True):
            if seen == 0 and people * all_seen >= _EXPECTED * given.sum():
                said.append(f"none of the {people:,} people with {name} had treatment {arm}")
    return said
