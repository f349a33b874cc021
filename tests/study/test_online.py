import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from dfcl_jax import InputError, metrics, scores, solvers
from dfcl_jax.data import simulate
from dfcl_jax.study import online, online_lifts, policy_of

POPULATION = simulate.marketing_population(jax.random.key(0), simulate.MarketingDials(d=8))


@jax.jit
def everybody(x, budget):
    del budget
    return jnp.full(x.shape[0], 2)


@jax.jit
def nobody(x, budget):
    del budget
    return jnp.zeros(x.shape[0], jnp.int32)


@pytest.mark.slow
def test_a_null_difference_is_covered_95_percent_of_the_time():
    """One policy in two groups, 500 experiments of 4 days."""
    both = {"a": everybody, "b": everybody}
    daily = online(jax.random.key(1), jax.jit(POPULATION.in_week), both, [0.1] * 2000, people=2000)
    assert daily.people.eq(1000).all()
    covered = 0
    for _, of in daily.groupby((daily.day - 1) // 4):
        _, lift = online_lifts(of, "a").to_dict("records")
        covered += lift["low"] <= 0 <= lift["high"]
    # Three standard errors of a share of .95 over 500 draws; that a ratio of means is not quite unbiased moves the
    # interval by a fifteenth of its standard error.
    assert abs(covered / 500 - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 500)


def test_what_groups_bring_is_the_truth_on_average():
    days, people = 40, 20_000
    daily = online(
        jax.random.key(2), lambda day: POPULATION, {"none": nobody, "10%": everybody}, [0.1] * days, people=people
    )
    truth = simulate.draw(POPULATION, jax.random.key(3), 200_000).truth
    wide = daily.pivot(index="day", columns="policy", values=["revenue", "cost"])
    for policy, arm in (("none", 0), ("10%", 2)):
        for what, surface in (("revenue", truth.r), ("cost", truth.c)):
            seen, expected = wide[what][policy], np.asarray(surface[:, arm])
            error = np.hypot(seen.std() / np.sqrt(days), expected.std() / np.sqrt(200_000))
            assert abs(seen.mean() - expected.mean()) <= 4.5 * error
    base, rival = online_lifts(daily, "none").to_dict("records")
    assert rival["low"] > 0
    assert rival["spend"] == pytest.approx(1000 * rival["cost"])
    assert (base["lift"], base["low"], base["high"]) == (0, 0, 0)


def test_the_oracle_spends_the_daily_budget_and_beats_the_means():
    """Multipliers of the truth on held-out people spend the budget on others, as far as people are alike."""
    held_out, truth = simulate.draw(POPULATION, jax.random.key(4), 20_000)
    oracle = policy_of(jax.jit(POPULATION.outcomes), held_out.x, scores.truth(truth))
    budgets = [0.03, 0.08]
    daily = online(jax.random.key(5), lambda day: POPULATION, {"oracle": oracle}, budgets, people=20_000)
    # Costs per person have a deviation of at most 0.4, twice over 20,000 people.
    np.testing.assert_allclose(daily.cost, budgets, atol=4.5 * 0.4 * np.sqrt(2 / 20_000))
    expected = solvers.budget_path(truth).at(np.array(budgets)).value
    np.testing.assert_allclose(daily.revenue, expected, atol=4.5 * 2.5 * np.sqrt(2 / 20_000))


def test_the_policy_is_the_one_that_the_metric_values():
    held_out, truth = simulate.draw(POPULATION, jax.random.key(4), 2000)
    noisy = jax.tree.map(lambda s: s * jnp.exp(0.5 * jax.random.normal(jax.random.key(6), s.shape)), truth)
    settling = scores.truth(truth)
    policy = policy_of(lambda x: noisy, held_out.x, settling)
    lam = metrics.eom(noisy, settling, jnp.array([0.05])).lam[0]
    np.testing.assert_array_equal(policy(held_out.x, 0.05), solvers.hard(noisy, lam))
    in_cents = policy_of(lambda x: noisy, held_out.x, settling, unit=0.01)
    np.testing.assert_array_equal(in_cents(held_out.x, 0.0005), solvers.hard(noisy, lam))


def test_the_interval_is_students_on_the_lifts_of_days():
    daily = pd.DataFrame(
        {
            "day": [1, 1, 2, 2],
            "policy": ["a", "b"] * 2,
            "people": 10,
            "budget": [0.1, 0.1, 0.3, 0.3],
            "revenue": [1.0, 1.01, 2.0, 2.06],
            "cost": [0.1, 0.1, 0.2, 0.2],
        }
    )
    _, row = online_lifts(daily, "a").to_dict("records")
    # Lifts of 1% and 3%: mean 2, standard error 1, t_{1, .975} = 12.7062.
    assert row["lift"] == pytest.approx(2)
    assert row["high"] == pytest.approx(2 + 12.7062047)
    assert row["spend"] == pytest.approx(75)


@pytest.mark.parametrize(
    ("policies", "budgets", "people", "message"),
    [
        ({}, [0.1], 10, "policies: found none"),
        ({"a": nobody}, [], 10, "budgets: found none"),
        ({"a": nobody, "b": nobody}, [0.1], 1, "people: found 1"),
    ],
)
def test_an_experiment_of_nothing_is_refused(policies, budgets, people, message):
    with pytest.raises(InputError, match=message):
        online(jax.random.key(0), POPULATION.in_week, policies, budgets, people)
