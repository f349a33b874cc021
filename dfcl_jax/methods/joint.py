"""DR-JT: one network predicts outcomes, another the errors of the first where nothing was seen."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax.errors import refuse
from dfcl_jax.losses import doubly_robust_label_loss
from dfcl_jax.methods.by_loss import ByLoss
from dfcl_jax.methods.gradient import build
from dfcl_jax.models import Model, Params
from dfcl_jax.types import Outcomes, Trial, num_arms, pick


@dataclass(frozen=True)
class JointDR(ByLoss):
    """Doubly robust joint learning (DR-JT; Wang, Zhang, Sun and Qi 2019).

    With propensities p of the trial or of `methods.Pooled(..., propensities="learned")`, and an imputed outcome
    o = y_hat + g, which is data to the first term, the two networks y_hat and g minimise

    mean_i [ sum_j e(o)_ij + (e(y) - e(o))_{i,t_i} / p ] + mean_i (g - (y - y_hat))_{i,t_i}^2 / p

    with e(y) = (y - y_hat)^2. It is unbiased for the errors of all treatments if either propensities or imputations are
    right. In the second term y_hat is data. The source alternates between the two networks from epoch to epoch; here
    both move at each batch.

    Raises:
        InputError: a floor outside (0, 1); what `ByLoss` refuses.
    """

    floor: float = 0.05  # least propensity

    def __post_init__(self) -> None:
        """Check the floor."""
        super().__post_init__()
        if not 0 < self.floor < 1:
            refuse("floor of JointDR", found=self.floor, expected="above 0 and below 1")

    def model(self, m: int) -> Model:
        """The network for m treatments; parameters {"outcomes", "errors"}."""
        one = build(self.network, m)

        def init(key: Array, x: Array) -> Params:
            return dict(zip(("outcomes", "errors"), (one.init(each, x) for each in jax.random.split(key)), strict=True))

        return Model(init, lambda params, x: one.apply(params["outcomes"], x))

    def loss(self, params: Params, trial: Trial) -> Array:
        """The loss of a batch, []."""
        one = build(self.network, num_arms(trial))
        outcomes, errors = (one.apply(params[name], trial.x) for name in ("outcomes", "errors"))
        return joint_loss(outcomes, errors, trial, floor=self.floor)


def joint_loss(outcomes: Outcomes, errors: Outcomes, trial: Trial, *, floor: float) -> Array:
    """The loss of `JointDR`, [].

    Args:
        outcomes: predictions y_hat, [n, m] each.
        errors: imputed errors g, [n, m] each.
        trial: what was seen, n rows, with propensities.
        floor: least propensity.
    """
    p = jnp.broadcast_to(jnp.atleast_2d(trial.p), outcomes.r.shape)
    fixed = partial(jax.tree.map, jax.lax.stop_gradient)
    imputed = fixed(Outcomes(outcomes.r + errors.r, outcomes.c + errors.c))
    weight = 1 / jnp.maximum(pick(p, trial.t), floor)
    misses = sum(
        (weight * (pick(g, trial.t) - (y - pick(y_hat, trial.t))) ** 2).mean()
        for g, y, y_hat in zip(errors, (trial.r, trial.c), fixed(outcomes), strict=True)
    )
    return doubly_robust_label_loss(outcomes, trial, imputed, Outcomes(p, p), floor=floor) + misses
