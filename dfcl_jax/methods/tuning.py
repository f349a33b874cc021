"""What is tuned of every method, and how: the same choices for all, in multiples of what each has already."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dfcl_jax.errors import refuse
from dfcl_jax.methods.boosted import Boosted
from dfcl_jax.methods.catalogue import TWO_STAGE
from dfcl_jax.methods.distilled import Distilled
from dfcl_jax.methods.ensemble import Ensemble
from dfcl_jax.methods.forest import CausalForest
from dfcl_jax.methods.method import Method
from dfcl_jax.methods.risk_averse import RiskAverse
from dfcl_jax.methods.two_headed import TwoHeaded
from dfcl_jax.methods.two_stage import TwoStage
from dfcl_jax.methods.zero_inflated import ZeroInflated
from dfcl_jax.models import NetworkConfig
from dfcl_jax.train import FitConfig

# The widest layer beside which boosted trees have the leaves that they have.
WIDTH = 64
# Methods that are trained before a method, whose networks are chosen with its own.
BEFORE = ("start", "nuisance")


@dataclass(frozen=True)
class Choice:
    """Depth, width and link of a method's networks, and how its last stage is trained, in multiples of what it has.

    Every stage keeps the checkpoint that the validation part likes best, which is early stopping; `epochs` sets how
    slowly the learning rate falls.
    """

    hidden: tuple[int, ...] | None = None  # widths of the layers; None: as they are
    link: Literal["identity", "softplus"] | None = None  # of outcomes; None: as it is
    epochs: float = 1.0
    batch: float = 1.0
    rate: float = 1.0
    decay: float = 1.0  # of weights

    def trained(self, training: FitConfig) -> FitConfig:
        """A training with this choice."""
        return replace(
            training,
            epochs=max(round(self.epochs * training.epochs), 1),
            batch_size=max(round(self.batch * training.batch_size), 1),
            learning_rate=self.rate * training.learning_rate,
            weight_decay=self.decay * training.weight_decay,
        )

    def built(self, network: NetworkConfig, *, link: bool = True) -> NetworkConfig:
        """A network with this choice; probabilities stay probabilities, and so does any link where `link` is False."""
        kept = self.link is None or network.link == "sigmoid" or not link
        return replace(network, hidden=self.hidden or network.hidden, link=network.link if kept else self.link)

    def grown(self, trees: Boosted | CausalForest) -> Boosted | CausalForest:
        """Trees with this choice: their number by `epochs`, people of a leaf by `batch`.

        Boosted trees also take the learning rate, and leaves in proportion to the widest layer. Forests have neither,
        so several choices are one to them. Neither kind has a link or a decay of weights.
        """
        if isinstance(trees, CausalForest):
            # EconML grows trees by fours.
            fours, size = round(self.epochs * trees.trees / 4), round(self.batch * trees.leaf_size)
            return replace(trees, trees=4 * max(fours, 1), leaf_size=max(size, 1))
        return replace(
            trees,
            trees=max(round(self.epochs * trees.trees), 1),
            learning_rate=min(self.rate * trees.learning_rate, 1.0),
            leaves=max(round(max(self.hidden or (WIDTH,)) / WIDTH * trees.leaves), 2),
            leaf_size=max(round(self.batch * trees.leaf_size), 1),
        )


AXES: dict[str, tuple[Any, ...]] = {
    "hidden": (None, (128, 64, 32), (256, 128), (64, 64, 64, 64)),
    "link": (None, "softplus"),
    "epochs": (1.0, 0.5, 2.0),
    "batch": (1.0, 0.5, 2.0, 4.0),
    "rate": (1.0, 0.3, 3.0),
    "decay": (1.0, 100.0, 1000.0),
}


def trials(n: int, *, seed: int = 0) -> list[Choice]:
    """The method as it is, and n - 1 random choices without repetition; more trials begin with the fewer.

    Raises:
        InputError: a number of trials outside of 1 to the number of combinations.
    """
    every = [Choice(**dict(zip(AXES, values, strict=True))) for values in product(*AXES.values())]
    if not 1 <= n <= len(every):
        refuse("trials", found=n, expected=f"1 to {len(every)}")
    order = 1 + np.random.default_rng(seed).permutation(len(every) - 1)
    return [every[k] for k in [0, *order][:n]]


def tuned(method: Any, choice: Choice) -> Any:
    """A method with a choice: networks of all its stages, and the training of the last.

    What is trained before keeps its training. Effects keep their link, as they may be negative whatever outcomes are,
    and so does a head that has links of its own.
    """
    if isinstance(method, Boosted | CausalForest):
        return choice.grown(method)
    if isinstance(method, Ensemble | RiskAverse | TwoHeaded):
        return replace(method, of=tuned(method.of, choice))
    if isinstance(method, Distilled):
        return replace(method, of=tuned(method.of, choice), start=_networks(method.start, choice))
    names = {f.name for f in fields(method)}
    changed = {name: _networks(getattr(method, name), choice) for name in BEFORE if name in names}
    if "training" in names:
        changed["training"] = choice.trained(method.training)
    if "network" in names:
        linked = "nuisance" not in names and not isinstance(method, ZeroInflated)
        changed["network"] = choice.built(method.network, link=linked)
    return replace(method, **changed)


def _networks(method: Any, choice: Choice) -> Any:
    if isinstance(method, TwoStage):
        return replace(method, network=choice.built(method.network))
    if isinstance(method, Ensemble):
        return replace(method, of=_networks(method.of, choice))
    changed = {name: _networks(getattr(method, name), choice) for name in ("of", "start") if hasattr(method, name)}
    return replace(method, **changed)


def member_of(name: str) -> str:
    """NAME of "NAME x5", "NAME resplit x5", "NAME distilled" and so on, which take what NAME is tuned to."""
    return re.sub(r"( resplit)?( x\d+| distilled)$", "", name)


def tuned_all(methods: Mapping[str, Method], best: Mapping[str, Choice]) -> dict[str, Method]:
    """Methods by name, each with the choice of its name, or of what it is made of."""
    done = {}
    for name, method in methods.items():
        choice = best.get(member_of(name))
        done[name] = method if choice is None else tuned(method, choice)
        if isinstance(method, Ensemble) and member_of(name) == TWO_STAGE and TWO_STAGE in done:
            # Its members are no start of another method, whose training is tuned before it is.
            done[name] = replace(method, of=done[TWO_STAGE])
    return done


def tuned_start(start: TwoStage, best: Mapping[str, Choice]) -> TwoStage:
    """What others start from: two-stage learning trained as it was tuned to be; their networks are chosen with them."""
    return replace(start, training=best.get(TWO_STAGE, Choice()).trained(start.training))


def choices_text(best: Mapping[str, Choice]) -> str:
    """Choices by the names of methods as JSON, which `read_choices` reads."""
    return json.dumps({name: asdict(choice) for name, choice in best.items()}, indent=1) + "\n"


def read_choices(*files: Path) -> dict[str, Choice]:
    """Choices by the names of methods.

    Raises:
        InputError: a file that is missing or holds no choices.
    """
    best: dict[str, Choice] = {}
    for file in files:
        try:
            for name, given in json.loads(file.read_text()).items():
                best[name] = Choice(**given | {"hidden": given["hidden"] and tuple(given["hidden"])})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            refuse(f"choices {file}", found=f"none to read ({error})", expected="a file that `tune` wrote")
    return best
