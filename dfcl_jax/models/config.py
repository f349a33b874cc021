"""Configurations of models, for options and checkpoints."""

from dataclasses import dataclass
from typing import Literal

from dfcl_jax.errors import refuse
from dfcl_jax.models.outcome import Link, Model, ensemble, mlp, monotone, per_arm, shared_trunk


@dataclass(frozen=True)
class NetworkConfig:
    """A model, specified except for the number of treatments."""

    shape: Literal["mlp", "shared_trunk", "per_arm", "monotone", "concave"] = "mlp"
    hidden: tuple[int, ...] = (64, 32, 32)  # layers of the mlp or of each arm's, or of the trunk
    head: tuple[int, ...] = (64,)  # hidden layers of each head of a shared trunk
    link: Link = "identity"
    members: int = 1  # number of models of this shape; their mean predicts

    def __post_init__(self) -> None:
        """Check the widths of layers and the number of members."""
        for width in (*self.hidden, *self.head):
            if width < 1:
                refuse("width of a layer", found=width, expected="at least 1")
        if self.members < 1:
            refuse("members", found=self.members, expected="at least 1")

    @property
    def rises(self) -> bool:
        """Whether revenue and cost rise from each treatment to the next, so that their order must be that of cost."""
        return self.shape in ("monotone", "concave")

    def build(self, m: int) -> Model:
        """Build the model for m treatments."""
        one = self._one(m)
        return ensemble(one, self.members) if self.members > 1 else one

    def _one(self, m: int) -> Model:
        if self.shape == "mlp":
            return mlp(m, hidden=self.hidden, link=self.link)
        if self.shape == "per_arm":
            return per_arm(m, hidden=self.hidden, link=self.link)
        if self.rises:
            return monotone(m, hidden=self.hidden, link=self.link, concave=self.shape == "concave")
        return shared_trunk(m, trunk=self.hidden, head=self.head, link=self.link)


# The network of the paper's Criteo experiment (DFCL section 4).
PUBLISHED_CRITEO = NetworkConfig("shared_trunk", hidden=(127,), head=(64,), link="sigmoid")
