import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import Outcomes
from dfcl_jax.metrics import eom, value_steps
from dfcl_jax.scores import truth
from dfcl_jax.solvers import Rule, budget_path, decide, dice, hard

N, M = 600, 3


def surfaces(kind: str) -> Outcomes:
    """Of people who all differ, or of three kinds of people, hundreds of each."""
    rng = np.random.default_rng(2)
    people = np.arange(N) if kind == "different" else rng.integers(0, 3, N)
    r, c = rng.gamma(2, 1, (N, M)).cumsum(axis=1), rng.gamma(2, 0.3, (N, M)).cumsum(axis=1)
    return Outcomes(jnp.asarray(r[people]), jnp.asarray(c[people]))


def rule_of(lam: float, dearer: float, share: float, cheapest: int = 0) -> Rule:
    return Rule(*map(jnp.asarray, (lam, dearer, share, cheapest)))


def picked(surface, arm) -> np.ndarray:
    return np.asarray(surface)[np.arange(N), np.asarray(arm)]


def test_whose_dice_are_below_the_share_get_the_dearer_decisions():
    outcomes, rolls = surfaces("different"), dice(jax.random.key(0), jnp.arange(N))
    arm = decide(outcomes, rule_of(2.0, 0.5, 0.3), rolls)
    expected = np.where(rolls < 0.3, hard(outcomes, 0.5), hard(outcomes, 2.0))
    np.testing.assert_array_equal(arm, expected)
    assert len({int(a) for a in hard(outcomes, 0.5) - hard(outcomes, 2.0)}) > 1


def test_at_an_infinite_multiplier_everybody_gets_the_cheapest_treatment():
    outcomes, rolls = surfaces("different"), dice(jax.random.key(0), jnp.arange(N))
    np.testing.assert_array_equal(decide(outcomes, rule_of(np.inf, np.inf, 0.5, 2), rolls), 2)
    arm = decide(outcomes, rule_of(np.inf, 0.5, 0.4, 2), rolls)
    np.testing.assert_array_equal(arm, np.where(rolls < 0.4, hard(outcomes, 0.5), 2))


def test_dice_depend_on_the_key_and_the_row_alone_in_either_precision():
    rows = jnp.asarray([5, 0, 2**32 - 1, 7])
    rolls = dice(jax.random.key(1), rows)
    np.testing.assert_array_equal(rolls[::-1], dice(jax.random.key(1), rows[::-1]))
    np.testing.assert_array_equal(rolls[1:2], dice(jax.random.key(1), rows[1:2]))
    assert not (rolls == dice(jax.random.key(2), rows)).any()
    with jax.enable_x64(False):
        np.testing.assert_array_equal(rolls, dice(jax.random.key(1), rows))


def test_dice_are_uniform():
    rolls = np.sort(dice(jax.random.key(3), jnp.arange(20_000)))
    # Kolmogorov's distance is above 1.95 / sqrt(n) with probability 0.001.
    assert np.abs(rolls - (np.arange(20_000) + 0.5) / 20_000).max() < 1.95 / np.sqrt(20_000)
    assert rolls[0] >= 0
    assert rolls[-1] < 1


@pytest.mark.parametrize("kind", ["different", "alike"])
def test_the_price_of_a_vertex_makes_the_decisions_of_the_budget_path(kind):
    outcomes = surfaces(kind)
    path, curve = budget_path(outcomes), value_steps(outcomes, truth(outcomes)).curve()
    rolls = dice(jax.random.key(0), jnp.arange(N))
    steps = np.flatnonzero(curve.vertex)
    assert len(steps) > 3
    for step in steps[:: max(len(steps) // 20, 1)]:
        price = float(curve.price[step])
        arm = decide(outcomes, rule_of(price, price, 0.0), rolls)
        np.testing.assert_array_equal(arm, path.decisions(int(step)))


@pytest.mark.parametrize("kind", ["different", "alike"])
def test_what_is_decided_brings_what_eom_says_on_average_over_the_dice(kind):
    outcomes, settling = surfaces(kind), truth(surfaces("different"))
    start = float(eom(outcomes, settling, np.array([1e3])).cost[0])
    budgets = np.array([0.55, 0.7, 0.9, 0.97]) * start
    value = eom(outcomes, settling, budgets)
    repeats = 300
    keys = jax.random.split(jax.random.key(4), repeats)
    rolls = jax.vmap(lambda key: dice(key, jnp.arange(N)))(keys)
    for k in range(len(budgets)):
        rule = jax.tree.map(lambda leaf, k=k: leaf[k], value.rule)
        arms = np.asarray(jax.vmap(lambda roll, rule=rule: decide(outcomes, rule, roll))(rolls))
        for surface, expected in ((settling.r, value.revenue[k]), (settling.c, value.cost[k])):
            means = np.array([picked(surface, arm).mean() for arm in arms])
            # 4 standard errors of a mean over dice; decisions at a vertex do not depend on them.
            assert abs(means.mean() - float(expected)) <= 4 * means.std() / np.sqrt(repeats) + 1e-12


def test_a_method_that_overspends_is_mixed_with_the_cheapest_treatment():
    outcomes = surfaces("different")
    # Decisions believe that treatment 0 is the dearest, so even the tightest give nobody that one.
    deciding = Outcomes(outcomes.r, outcomes.c[:, ::-1])
    settling = truth(outcomes)
    least = float(settling.c.mean(axis=0).min())
    value = eom(deciding, settling, np.array([1.1 * least]))
    rule = jax.tree.map(lambda leaf: leaf[0], value.rule)
    assert np.isinf(rule.lam)
    assert float(value.mixed[0]) == pytest.approx(1 - float(rule.share))
    assert 0 < float(value.mixed[0]) < 1
    tight, cheapest = hard(deciding, rule.dearer), np.full(N, int(rule.cheapest))
    for surface, expected in ((settling.r, value.revenue[0]), (settling.c, value.cost[0])):
        mean = rule.share * picked(surface, tight).mean() + (1 - rule.share) * picked(surface, cheapest).mean()
        # Sums in another order.
        assert float(mean) == pytest.approx(float(expected), rel=1e-12)


def test_identical_people_share_the_budget():
    outcomes = Outcomes(jnp.tile(jnp.array([0.0, 2.0]), (N, 1)), jnp.tile(jnp.array([0.0, 1.0]), (N, 1)))
    rule = jax.tree.map(lambda leaf: leaf[0], eom(outcomes, truth(outcomes), np.array([0.3])).rule)
    assert float(rule.share) == pytest.approx(0.3)
    arm = np.asarray(decide(outcomes, rule, dice(jax.random.key(0), jnp.arange(N))))
    # 4 standard errors of N draws; and it is not the first rows that are treated.
    for part in (arm, arm[: N // 2], arm[N // 2 :]):
        assert abs(part.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / len(part))
