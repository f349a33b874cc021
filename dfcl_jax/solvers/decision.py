"""Decisions at a multiplier: the dual separates people, so each is decided alone."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax.types import Outcomes


def priced(outcomes: Outcomes, lam: Array | float) -> Array:
    """Return a_ij = r_ij - lam c_ij, [n, m]: revenue minus the cost at its shadow price; `lam` is [] or [n, 1]."""
    return outcomes.r - lam * outcomes.c


def hard(outcomes: Outcomes, lam: Array | float) -> Array:
    """Return z_i(lam) = argmax_j (r_ij - lam c_ij), [n] int (DFCL, D3); a tie goes to the lower arm."""
    return jnp.argmax(priced(outcomes, lam), axis=1)


def soft(outcomes: Outcomes, lam: Array | float, temperature: Array | float) -> Array:
    """Return z_ij = softmax_j((r_ij - lam c_ij) / temperature), [n, m] (DFCL, D6 and D7)."""
    return jax.nn.softmax(priced(outcomes, lam) / temperature, axis=1)


class Rule(NamedTuple):
    """How a policy decides at one budget: a share of people at one multiplier, the others at a higher one.

    A budget between the spends of two neighbouring decisions is met exactly by mixing them. Who belongs to the share
    is drawn by dice, so people who tie are treated alike in advance. Leaves are [] or, for many budgets, [b].
    """

    lam: Array  # multiplier of the cheaper decisions; inf: everybody gets `cheapest`
    dearer: Array  # multiplier of the dearer decisions, at most `lam`
    share: Array  # share of people who get the dearer decisions
    cheapest: Array  # int, the treatment of least estimated cost


def decide(outcomes: Outcomes, rule: Rule, dice: Array) -> Array:
    """Decide for each person by a rule, [n] int.

    Person i is decided for by argmax_j (r_ij - lam_i c_ij) with lam_i = `rule.dearer` where dice_i < share, and
    `rule.lam` elsewhere (DFCL, D3). Every plan, every metric and every experiment decides by this function.

    Args:
        outcomes: what decides, [n, m] each.
        rule: for one budget, leaves [].
        dice: uniform in [0, 1), one number for each person, [n]: `dice`.
    """
    lam = jnp.where(dice < rule.share, rule.dearer, rule.lam).astype(outcomes.r.dtype)
    at_random = jnp.isinf(lam)
    arm = hard(outcomes, jnp.where(at_random, 0, lam)[:, None])
    return jnp.where(at_random, rule.cheapest, arm)


def dice(key: Array, rows: Array) -> Array:
    """One uniform number in [0, 1) for each of `rows` [n] int, [n].

    The number of a row depends on the key and on the row's identity alone, so it is the same however a file is cut,
    and float32 in either precision.
    """

    def one(row: Array) -> Array:
        return jax.random.uniform(jax.random.fold_in(key, row), dtype=jnp.float32)

    return jax.vmap(one)(rows.astype(jnp.uint32))
