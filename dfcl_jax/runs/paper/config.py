"""What of the paper is asked for, and at what size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from dfcl_jax.errors import refuse
from dfcl_jax.methods import TwoStage
from dfcl_jax.runs.config import RunConfig
from dfcl_jax.runs.options import COUNT
from dfcl_jax.train import FitConfig

FigureName = Literal[
    "eom", "alpha", "multipliers", "temperature", "window", "size", "rarity", "capacity", "centring", "dials"
]

# Figures whose settings have names.
LABELLED = ("size", "rarity", "capacity", "dials")

Parts = tuple[int, int, int]  # people for training, validation and test


@dataclass(frozen=True, kw_only=True)
class PaperConfig(RunConfig):
    """Compare every method with what was published: the paper's tables and figures, on simulated trials.

    A method or a seed that is added later, with the same --out, costs only itself.
    """

    table: Literal[1, 2, 3] | None = None
    """1: Criteo, AUCC. 2: marketing, revenue at six budgets. 3: online, three groups over 28 days."""
    figure: FigureName | None = None
    """eom: value at each budget; alpha, multipliers, temperature: of the decision losses; window: clip and window of
    IFD; size, rarity, capacity: of the trial and of the network; centring: from PL to IFD; dials: when decision focus
    pays on Criteo-like trials."""
    all: bool = False
    """Every table and every figure, each in a folder of its own."""
    quick: bool = False
    """Tiny trials, two epochs, few trees: whether it runs, not what comes of it."""
    full: bool = False
    """The paper's sizes: 13,979,592 rows for table 1, 2.8 million of 107 features for table 2, 310,000 people a day."""
    data: Path | None = None
    """CRITEO-UPLIFT v2.1 as CSV or Parquet, or a folder of parts: table 1 on the published file."""
    seeds: Annotated[int, COUNT] = 3
    parts: Annotated[Parts | None, COUNT] = None
    """People for training, validation and test instead of those of the table or figure."""
    settings: tuple[str, ...] = ()
    """Some settings of --figure size, rarity, capacity or dials, by their labels; all if not given."""

    def __post_init__(self) -> None:
        """Check that one thing is asked for, at one size."""
        super().__post_init__()
        asked = [f"--table {self.table}"] if self.table else []
        asked += [f"--figure {self.figure}"] if self.figure else []
        asked += ["--all"] if self.all else []
        if len(asked) != 1:
            refuse("what of the paper", found=" ".join(asked) or "nothing", expected="one of --table, --figure, --all")
        if self.quick and self.full:
            refuse("size", found="--quick and --full", expected="one of the two")
        if self.data is not None and self.table != 1:
            refuse("--data", found=f"it with {asked[0]}", expected="--table 1, which is of the published file")
        if self.settings and self.figure not in LABELLED:
            refuse("--settings", found=f"it with {asked[0]}", expected=f"--figure {', '.join(LABELLED)}")

    def size(self, usual: Parts, full: Parts | None = None) -> Parts:
        """People for training, validation and test."""
        if self.parts is not None:
            return self.parts
        if self.quick:
            return QUICK_PARTS
        return full if self.full and full is not None else usual

    def brief(self, start: TwoStage) -> TwoStage:
        """Two-stage learning as the options have it, or `start` where they say nothing; of two epochs if quick."""
        start = start if self.two_stage == TwoStage() else self.two_stage
        return replace(start, training=replace(start.training, epochs=2)) if self.quick else start

    def chosen_settings(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """The settings asked for, by their labels; all if none is, or the first few if quick.

        Raises:
            InputError: a label that is not known.
        """
        for label in self.settings:
            if label not in known:
                refuse("--settings", found=repr(label), expected=f"one of {', '.join(map(repr, known))}")
        return {label: known[label] for label in self.settings or self.some(list(known))}

    def some(self, things: Sequence[Any], most: int = 2) -> Sequence[Any]:
        """All of them; the first few if quick."""
        return things[:most] if self.quick else things

    @property
    def stage(self) -> FitConfig:
        """Training of the decision methods; of two epochs if quick."""
        return replace(self.decision, epochs=2) if self.quick else self.decision


QUICK_PARTS = (2000, 1000, 2000)
