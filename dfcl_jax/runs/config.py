"""The options that every experiment has."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from dfcl_jax.data import Reading
from dfcl_jax.data.encode import Scaling
from dfcl_jax.errors import refuse
from dfcl_jax.methods import CHEAPEST, TWO_STAGE, Method, TwoStage, rivals, standard
from dfcl_jax.methods.contenders import every_contender
from dfcl_jax.methods.decision import TRAINING
from dfcl_jax.methods.with_logs import USUAL, with_logs
from dfcl_jax.runs.newcomers import Newcomers
from dfcl_jax.runs.options import COUNT, Within
from dfcl_jax.train import Checkpoints, FitConfig
from dfcl_jax.train.record import check_tensorboard


@dataclass(frozen=True, kw_only=True)
class FolderConfig:
    """The options of every command that writes a run folder."""

    out: Path | None = None
    """Run folder; runs/EXPERIMENT-TIME if not given. The same command with the same folder goes on with it."""


@dataclass(frozen=True, kw_only=True)
class RunConfig(FolderConfig):
    """The options of every experiment that trains."""

    seeds: Annotated[int, COUNT] = 5
    """Seeds, numbered from --first-seed; they train in one program."""
    first_seed: Annotated[int, Within(0)] = 0
    methods: tuple[str, ...] = ()
    """Names of some methods beside TSM-SL, rivals among them; all of the experiment's own if not given."""
    two_stage: TwoStage = field(default_factory=TwoStage)
    decision: FitConfig = field(default_factory=lambda: TRAINING)
    """Training of the decision methods; each has its own learning rate as a multiple of this one's."""
    checkpoint_seconds: float = Checkpoints.seconds
    """Longest training that a run which is killed may lose, beside the epoch in hand."""
    tensorboard: bool = False
    """Write curves for TensorBoard to the run folder's tensorboard/ (needs the extra `tensorboard`)."""

    def __post_init__(self) -> None:
        """Check now what would be refused when the data are read."""
        Checkpoints("", self.checkpoint_seconds)
        if self.tensorboard:
            check_tensorboard()

    @property
    def seed_numbers(self) -> range:
        """The numbers of the seeds."""
        return range(self.first_seed, self.first_seed + self.seeds)

    def chosen_methods(self, known: dict[str, Method] | None = None) -> dict[str, Method]:
        """The methods asked for, with two-stage learning and the cheapest treatment, which they are measured by.

        Args:
            known: methods by name; the standard ones with the options of this configuration if not given, and rivals
                and contenders of the quality study that are asked for.

        Raises:
            InputError: a name that is not known.
        """
        return chosen(self.known_methods() if known is None else known, self.methods)

    def known_methods(self) -> dict[str, Method]:
        """The standard methods by name, and rivals and contenders of the quality study where some are asked for."""
        known = standard(self.two_stage, self.decision)
        if self.methods:
            known |= rivals(self.two_stage, self.decision) | every_contender(self.two_stage, self.decision)
        return known


@dataclass(frozen=True, kw_only=True)
class TableConfig(RunConfig):
    """The options of every experiment on a table."""

    data: Path
    """CSV file (also .csv.gz), Parquet file, or folder of parts of either."""
    observed: Path | None = None
    """Logs of a policy: the trial's columns, no propensities needed, in a file or folder; methods learn from both."""
    reading: Annotated[Reading, tyro.conf.arg(name="")] = field(default_factory=Reading)
    """How CSV files are written; found out if not given."""
    memory: Annotated[float, Within(0, above=True)] | None = None
    """GB that the trial may take; a larger one is streamed from its files. Half of what is free if not given."""
    folds: Annotated[int, Within(2)] = 5
    """Parts of the trial, each judged by models of the others: everybody is judged once."""
    seeds: Annotated[int, COUNT] = 1
    """Partitions into folds, numbered from --first-seed; estimates are medians over them."""
    splits: Annotated[int, Within(0)] = 0
    """Judge by so many overlapping random splits, by --fractions, instead of folds."""
    interval: Literal["influence", "bootstrap"] = "influence"
    """Errors from each person's part in an estimate, or from draws of weights that find the multipliers anew."""
    replicates: Annotated[int, Within(2)] = 500
    """Draws of the bootstrap."""
    budgets: tuple[Annotated[float, Within(0)], ...] = ()
    """Cost per person; between the cheapest and the dearest treatment's mean cost if not given: six, or two if few."""
    fractions: tuple[float, float, float] = (0.6, 0.1, 0.3)
    """Training, validation and test parts; of folds the first two say what share of the rest is for validation."""
    scaling: Scaling = "standard"
    people: Path | None = None
    """Table of people to plan for; those of the trial if not given, each by models that have not seen them."""
    newcomers: Newcomers = field(default_factory=Newcomers)
    """How far those people may differ from the trial's."""

    @property
    def seed_numbers(self) -> range:
        """The numbers of the partitions, or of the splits."""
        return range(self.first_seed, self.first_seed + (self.splits or self.seeds))

    def known_methods(self) -> dict[str, Method]:
        """As of every experiment; with `observed`, three that learn from logs too, and the others that are asked for.

        Raises:
            InputError: a method that learns from logs where there are none.
        """
        known, of_logs = super().known_methods(), with_logs(self.two_stage, self.decision)
        if self.observed is None:
            for name in self.methods:
                if name in of_logs:
                    refuse(f"method {name}", found="no --observed", expected="logs, which it learns from")
            return known
        return known | {name: method for name, method in of_logs.items() if self.methods or name in USUAL}

    @property
    def bootstrap_draws(self) -> int:
        """Draws of the bootstrap, 0 where errors come from parts."""
        return self.replicates if self.interval == "bootstrap" else 0

    @property
    def valid(self) -> float:
        """The validation part of the rows outside a fold."""
        return self.fractions[1] / (self.fractions[0] + self.fractions[1])


def chosen(known: dict[str, Method], names: Sequence[str]) -> dict[str, Method]:
    """Methods of these names, all if there are none; two-stage learning and the cheapest treatment are always there."""
    for name in names:
        if name not in known:
            refuse("method", found=name, expected=", ".join(known))
    kept = {TWO_STAGE, CHEAPEST, *(names or known)}
    return {name: method for name, method in known.items() if name in kept}
