"""The simulated trials that contenders are compared on."""

from dataclasses import replace
from functools import partial
from typing import Literal, NamedTuple

import jax

from dfcl_jax.data import simulate
from dfcl_jax.methods import OF_MONEY, OF_TWO, TwoStage
from dfcl_jax.runs.simulated import DRAWS, Draw

RegimeName = Literal["default", "large", "wide", "homogeneous", "criteo"]


class Regime(NamedTuple):
    """A population, how many people of it are seen, and what predicts."""

    parts: tuple[int, int, int]  # people for training, validation and test
    hidden: tuple[int, ...] = (64, 32, 32)
    base_spread: float | None = 1.0  # of simulate.marketing; None: simulate.criteo_like

    @property
    def left_out(self) -> tuple[str, ...]:
        """Contenders that are not for this population."""
        return OF_TWO if self.base_spread is not None else OF_MONEY

    @property
    def draw(self) -> Draw:
        """(key, people) -> a trial and its truth."""
        if self.base_spread is None:
            return DRAWS["criteo"]
        return jax.jit(partial(simulate.marketing, base_spread=self.base_spread), static_argnums=1)

    def two_stage(self, of: TwoStage) -> TwoStage:
        """Two-stage learning with the regime's network, and probabilities where outcomes are 0 or 1."""
        network = replace(of.network, hidden=self.hidden)
        if self.base_spread is not None:
            return replace(of, network=network)
        return replace(of, network=replace(network, link="sigmoid"), loss="cross_entropy")


REGIMES: dict[RegimeName, Regime] = {
    "default": Regime((200_000, 50_000, 100_000)),
    "large": Regime((800_000, 200_000, 100_000)),
    "wide": Regime((200_000, 50_000, 100_000), hidden=(256, 128)),
    "homogeneous": Regime((200_000, 50_000, 100_000), base_spread=0.0),
    "criteo": Regime((1_200_000, 200_000, 600_000), base_spread=None),
}
