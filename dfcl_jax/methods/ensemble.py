"""The mean of several members of one method, each from its own initial parameters and order of batches."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax import scores
from dfcl_jax.data import Task
from dfcl_jax.data.clusters import apart_from, random_order
from dfcl_jax.errors import refuse
from dfcl_jax.losses import lams_at_budgets
from dfcl_jax.losses.constants import score_spread
from dfcl_jax.methods.gradient import in_memory
from dfcl_jax.methods.method import Log, ManySeeds, Method, weighs
from dfcl_jax.models import Params
from dfcl_jax.solvers import priced
from dfcl_jax.types import Outcomes, Scores, Units, joined, of_mean_weight, stack, take

# Members beyond the first learn from the same task under a number of their own, which no seed of a study has.
STRIDE = 2**20
MOST = 2**9  # members


@dataclass(frozen=True)
class Ensemble:
    """The mean of the members' surfaces, each in units that all members share; the first member is the method itself.

    Predicted money is in such units already. What was trained on decisions is not: r - lam c decides alike in whatever
    unit it is counted, and so it does if cost is counted in another unit than revenue and lam moves with it. A mean
    would then listen most to the member whose scores happen to be largest, at no common price. So members are brought
    to one price and one spread, on the validation people: with lam_kb the multiplier at which member k spends budget b,

        kappa_k = exp mean_b log (lam_kb / mean_k lam_kb),  s_k = mean_b spread(r_k - lam_kb c_k)
        r = mean_k r_k / s_k,  c = mean_k kappa_k c_k / s_k

    so that at one lam all members are about where they spend the same, and count alike there. Spend is estimated by
    propensity scores of the same people for all members. Neither unit depends on how a member counts.

    Raises:
        InputError: fewer than two members; a method of trees, whose parameters are of no common shape; when it learns,
            a seed of 2^20 or more.
    """

    of: Method
    members: int = 5
    # Members beyond the first cut training and validation people anew, so that all of them serve to learn from.
    resplit: bool = False

    def __post_init__(self) -> None:
        """Check the number of members."""
        if not 2 <= self.members <= MOST:
            refuse("members of an ensemble", found=self.members, expected=f"2 to {MOST}")
        if not isinstance(self.of, ManySeeds):
            refuse("method of an ensemble", found=type(self.of).__name__, expected="one that has `fit_many`")

    @property
    def money(self) -> bool:
        """Whether the members predict money."""
        return self.of.money

    @property
    def weighs(self) -> bool:
        """Whether the members weigh rows."""
        return weighs(self.of)

    def fit(self, key: Array, task: Task, log: Log) -> Params:
        """{"0", "1", ...: the members' parameters, "units": of revenue and of cost, [k] each}."""
        return self._fit(key, [task], log)[0]

    def fit_many(self, key: Array, tasks: Sequence[Task], log: Log) -> Params:
        """`fit` of several seeds in one program, leaves [s, ...]."""
        return stack(self._fit(key, tasks, log))

    def predict(self, params: Params, x: Array) -> Outcomes:
        """The mean of the members' surfaces in common units, [n, m] each."""
        each = [self.of.predict(params[str(k)], x) for k in range(self.members)]
        units = Units(**params["units"])
        r = sum(y.r / units.r[k] for k, y in enumerate(each)) / self.members
        c = sum(y.c / units.c[k] for k, y in enumerate(each)) / self.members
        return Outcomes(jnp.asarray(r), jnp.asarray(c))

    def _fit(self, key: Array, tasks: Sequence[Task], log: Log) -> list[Params]:
        for task in tasks:
            if task.seed >= STRIDE:
                refuse("seed of an ensemble", found=task.seed, expected=f"below {STRIDE}")
        every = [self._task(key, task, k) for task in tasks for k in range(self.members)]
        fitted = log.fitted(self.of, key, every)
        groups = [fitted[first : first + self.members] for first in range(0, len(fitted), self.members)]
        return [
            {str(k): member for k, member in enumerate(group)} | {"units": self._units(group, task)._asdict()}
            for group, task in zip(groups, tasks, strict=True)
        ]

    def _task(self, key: Array, task: Task, k: int) -> Task:
        """What member k learns from."""
        if not (self.resplit and k):
            return task._replace(seed=task.seed + k * STRIDE)
        seed = task.seed + (MOST + k) * STRIDE
        train, valid = in_memory(task.train), task.valid
        whole = joined(train, valid)
        order = random_order(jax.random.fold_in(key, seed), whole)
        kept = order[: train.rows]
        first, rest = (take(whole, jnp.asarray(part)) for part in (kept, apart_from(order[train.rows :], kept, whole)))
        return task._replace(train=first, valid=rest, seed=seed)

    def _units(self, members: Sequence[Params], task: Task) -> Units:
        """What each member's revenue and cost are divided by, [k] each."""
        if self.money:
            ones = jnp.ones(self.members, task.valid.r.dtype)
            return Units(ones, ones)
        surfaces = [self.of.predict(member, task.valid.x) for member in members]
        valid = of_mean_weight(task.valid)
        return common_units(stack(surfaces), scores.ipw(valid), jnp.asarray(task.budgets), valid.weight)


@jax.jit
def common_units(surfaces: Outcomes, settling: Scores, budgets: Array, people: Array | None = None) -> Units:
    """Divisors of the members' revenue and of their cost, [k] each, that bring them to one price and one spread.

    Args:
        surfaces: of k members, [k, n, m] each.
        settling: scores of the same people, with the level of cost in them.
        budgets: cost per person, [b]; those that do not bind for every member tell nothing of the price.
        people: how many people each row stands for, [n] of mean 1; one if not given.
    """
    settling = scores.weighed(settling, people)
    lams = jax.lax.map(lambda of: lams_at_budgets(of, settling, budgets), surfaces)
    binds = (lams > 0).all(axis=0)
    price = jnp.where(binds, lams, 1)
    # Logarithms of the multipliers over their mean, 0 at budgets that do not bind.
    apart = jnp.log(price / price.mean(axis=0, keepdims=True))
    kappa = jnp.exp(apart.sum(axis=1) / jnp.maximum(binds.sum(), 1))
    spread = jax.lax.map(
        lambda one: jax.vmap(lambda lam: score_spread(priced(one[0], lam), people))(one[1]).mean(), (surfaces, lams)
    )
    # Members that distinguish no treatments have no unit; the mean of all spreads keeps the size of the surfaces.
    spread = jnp.where(spread > 0, spread, 1)
    spread = spread / spread.mean()
    return Units(spread, spread / kappa)
