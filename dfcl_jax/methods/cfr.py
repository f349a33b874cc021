"""CFR-MMD: a representation in which people of all treatments look alike, and a head for each treatment."""

from dataclasses import dataclass

from jax import Array

from dfcl_jax.errors import refuse
from dfcl_jax.losses import mmd, prediction_loss
from dfcl_jax.methods.by_loss import ByLoss
from dfcl_jax.models import Model, Params
from dfcl_jax.types import Trial, num_arms


@dataclass(frozen=True)
class CFR(ByLoss):
    """prediction_loss + alpha mmd(Phi(x), t) (Shalit, Johansson and Sontag 2017), for m treatments.

    The trunk `network.hidden` makes the representation Phi, on which every outcome of every treatment has a head
    `network.head`. Treatments weigh alike, as in the prediction loss (DFCL, D4) at their shares, and each is compared
    with treatment 0. The published kernel's bandwidth is a number for each data set; here it is the mean distance.

    Raises:
        InputError: a negative or infinite alpha; what `ByLoss` refuses.
    """

    alpha: float = 0.1

    def __post_init__(self) -> None:
        """Check the weight."""
        super().__post_init__()
        if not 0 <= self.alpha < float("inf"):
            refuse("alpha of CFR", found=self.alpha, expected="a finite number of at least 0")

    def model(self, m: int) -> Model:
        """The network for m treatments."""
        return self.represented(m).model

    def loss(self, params: Params, trial: Trial) -> Array:
        """The loss of a batch, []."""
        network = self.represented(num_arms(trial))
        apart = mmd(network.represent(params, trial.x), trial.t, num_arms(trial))
        return prediction_loss(network.model.apply(params, trial.x), trial) + self.alpha * apart
