"""A trained model with everything it needs to predict from a table."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array

from dfcl_jax.data import Encoder, Split, encode
from dfcl_jax.errors import refuse
from dfcl_jax.models import Model, NetworkConfig, Params
from dfcl_jax.report.run_folder import RunFolder, load_fit
from dfcl_jax.study import money_units
from dfcl_jax.train import predict
from dfcl_jax.types import Outcomes, num_arms

_predict = partial(jax.jit, static_argnums=0)(predict)

DESCRIPTION = "checkpoint/model.json"


class Predictor(NamedTuple):
    """One seed's model of one method."""

    model: Model
    params: Params
    encoder: Encoder | None  # None: features are a matrix already
    unit: float  # of money that the model counts in
    arms: tuple[str, ...]

    def __call__(self, features: pd.DataFrame | np.ndarray) -> Outcomes:
        """Revenue and cost of every treatment in the money of the data, [n, m] each.

        Raises:
            InputError: a column is missing or not what it was in training.
        """
        x = np.asarray(features) if self.encoder is None else encode(self.encoder, pd.DataFrame(features))
        outcomes = self.in_units(jnp.asarray(x))
        return Outcomes(outcomes.r * self.unit, outcomes.c * self.unit)

    def in_units(self, x: Array) -> Outcomes:
        """Predictions from encoded features [n, d], counted in `unit`s of money."""
        return _predict(self.model, self.params, x)


def describe_models(run: RunFolder, splits: Sequence[Split], network: NetworkConfig, arms: tuple[str, ...]) -> None:
    """Write beside the checkpoints what is needed to use them."""
    seeds = [
        {"unit": float(unit), "encoder": split.encoder.to_json() if split.encoder else None}
        for unit, split in zip(money_units(splits, network.link), splits, strict=True)
    ]
    description = {"network": asdict(network), "m": num_arms(splits[0].train), "arms": arms, "seeds": seeds}
    run.write_text(DESCRIPTION, json.dumps(description, indent=1))


def load_predictor(folder: str | Path, method: str, *, seed: int = 0) -> Predictor:
    """The model that a run trained by `method` for `seed`.

    Raises:
        InputError: the folder is no finished run, or has no such method or seed.
    """
    file = Path(folder) / DESCRIPTION
    if not file.is_file():
        refuse("run folder", found=f"no {file}", expected="the folder of a run")
    description = json.loads(file.read_text())
    if not 0 <= seed < len(description["seeds"]):
        refuse("seed", found=seed, expected=f"0 to {len(description['seeds']) - 1}")
    fitted = load_fit(Path(folder), method)
    # JSON knows no tuples.
    network: dict[str, Any] = {
        key: tuple(kept) if isinstance(kept, list) else kept for key, kept in description["network"].items()
    }
    chosen = description["seeds"][seed]
    return Predictor(
        model=NetworkConfig(**network).build(description["m"]),
        params=jax.tree.map(lambda leaf: leaf[seed], fitted.params),
        encoder=None if chosen["encoder"] is None else Encoder.from_json(chosen["encoder"]),
        unit=chosen["unit"],
        arms=tuple(description["arms"]),
    )
