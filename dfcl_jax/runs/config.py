"""The options that every experiment has."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from dfcl_jax.errors import refuse
from dfcl_jax.methods import CHEAPEST, TWO_STAGE, Method, TwoStage, rivals, standard
from dfcl_jax.methods.contenders import every_contender
from dfcl_jax.methods.decision import TRAINING
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
        if known is None:
            known = standard(self.two_stage, self.decision)
            if self.methods:
                known |= rivals(self.two_stage, self.decision) | every_contender(self.two_stage, self.decision)
        return chosen(known, self.methods)


def chosen(known: dict[str, Method], names: Sequence[str]) -> dict[str, Method]:
    """Methods of these names, all if there are none; two-stage learning and the cheapest treatment are always there."""
    for name in names:
        if name not in known:
            refuse("method", found=name, expected=", ".join(known))
    kept = {TWO_STAGE, CHEAPEST, *(names or known)}
    return {name: method for name, method in known.items() if name in kept}
