"""The configuration of a stage and its optimiser."""

from dataclasses import dataclass
from typing import Literal

import optax

from dfcl_jax.errors import refuse
from dfcl_jax.models import Compute, Through


@dataclass(frozen=True)
class FitConfig:
    """How a stage is trained with AdamW.

    Raises:
        InputError: a number out of its range.
    """

    epochs: int = 12
    batch_size: int = 4096
    learning_rate: float = 2e-3
    schedule: Literal["cosine", "constant"] = "cosine"  # cosine falls to 0 at the last step
    weight_decay: float = 1e-4
    clip_norm: float | None = 1.0  # largest norm of a gradient; None: no limit
    # Decay per step of a running mean of the parameters, which is judged and kept instead of them; None: there is none.
    average: float | None = None
    chunk: int | None = None  # rows whose layers are computed at a time; None: see `step.default_chunk`
    compute: Compute = "float32"  # arithmetic of the hidden layers
    through: Through = "both"  # predictions that the gradient passes through
    # Parts of the rows, of which every batch has equally many rows. Results on one device and on several agree if they
    # have the same number of shards. None: one for each device.
    shards: int | None = None
    devices: int = 1  # that the rows are spread over; training rows that they do not divide are left out

    def __post_init__(self) -> None:
        """Check every number."""
        least_of = {"epochs": 1, "batch_size": 1, "learning_rate": 0, "weight_decay": 0, "devices": 1}
        for name, least in least_of.items():
            value = getattr(self, name)
            if not least <= value < float("inf"):
                refuse(name, found=value, expected=f"a finite number of at least {least}")
        if self.clip_norm is not None and not 0 < self.clip_norm < float("inf"):
            refuse("clip_norm", found=self.clip_norm, expected="a finite number above 0, or None")
        if self.average is not None and not 0 <= self.average < 1:
            refuse("average", found=self.average, expected="a decay of at least 0 and below 1, or None")
        if self.shards is not None and self.shards < 1:
            refuse("shards", found=self.shards, expected="at least 1, or None")
        if self.chunk is not None and not 1 <= self.chunk <= self.batch_size:
            refuse("chunk", found=self.chunk, expected=f"1 to batch_size, {self.batch_size}, or None")


def make_optimiser(config: FitConfig, steps: int) -> optax.GradientTransformation:
    """The optimiser of a fit whose epochs have `steps` batches each."""
    rate = config.learning_rate
    if config.schedule == "cosine":
        rate = optax.cosine_decay_schedule(config.learning_rate, max(steps * config.epochs, 1))
    optimiser = optax.adamw(rate, weight_decay=config.weight_decay)
    if config.clip_norm is None:
        return optimiser
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), optimiser)
