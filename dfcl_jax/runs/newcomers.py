"""People in files that a policy decides for, and how far they may differ from those of its trial."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import pyarrow as pa

from dfcl_jax.data import Encoder, Reading, Unlike, unlike
from dfcl_jax.data.encode import NumericColumn
from dfcl_jax.data.parts import Parts, numbered, open_parts, refuse_infinite
from dfcl_jax.errors import refuse
from dfcl_jax.methods import Mixture, Policy
from dfcl_jax.runs.options import Within
from dfcl_jax.types import Outcomes


@dataclass(frozen=True, kw_only=True)
class Newcomers:
    """How far people to plan for may differ from those of the trial."""

    unlike: Annotated[float, Within(0, 1)] = 0.5
    """Largest share who may have, in any one feature, a level that training did not know, a number outside its range,
    or a gap where it had none; 1 allows all."""
    clip: bool = False
    """Move numbers outside the range of training to its ends; they do not count as unlike then."""

    def check(self, found: Unlike, *, of: int | None = None) -> None:
        """Refuse people of whom too many are unlike those of the trial.

        Args:
            found: how they differ, so far.
            of: how many people there are in all; those of `found` if not given.

        Raises:
            InputError: it says of every feature in question what was found.
        """
        rows = found.rows if of is None else of
        unlike_share = {name: share * found.rows / rows for name, share in found.shares(clip=self.clip).items()}
        if too_many := [name for name, share in unlike_share.items() if share > self.unlike]:
            sentences = "; ".join(found.only(too_many).sentences(clip=self.clip))
            expected = (
                f"at most {self.unlike:.0%} of people unlike those of the trial (--newcomers.unlike 1 allows all)"
            )
            refuse("people", found=sentences, expected=expected)


class People(NamedTuple):
    """The features of people in files, for a policy to decide by."""

    policy: Policy | Mixture
    parts: Parts
    newcomers: Newcomers

    def predicted(self, batches: Iterator[pa.Table]) -> Iterator[tuple[int, Outcomes, Unlike]]:
        """Of each batch: rows before it, predictions, and how all people so far differ from those of the trial.

        Raises:
            InputError: a feature that is not what it was in training, by the row from 1 over all parts; too many people
                unlike those of the trial, as soon as that is certain.
        """
        seen, encoder = None, _encoder(self.policy)
        for before, table in numbered(batches):
            for name in _numeric(encoder):
                refuse_infinite(table, name, before=before)
            frame = table.to_pandas()
            own = unlike(encoder, frame)
            seen = own if seen is None else seen + own
            self.newcomers.check(seen, of=self.parts.rows)
            yield before, self.policy.predict(frame, clip=self.newcomers.clip), seen


def open_people(
    source: Path, policy: Policy | Mixture, newcomers: Newcomers, *, reading: Reading | None = None
) -> People:
    """The features of a policy in a data set.

    Raises:
        InputError: a policy of a matrix of features, or what `open_parts` refuses.
    """
    encoder = _encoder(policy)
    names = [column.name for column in encoder.columns]
    return People(policy, open_parts(source, names, numeric=_numeric(encoder), reading=reading), newcomers)


def _encoder(policy: Policy | Mixture) -> Encoder:
    if policy.encoder is None:
        refuse("policy", found="one of features without names", expected="one of a table")
    return policy.encoder


def _numeric(encoder: Encoder) -> list[str]:
    return [column.name for column in encoder.columns if isinstance(column, NumericColumn) and column.unit == "number"]
