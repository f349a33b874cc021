"""Risk-averse return: people are ranked by what their treatment brings at least, by a bootstrap."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax.data import Task
from dfcl_jax.errors import refuse
from dfcl_jax.methods.ensemble import STRIDE
from dfcl_jax.methods.gradient import in_memory
from dfcl_jax.methods.method import Log
from dfcl_jax.methods.two_stage import TwoStage
from dfcl_jax.models import Params
from dfcl_jax.types import Outcomes, take

# Members' numbers start where no ensemble's end.
_FIRST = 2**10


@dataclass(frozen=True)
class RiskAverse:
    """Two-stage learning on people drawn with return, several times; effects at a cautious quantile.

    r_ij = mean_k r_hat_i0 + q_level(r_hat_ij - r_hat_i0),  c_ij = mean_k c_hat_i0 + q_{1 - level}(c_hat_ij - c_hat_i0)

    with quantiles over the members k. A return that is only seen in few people counts less (after rDRP, arXiv
    2407.01065, which takes a conformal interval of a return). At level 0.5 it is the median of a bagged ensemble.

    Raises:
        InputError: fewer than two members; a level that is not above 0 and at most 0.5.
    """

    of: TwoStage = field(default_factory=TwoStage)
    members: int = 5
    level: float = 0.25

    def __post_init__(self) -> None:
        """Check the options."""
        if self.members < 2:
            refuse("members", found=self.members, expected="at least 2")
        if not 0 < self.level <= 0.5:
            refuse("level", found=self.level, expected="a share above 0 and at most 0.5")

    @property
    def money(self) -> bool:
        """Whether surfaces are predictions of money: at level 0.5 alone; others are bounds."""
        return self.level == 0.5

    def fit(self, key: Array, task: Task, log: Log) -> Params:
        """The members' parameters, {"0": ..., "1": ...}."""
        people = in_memory(task.train)

        def drawn(k: int) -> Task:
            seed = task.seed + (_FIRST + k) * STRIDE
            rows = jax.random.randint(jax.random.fold_in(key, seed), (people.rows,), 0, people.rows)
            return task._replace(train=take(people, rows), seed=seed)

        return {str(k): one for k, one in enumerate(log.fitted(self.of, key, [drawn(k) for k in range(self.members)]))}

    def predict(self, params: Params, x: Array) -> Outcomes:
        """Cautious surfaces, [n, m] each."""
        each = [self.of.predict(params[str(k)], x) for k in range(self.members)]

        def at(level: float, surfaces: list[Array]) -> Array:
            y = jnp.stack(surfaces)
            return y[:, :, :1].mean(axis=0) + jnp.quantile(y - y[:, :, :1], level, axis=0)

        return Outcomes(at(self.level, [y.r for y in each]), at(1 - self.level, [y.c for y in each]))
