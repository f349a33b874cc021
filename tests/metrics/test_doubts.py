"""One diagnosis of a trial: a sentence for what makes its figures doubtful, none for a sound trial."""

import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import Trial
from dfcl_jax.metrics import doubts

N = 4000
ARMS = ["none", "coupon", "call"]


def sound(seed: int = 0, **columns) -> Trial:
    rng = np.random.default_rng(seed)
    t = rng.choice(3, N, p=[0.5, 0.3, 0.2])
    given = {"x": rng.normal(size=(N, 2)), "t": t, "r": rng.random(N) + 0.1 * t, "c": t * rng.random(N)}
    given |= {"p": np.array([0.5, 0.3, 0.2])} | columns
    return Trial(**{name: jnp.asarray(column) for name, column in given.items()})


def said(trial: Trial, arms=ARMS, **options) -> list[str]:
    return doubts(trial, arms, **({"given_propensities": True, "names": ["age", "visits"]} | options))


def test_a_sound_trial_is_not_doubted():
    # Two tests at 1% of each of four trials: with fixed seeds none of them doubts.
    assert [said(sound(seed)) for seed in range(4)] == [[], [], [], []]


def with_few_treated(name):
    t = np.array(sound().t)
    t[np.flatnonzero(t == 2)[9:]] = 0
    return sound(t=t, p=np.bincount(t) / N), ["none", "coupon", name]


def own_propensities():
    """One person in a hundred had a treatment that was hardly ever given to such people."""
    q = np.tile([0.5, 0.5], (N, 1))
    q[:40] = [0.9999, 0.0001]
    t = np.arange(N) % 2
    t[:40] = 0
    t[7] = 1
    return sound(t=t, p=q)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Coupon ", "The treatment 'Coupon ' was given to 9 of 4,000 people: is it 'coupon' misspelt?"),
        ("coupom", "The treatment 'coupom' was given to 9 of 4,000 people: is it 'coupon' misspelt?"),
        ("call", "Of 4,000 people few were given 'call' (9): too few for figures."),
    ],
)
def test_a_treatment_of_few_people_is_named_and_what_it_may_mean(name, sentence):
    trial, arms = with_few_treated(name)
    (only,) = said(trial, arms, given_propensities=False)
    assert only.startswith(sentence)


def test_another_dose_is_no_misspelling():
    trial, _ = with_few_treated("")
    (only,) = said(trial, ["none", "coupon 10", "coupon 20"], given_propensities=False)
    assert "misspelt" not in only


def test_shares_that_are_not_those_of_the_design_are_doubted_if_the_design_names_them():
    trial = sound(p=np.array([0.4, 0.4, 0.2]))
    (only,) = said(trial)
    # Both are 0.1 off, the lower share of the two by more of itself.
    assert only.startswith("Sample ratio mismatch: 'none' was given to 0.5")
    assert "by the propensities it is 0.4 (p = " in only
    assert said(trial, given_propensities=False) == []


def test_the_feature_that_differs_most_is_named():
    trial = sound()
    x = np.array(trial.x)
    x[:, 1] += 0.3 * np.array(trial.t == 1)
    (only,) = said(trial._replace(x=jnp.asarray(x)))
    assert "most in the feature 'visits' at 'coupon' (p = " in only


def test_weights_that_one_person_carries_are_doubted():
    sentences = said(own_propensities(), ["none", "coupon"])
    assert any(
        s.startswith("Weights of 'coupon' are uneven: its 1,981 people are worth ")
        and "one stands for 10,000 people (propensity 0.0001)" in s
        for s in sentences
    )


def test_few_conversions_are_counted_by_treatment():
    t = np.array(sound().t)
    r = np.zeros(N)
    for arm, conversions in ((0, 50), (1, 5), (2, 12)):
        r[np.flatnonzero(t == arm)[:conversions]] = 20.0
    (only,) = said(sound(r=r))
    counts = np.bincount(t)
    assert only == (
        f"Few people brought any revenue: 5 of the {counts[1]:,} given 'coupon', 12 of the {counts[2]:,} given 'call'. "
        "What these treatments bring is known only roughly."
    )


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"r": np.linspace(-3, 1, N)}, "Mean revenue is -1 per person, not clearly above 0: percentages of it mean"),
        ({"r": np.linspace(-1, 1.001, N)}, "Mean revenue is 0.0005 per person, not clearly above 0"),
        ({"r": np.full(N, 2.5)}, "Revenue is 2.5 in every row: no treatment can bring more than another."),
        (
            {"c": np.zeros(N)},
            "Cost is 0 in every row: no budget decides anything. Give the column, or the cost of each",
        ),
        ({"c": np.full(N, 3.0)}, "Cost is 3 in every row"),
        (
            {"c": np.where(np.arange(N) == 5, -2.0, 1.0)},
            "Cost is below 0 in 1 of 4,000 rows (least -2): a budget limits",
        ),
    ],
)
def test_revenue_and_cost_that_no_ratio_or_budget_can_be_about_are_named(columns, sentence):
    (only,) = said(sound(**columns))
    assert only.startswith(sentence)


def test_a_treatment_that_saves_money_is_named():
    t = np.array(sound().t)
    (only,) = said(sound(c=np.where(t == 2, -0.5, t)))
    assert (
        "(least -0.5), so that 'call' (-0.5) costs less than nothing on average: a budget limits what is spent." in only
    )


def test_features_that_leak_are_named():
    assert said(sound(), leaks=["sales.1"]) == [
        "The feature 'sales.1' may be made of what happened after treatment: leave it out."
    ]
