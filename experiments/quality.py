"""What each method gains in true value over two-stage learning, in several regimes of simulated trials."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Literal, NamedTuple

import jax

from dfcl_jax.data import simulate
from dfcl_jax.methods import CHEAPEST, TWO_STAGE, CheapestArm, Decision, Method, TwoStage
from dfcl_jax.methods.contenders import at_pace, contenders
from dfcl_jax.runs import DRAWS, Draw, RunConfig, chosen, command, draw_splits, open_run
from dfcl_jax.runs.options import COUNT, Within
from dfcl_jax.study import Judge, compare


class Regime(NamedTuple):
    """A population, how many people of it are seen, and what predicts."""

    parts: tuple[int, int, int]  # people for training, validation and test
    hidden: tuple[int, ...] = (64, 32, 32)
    base_spread: float | None = 1.0  # of simulate.marketing; None: simulate.criteo_like

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


REGIMES = {
    "default": Regime((200_000, 50_000, 100_000)),
    "large": Regime((800_000, 200_000, 100_000)),
    "wide": Regime((200_000, 50_000, 100_000), hidden=(256, 128)),
    "homogeneous": Regime((200_000, 50_000, 100_000), base_spread=0.0),
    "criteo": Regime((1_200_000, 200_000, 600_000), base_spread=None),
}
GroupName = Literal["published", "scores", "rivals", "ensembles", "gains"]


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Compare the published losses, their successors and their rivals on simulated trials whose truth is known.

    Learning rates were chosen by --first-seed 100 --seeds 3 --parts 100000 25000 50000 --paces 0.1 0.3 1.
    """

    regime: Literal["default", "large", "wide", "homogeneous", "criteo"] = "default"
    contenders: tuple[GroupName, ...] = ("published", "scores", "rivals")
    """Groups of methods; --methods names some of any group instead."""
    seeds: Annotated[int, COUNT] = 10
    parts: Annotated[tuple[int, int, int] | None, COUNT] = None
    """People for training, validation and test instead of the regime's."""
    paces: Annotated[tuple[float, ...], Within(0)] = ()
    """Train every method at each of these learning rates, in multiples of --decision's: to choose them by."""


def main(config: Config) -> None:
    """Simulate, train, compare, report."""
    regime = REGIMES[config.regime]
    start, parts = regime.two_stage(config.two_stage), config.parts or regime.parts
    methods = chosen(known(config, start), config.methods)
    methods = at_paces(methods, config) if config.paces else methods
    with open_run("quality", config, regime=config.regime, parts=parts) as run:
        splits = draw_splits(run, config, regime.draw, parts)
        run.report(compare(jax.random.key(0), splits, methods, judge=Judge(loss=start.loss), cells=run.cells()))


def known(config: Config, start: TwoStage) -> dict[str, Method]:
    """The methods to choose from: those of the groups, or all where --methods names some."""
    groups = contenders(start, config.decision)
    asked = list(groups) if config.methods else config.contenders
    rest = {name: method for group in asked for name, method in groups[group].items()}
    return {TWO_STAGE: start, **rest, CHEAPEST: CheapestArm()}


def at_paces(methods: dict[str, Method], config: Config) -> dict[str, Method]:
    """Every decision method at every pace."""
    paced = {
        f"{name} at {pace:g}": at_pace(method, config.decision, pace)
        for name, method in methods.items() if isinstance(method, Decision)
        for pace in config.paces
    }  # fmt: skip
    return {name: method for name, method in methods.items() if not isinstance(method, Decision)} | paced


if __name__ == "__main__":
    command(main, Config)
