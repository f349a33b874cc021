from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from dfcl_jax import InputError, Outcomes, Policy, metrics, scores, solvers
from dfcl_jax.data import simulate
from dfcl_jax.study import online, online_lifts

pytestmark = pytest.mark.thorough

POPULATION = simulate.marketing_population(jax.random.key(0), simulate.MarketingDials(d=8))
ARMS = tuple(f"{discount:.0%}" for discount in simulate.DISCOUNTS)


@dataclass(frozen=True)
class Known:
    """Decides by a population's true outcomes, times factors that a person's features determine."""

    error: float = 0.0
    money: bool = True

    def fit(self, key, task, log):
        raise NotImplementedError

    def predict(self, params, x):
        r, c = params["population"].outcomes(x)
        waves = self.error * jnp.sin(x @ jax.random.normal(jax.random.key(9), (x.shape[1], r.shape[1])))
        return Outcomes(r * jnp.exp(waves), c)


@dataclass(frozen=True)
class Always:
    """One treatment for everybody, whatever the multiplier."""

    arm: int
    money: bool = False

    def fit(self, key, task, log):
        raise NotImplementedError

    def predict(self, params, x):
        r = jnp.zeros((x.shape[0], len(ARMS))).at[:, self.arm].set(1)
        return Outcomes(r, jnp.zeros_like(r))


HELD_OUT, TRUTH = simulate.draw(POPULATION, jax.random.key(4), 20_000)


def policy(method) -> Policy:
    params = {"population": POPULATION}
    curve = metrics.spend_curve(method.predict(params, HELD_OUT.x), scores.truth(TRUTH))
    return Policy(method, params, None, ARMS, curve)


@pytest.fixture(scope="module")
def nobody() -> Policy:
    return policy(Always(0))


@pytest.fixture(scope="module")
def everybody() -> Policy:
    return policy(Always(2))


@pytest.mark.slow
def test_a_null_difference_is_covered_95_percent_of_the_time(everybody):
    """One policy in two groups, 500 experiments of 4 days."""
    both = {"a": everybody, "b": everybody}
    daily = online(jax.random.key(1), jax.jit(POPULATION.in_week), both, [1.0] * 2000, people=2000)
    assert daily.people.eq(1000).all()
    covered = 0
    for _, of in daily.groupby((daily.day - 1) // 4):
        _, lift = online_lifts(of, "a").to_dict("records")
        covered += lift["low"] <= 0 <= lift["high"]
    # Three standard errors of a share of .95 over 500 draws; that a ratio of means is not quite unbiased moves the
    # interval by a fifteenth of its standard error.
    assert abs(covered / 500 - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 500)


def test_what_groups_bring_is_the_truth_on_average(nobody, everybody):
    days, people = 40, 4_000
    daily = online(
        jax.random.key(2), lambda day: POPULATION, {"none": nobody, "10%": everybody}, [1.0] * days, people=people
    )
    truth = simulate.draw(POPULATION, jax.random.key(3), 50_000).truth
    wide = daily.pivot(index="day", columns="policy", values=["revenue", "cost"])
    for name, arm in (("none", 0), ("10%", 2)):
        for what, surface in (("revenue", truth.r), ("cost", truth.c)):
            seen, expected = wide[what][name], np.asarray(surface[:, arm])
            error = np.hypot(seen.std() / np.sqrt(days), expected.std() / np.sqrt(50_000))
            assert abs(seen.mean() - expected.mean()) <= 4.5 * error
    base, rival = online_lifts(daily, "none").to_dict("records")
    assert rival["low"] > 0
    assert rival["spend"] == pytest.approx(100 * rival["cost"])
    assert rival["largest_day"] == pytest.approx(100 * wide["cost"]["10%"].max())
    assert (base["lift"], base["low"], base["high"]) == (0, 0, 0)


@pytest.mark.parametrize("paced", [(), ("one",)])
@pytest.mark.parametrize("error", [0.0, 0.5])
def test_policies_spend_and_bring_in_the_week_of_the_trial_what_was_foretold(error, paced):
    """Multipliers of the trial's held-out people spend the budget on others, and pacing does not get in the way."""
    one = policy(Known(error=error))
    budgets = [0.03, 0.08, 0.05]
    daily = online(jax.random.key(5), lambda day: POPULATION, {"one": one}, budgets, people=20_000, paced=paced)
    # Costs per person have a deviation of at most 0.4, and revenues of 2.5; both are of 20,000 people twice.
    np.testing.assert_allclose(daily.cost, budgets, atol=4.5 * 0.4 * np.sqrt(2 / 20_000))
    value = metrics.eom(one.predict(HELD_OUT.x), scores.truth(TRUTH), jnp.array(budgets))
    np.testing.assert_allclose(daily.revenue, value.revenue, atol=4.5 * 2.5 * np.sqrt(2 / 20_000))
    if error == 0:
        np.testing.assert_allclose(value.revenue, solvers.budget_path(TRUTH).at(np.array(budgets)).value, rtol=1e-3)


def test_paced_policies_meet_their_budgets_when_demand_has_shifted():
    """Four groups over two weeks, which differ from that of the trial and from each other."""
    exact, rough = policy(Known()), policy(Known(error=0.5))
    policies = {"exact": exact, "exact paced": exact, "rough": rough, "rough paced": rough}
    budgets = 0.06 * np.exp(0.2 * np.random.default_rng(0).normal(size=14))
    daily = online(
        jax.random.key(7),
        jax.jit(lambda day: POPULATION.in_week(1 + day // 7)),
        policies,
        budgets.tolist(),
        people=24_000,
        paced=("exact paced", "rough paced"),
    )
    lifts = online_lifts(daily, "exact").set_index("policy")
    paced = [name for name in policies if name.endswith("paced")]
    # The weeks drawn here shift demand: there is something to follow.
    assert (lifts.loc[["exact", "rough"], "largest_day"] > 115).all()
    # The total is off by the error of the last of 336 batches.
    assert (lifts.loc[paced, "spend"] - 100).abs().max() < 0.2
    # A day may want 105% of its budget; a batch of 250 people has an error of at most half of its 1/24.
    assert lifts.loc[paced, "largest_day"].max() < 105 + 50 / 24
    both_paced = online_lifts(daily[daily.policy.isin(paced)], "rough paced").set_index("policy")
    assert both_paced.low["exact paced"] > 0


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
    assert row["largest_day"] == pytest.approx(100)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ()}, "policies: found none"),
        ({"budgets": []}, "budgets: found none"),
        ({"budgets": [-0.1]}, "budget: found -0.1"),
        ({"people": 47}, "people: found 47, expected at least 24 for each of 2"),
        ({"batches": 0}, "batches: found 0"),
        ({"paced": ("c",)}, "paced: found c, expected one of a, b"),
    ],
)
def test_an_experiment_of_nothing_is_refused(nobody, change, message):
    options: dict[str, Any] = {
        "names": ("a", "b"),
        "budgets": [0.1],
        "people": 100,
        "batches": 24,
        "paced": (),
    } | change
    policies = {name: nobody for name in options.pop("names")}  # noqa: C420  a type checker loses the value type
    with pytest.raises(InputError, match=message):
        online(jax.random.key(0), POPULATION.in_week, policies, **options)
