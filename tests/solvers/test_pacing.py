from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax.solvers import pacing

BATCHES = 24


def paced_days(demand, budgets, rate=pacing.RATE):
    """Spend of each day and batch and the paces after them, where people spend `demand` times what is asked, [days, k].

    Money is in budgets of a day, as `budgets` [days] are.
    """

    def batch(plan, pace, demand):
        spend = demand * pacing.asked(pace, plan)
        pace = pacing.step(pace, plan, spend, rate=rate)
        return pace, (spend, pace)

    def day(pace, of):
        budget, demand = of
        return jax.lax.scan(partial(batch, budget / demand.shape[0]), pacing.new_day(pace, budget), demand)

    return jax.lax.scan(day, pacing.start(budgets.sum()), (budgets, demand))[1]


def noise(key, days, spread):
    """Factors of mean 1, log-normal, [days, BATCHES]."""
    return jnp.exp(spread * jax.random.normal(key, (days, BATCHES)) - spread**2 / 2)


def test_where_the_curve_holds_nothing_is_corrected():
    budgets = jnp.array([1.0, 0.5, 2.0])
    spend, pace = paced_days(jnp.ones((3, BATCHES)), budgets)
    # Exact but for the rounding of 72 sums.
    np.testing.assert_allclose(pace.correction, 1, rtol=1e-12)
    np.testing.assert_allclose(spend, np.broadcast_to(budgets[:, None] / BATCHES, spend.shape), rtol=1e-12)


def test_noise_moves_the_correction_as_much_as_the_rate_says():
    """log c is an autoregression with factor 1 - rate and innovations rate * noise: variance rate s^2 / (2 - rate)."""
    days, spread = 2000, 0.05
    correction = paced_days(noise(jax.random.key(0), days, spread), jnp.ones(days))[1].correction
    log = np.log(correction)[: days // 2]
    deviation = spread * np.sqrt(pacing.RATE / (2 - pacing.RATE))
    # Neighbours are correlated over (2 - rate) / rate = 9 batches, so 24,000 batches count as 2,700: four standard
    # errors of a deviation are 4 / sqrt(2 * 2700) = 5% and of a mean 4 / sqrt(2700) = 8% of the deviation. What is
    # wanted wavers by a few per cent of the noise, and the terms of second order are below spread / 2 of it.
    assert log.std() == pytest.approx(deviation, rel=0.08)
    assert abs(log.mean()) < 0.11 * deviation


@pytest.mark.parametrize("change", [2.0, 1.3, 0.7, 0.5])
def test_spend_is_back_at_what_is_wanted_soon_after_demand_has_changed(change):
    """With e the log of spend over what is wanted, e <- e - rate (exp(e) - 1): within 5% after 15 batches or fewer."""
    demand = jnp.ones((10, BATCHES)).at[3:].set(change)
    spend, pace = paced_days(demand, jnp.ones(10))
    expected, e = 0, np.log(change)
    while abs(np.expm1(e)) > 0.05:
        e -= pacing.RATE * np.expm1(e)
        expected += 1
    assert expected <= 15
    off = np.abs(np.asarray(pace.correction).ravel() * change - 1)[3 * BATCHES :]
    # What is wanted is up to 5% above the plan or somewhat below it, which makes steps larger or smaller by as much;
    # when a day has no room left, a batch or two pass without a step.
    assert np.flatnonzero(off > 0.05).max() + 1 <= expected + 3
    # The six days after that of the change make up for it.
    daily = np.asarray(spend).sum(axis=1)
    assert daily[:3] == pytest.approx(1, abs=1e-12)
    assert daily.max() <= 1.1
    assert daily[3:].sum() == pytest.approx(7, abs=1e-3)


def test_only_the_error_of_the_last_batch_is_left_at_the_end():
    """All of the money left is wanted from the last batch, wherever the ceiling does not bind."""
    shift = 0.85 + 0.3 * jax.random.uniform(jax.random.key(1), (28, 1))
    budgets = jnp.exp(0.2 * jax.random.normal(jax.random.key(2), (28,)))
    demand = (shift * noise(jax.random.key(3), 28, 0.05)).at[-1].set(1.02)
    spend, pace = paced_days(demand, budgets)
    left = pace.money[-1, -2]
    assert 0.5 < left / (budgets[-1] / BATCHES) < pacing.CEILING
    # 672 sums of numbers of at most 40 in double precision.
    assert float(budgets.sum() - spend.sum()) == pytest.approx(float(left - spend[-1, -1]), abs=1e-11)


@pytest.mark.parametrize("seed", range(5))
def test_total_and_days_keep_within_bounds_whatever_the_weeks_bring(seed):
    """28 days of 24 batches, demand of each week shifted by up to 40%, 10% of noise in each batch."""
    weeks, days, batches = jax.random.split(jax.random.key(seed), 3)
    demand = jnp.repeat(jax.random.uniform(weeks, (4,), minval=0.6, maxval=1.4), 7)[:, None]
    budgets = jnp.exp(0.2 * jax.random.normal(days, (28,)))
    spend = paced_days(demand * noise(batches, 28, 0.1), budgets)[0]
    assert float(spend.sum() / budgets.sum()) == pytest.approx(1, abs=0.002)
    # A batch of 1/24 of a day that may start at the ceiling, asked for no more than the room that is left.
    assert float((spend.sum(axis=1) / budgets).max()) <= 1.1


def test_a_step_lowers_what_is_asked_by_the_gradient_of_the_dual():
    pace = pacing.step(pacing.new_day(pacing.start(10.0), 5.0), 2.0, 3.0, rate=0.4)
    # (3 - 2) / 2 too much: exp(-0.4 / 2).
    assert pace.correction == pytest.approx(np.exp(-0.2), rel=1e-12)
    assert (pace.money, pace.budgets) == (7, 8)
    assert pace.room == pytest.approx(5 * pacing.CEILING - 3)
    # 7 are left for budgets of 8, and 2.25 of the day's 5.25.
    assert pacing.wanted(pace, 1.0) == pytest.approx(7 / 8)
    assert pacing.wanted(pace, 4.0) == pytest.approx(2.25)
    assert pacing.asked(pace, 1.0) == pytest.approx(7 / 8 * np.exp(-0.2))


def test_nothing_is_wanted_of_a_day_that_is_used_up_and_nothing_is_learned_from_it():
    pace = pacing.new_day(pacing.start(10.0), 1.0)
    over = pacing.step(pace, 0.5, 1.06)
    assert pacing.wanted(over, 0.5) == 0
    assert pacing.asked(over, 0.5) == 0
    # The cheapest treatment costs something too.
    idle = pacing.step(over, 0.5, 0.04)
    assert idle.correction == over.correction
    assert pacing.wanted(pacing.new_day(idle, 1.0), 0.5) == pytest.approx(0.5 * 8.9 / 9)


def test_people_without_a_budget_change_nothing():
    pace = pacing.new_day(pacing.start(0.0), 0.0)
    assert pacing.asked(pace, 0.0) == 0
    assert pacing.step(pace, 0.0, 0.0) == pace


def test_the_correction_comes_back_from_a_budget_that_nobody_could_spend():
    nobody = jnp.zeros((20, BATCHES))
    demand = jnp.concatenate([nobody, jnp.ones((3, BATCHES))])
    spend, pace = paced_days(demand, jnp.ones(23))
    assert pace.correction.max() == pacing.REACH
    # The first batch alone asks for ten times what is wanted.
    assert float(spend.sum(axis=1)[-2]) == pytest.approx(pacing.CEILING, abs=0.01)


def test_a_step_is_a_function_of_numbers_and_of_arrays_alike():
    """Three policies in one state are the same as three states, traced or not."""
    rng = np.random.default_rng(0)
    total, budget, plan = rng.uniform(5, 10, 3), rng.uniform(1, 2, 3), rng.uniform(0.1, 0.2, 3)
    spends = rng.uniform(0, 0.4, (9, 3))
    together = pacing.new_day(pacing.start(total), budget)
    for spend in spends:
        together = pacing.step(together, plan, spend)
    for k in range(3):
        first = pacing.new_day(pacing.start(total[k]), budget[k])
        alone, _ = jax.lax.scan(
            lambda pace, spend, k=k: (pacing.step(pace, plan[k], spend), None), first, jnp.asarray(spends[:, k])
        )
        # A scan may fuse what a step alone does not: a few roundings.
        np.testing.assert_allclose(alone, np.stack(together)[:, k], rtol=1e-13)
