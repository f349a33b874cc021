"""DragonNet: outcomes and the treatment itself are predicted from one representation."""

from dataclasses import dataclass
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import Array

from dfcl_jax.errors import refuse
from dfcl_jax.losses import prediction_loss
from dfcl_jax.methods.by_loss import ByLoss
from dfcl_jax.models import Model, Params
from dfcl_jax.types import Outcomes, Trial, num_arms, pick


class Predicted(NamedTuple):
    """What the network says of a batch."""

    outcomes: Outcomes  # [n, m] each
    logits: Array  # [n, m] of treatments


@dataclass(frozen=True)
class DragonNet(ByLoss):
    """prediction_loss + alpha CE(t, g) + beta targeted_loss (Shi, Blei and Veitch 2019), for m treatments.

    A softmax g on the representation is the propensity: what it does not need is forgotten. Targeted regularisation
    fits one number a outcome, eps, by mean_i (y_i - y_hat_{i,t_i} - eps / g_{i,t_i})^2, so that eps solves the
    estimating equation of mean outcomes. Two treatments have t/g - (1-t)/(1-g) in the source for 1 / g_t of several.
    Predictions that decide are y_hat. The source's widths are 200-200-200 and 100-100 with elu; here they are the
    options of `network` with relu, as those of all other methods.

    Raises:
        InputError: a weight that is negative or infinite, a floor outside (0, 1); what `ByLoss` refuses.
    """

    alpha: float = 1.0
    beta: float = 1.0
    floor: float = 0.02  # least propensity in the targeted loss

    def __post_init__(self) -> None:
        """Check the weights."""
        super().__post_init__()
        for name in ("alpha", "beta"):
            if not 0 <= getattr(self, name) < float("inf"):
                refuse(f"{name} of DragonNet", found=getattr(self, name), expected="a finite number of at least 0")
        if not 0 < self.floor < 1:
            refuse("floor of DragonNet", found=self.floor, expected="above 0 and below 1")

    def model(self, m: int) -> Model:
        """The network for m treatments; parameters {"outcomes", "treatment", "eps"}."""
        network = self.represented(m)

        def init(key: Array, x: Array) -> Params:
            outcomes, treatment = jax.random.split(key)
            net = network.model.init(outcomes, x)
            h = network.represent(net, x)
            return {"outcomes": net, "treatment": nn.Dense(m).init(treatment, h), "eps": jnp.zeros(2, x.dtype)}

        return Model(init, lambda params, x: network.model.apply(params["outcomes"], x))

    def loss(self, params: Params, trial: Trial) -> Array:
        """The loss of a batch, []."""
        outcomes, logits = self.predicted(params, trial.x, num_arms(trial))
        treatment = optax.softmax_cross_entropy_with_integer_labels(logits, trial.t).mean()
        g = jnp.maximum(pick(jax.nn.softmax(logits, axis=1), trial.t), self.floor)
        targeted = targeted_loss(outcomes, trial, g, params["eps"])
        return prediction_loss(outcomes, trial) + self.alpha * treatment + self.beta * targeted

    def predicted(self, params: Params, x: Array, m: int) -> Predicted:
        """Outcomes and logits of treatments."""
        network = self.represented(m)
        h = network.represent(params["outcomes"], x)
        return Predicted(
            network.model.apply(params["outcomes"], x), jnp.asarray(nn.Dense(m).apply(params["treatment"], h))
        )


def targeted_loss(outcomes: Outcomes, trial: Trial, g: Array, eps: Array) -> Array:
    """mean_i (y_i - y_hat_{i,t_i} - eps / g_i)^2, summed over revenue and cost, [].

    Its minimum over eps solves mean_i (y_i - y_tilde_i) / g_i = 0, y_tilde = y_hat + eps / g: the estimating equation
    that makes plug-in means of y_tilde doubly robust.

    Args:
        outcomes: predictions, [n, m] each.
        trial: what was seen, n rows.
        g: propensity of the treatment that was given, [n].
        eps: of revenue and of cost, [2].
    """
    seen = ((trial.r, outcomes.r, eps[0]), (trial.c, outcomes.c, eps[1]))
    return sum(((y - pick(y_hat, trial.t) - e / g) ** 2).mean() for y, y_hat, e in seen)  # pyright: ignore
