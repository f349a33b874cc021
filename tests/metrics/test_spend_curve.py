import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtri

from dfcl_jax import InputError, Outcomes, Scores, Trial, scores
from dfcl_jax.metrics import at_least, eom, influence, rests_on, spend_curve, weakest
from dfcl_jax.solvers import Rule, decide, dice, hard
from dfcl_jax.types import pick

N, M = 1500, 3


def truth_of(x: jax.Array) -> Outcomes:
    """Revenue that rises with the treatment, by more for some people than for others; cost a share of it."""
    base = jnp.exp(0.5 * x[:, :1])
    lift = 0.3 + 0.3 * jnp.tanh(x[:, 1:2])
    level = jnp.arange(M)[None, :]
    revenue = base * (1 + lift * jnp.sqrt(level))
    return Outcomes(revenue, 0.1 * level * revenue)


def believed(x: jax.Array) -> Outcomes:
    """What decides: the truth, badly scaled, as a method without money has it."""
    truth = truth_of(x)
    return Outcomes(truth.r * (1 + 0.3 * jnp.sin(3 * x[:, :1])), 3 * truth.c * jnp.exp(0.4 * jnp.cos(2 * x[:, 1:2])))


@jax.jit
def trial_of(key: jax.Array) -> Trial:
    x_key, t_key, r_key = jax.random.split(key, 3)
    x, t = jax.random.normal(x_key, (N, 2)), jax.random.randint(t_key, (N,), 0, M)
    luck = jax.random.gamma(r_key, 4.0, (N,)) / 4
    truth = truth_of(x)
    return Trial(x, t, pick(truth.r, t) * luck, pick(truth.c, t) * luck, jnp.full(M, 1 / M))


def scored(trial: Trial) -> Scores:
    truth = truth_of(trial.x)
    return scores.aipw(trial, Outcomes(0.9 * truth.r, 1.1 * truth.c))


TRIAL = trial_of(jax.random.key(0))
CURVE = spend_curve(believed(TRIAL.x), scored(TRIAL), points=10**6)
BUDGETS = (0.01, 0.05, 0.1, 0.2)


def test_a_budget_becomes_the_decisions_of_eom():
    value = eom(believed(TRIAL.x), scored(TRIAL), np.array(BUDGETS))
    for k, budget in enumerate(BUDGETS):
        expected = CURVE.at(budget)
        assert expected.spend == pytest.approx(budget, rel=1e-12)
        # The curve adds up rows in another order.
        for name, mine in zip(("lam", "dearer", "share", "cheapest"), expected.rule, strict=True):
            assert float(mine) == pytest.approx(float(getattr(value.rule, name)[k]), rel=1e-9), name
        assert expected.revenue == pytest.approx(float(value.revenue[k]), rel=1e-9)


def test_errors_are_those_of_the_same_decisions_held():
    outcomes, settling = believed(TRIAL.x), scored(TRIAL)
    for k in range(1, len(CURVE.lam), len(CURVE.lam) // 12):
        parts = influence(hard(outcomes, CURVE.lam[k]), settling)
        for part, value, error in (
            (parts.r, CURVE.revenue[k], CURVE.revenue_error[k]),
            (parts.c, CURVE.spend[k], CURVE.spend_error[k]),
        ):
            assert value == pytest.approx(float(part.mean()), rel=1e-9)
            # A variance as a difference of mean squares.
            assert error == pytest.approx(float(part.std()) / np.sqrt(N), rel=1e-6)


def test_the_first_point_is_the_cheapest_treatment_for_everybody():
    settling = scored(TRIAL)
    assert CURVE.cheapest == 0
    assert np.isinf(CURVE.lam[0])
    assert CURVE.spend[0] == pytest.approx(float(settling.c[:, 0].mean()), abs=1e-12)
    assert CURVE.revenue[0] == pytest.approx(float(settling.r[:, 0].mean()), rel=1e-12)
    assert CURVE.people == N


def test_few_points_give_nearly_the_same_spend():
    few = spend_curve(believed(TRIAL.x), scored(TRIAL), points=64)
    assert len(few.lam) == 65
    for budget in BUDGETS:
        # Between two points 1/64 of the steps are made by mixing instead of by the multiplier.
        assert few.at(budget).spend == pytest.approx(budget, rel=1e-12)
        assert few.at(budget).revenue == pytest.approx(CURVE.at(budget).revenue, rel=3e-3)


@pytest.mark.parametrize("risk", [0.01, 0.05, 0.3])
def test_with_a_risk_the_upper_end_of_the_spend_comes_up_to_the_budget(risk):
    expected = CURVE.at(0.1, risk=risk)
    assert expected.spend + ndtri(1 - risk) * expected.spend_error == pytest.approx(0.1, rel=1e-12)
    assert expected.spend < CURVE.at(0.1).spend


def test_budgets_beyond_the_ends_get_the_cheapest_or_the_richest_decisions():
    free = CURVE._replace(spend=CURVE.spend + 0.5)
    assert free.at(0.1).spend == free.spend[0]
    assert np.isinf(free.at(0.1).rule.lam)
    rich = CURVE.at(1e6)
    assert rich.spend == CURVE.spend[-1]
    assert float(rich.rule.lam) == 0


def test_no_interval_reaches_below_what_anybody_can_spend_or_bring():
    wide = CURVE._replace(spend_error=CURVE.spend_error * 100, revenue_error=CURVE.revenue_error * 100)
    free = wide.at(0.01).interval(N, N)
    assert min(free[0][0], free[1][0]) < 0
    seen = spend_curve(believed(TRIAL.x), scored(TRIAL), points=64, seen=TRIAL).least
    assert seen.tolist() == [0, 0]
    ended = wide._replace(least=seen).at(0.01).interval(N, N)
    for one, other in zip(ended, free, strict=True):
        assert one.tolist() == [0, other[1]]
    # Refunds may be below 0.
    assert at_least(TRIAL._replace(r=TRIAL.r - 10)).tolist() == [0, -np.inf]


def test_a_curve_knows_on_whom_each_of_its_points_rests():
    curve = spend_curve(believed(TRIAL.x), scored(TRIAL), points=40, seen=TRIAL)
    assert curve.rests.shape == (len(curve.lam), 3)
    # With at most 64 points every one is counted.
    for k in (1, 5, len(curve.lam) - 1):
        arm, people, conversions = weakest(rests_on(believed(TRIAL.x), scored(TRIAL), curve.lam[[k]], revenue=TRIAL.r))[
            0
        ]
        np.testing.assert_allclose(curve.rests[k], [arm, people, conversions])
    # Everybody is given the cheapest: the third of them who had it count alike.
    assert curve.rests[0].tolist() == pytest.approx([0, *[int((TRIAL.t == 0).sum())] * 2])
    # Between two points a budget rests on the weaker.
    at = curve.at(float(curve.spend[5] + curve.spend[6]) / 2)
    assert at.rests.tolist() == min(curve.rests[5:7].tolist(), key=lambda row: row[1])
    # What a point spends rests on that point alone, whoever the next one treats: here the cheapest's own spend.
    assert curve.at(float(curve.spend[0])).rests.tolist() == curve.rests[0].tolist()


def test_the_interval_of_other_people_holds_the_luck_of_who_they_are():
    expected = CURVE.at(0.1)
    same, many = expected.interval(N, N)[0], expected.interval(10**9, N)[0]
    assert np.ptp(many) == pytest.approx(2 * ndtri(0.975) * expected.spend_error, rel=1e-5)
    # Errors of the estimate and of the draw are independent and, of as many people, of one size.
    assert np.ptp(same) == pytest.approx(np.sqrt(2) * np.ptp(many), rel=1e-5)
    assert same.mean() == pytest.approx(0.1)


@pytest.mark.parametrize("risk", [0.0, 0.5, -1, np.nan])
def test_a_risk_that_is_none_is_refused(risk):
    with pytest.raises(InputError, match=r"risk: found .*, expected a probability above 0 and below 0.5"):
        CURVE.at(0.1, risk=risk)


@pytest.mark.parametrize("budget", [-0.1, np.nan, np.inf])
def test_a_budget_that_is_none_is_refused(budget):
    with pytest.raises(InputError, match="budget"):
        CURVE.at(budget)


@jax.jit
def _true_means(key: jax.Array, rule: Rule) -> jax.Array:
    """True spend and revenue of a rule, per person, of a hundred thousand others."""
    people = jax.random.normal(key, (100_000, 2))
    truth, arm = truth_of(people), decide(believed(people), rule, dice(key, jnp.arange(len(people))))
    return jnp.stack([pick(truth.c, arm).mean(), pick(truth.r, arm).mean()])


@pytest.mark.parametrize(
    "repeats", [pytest.param(50, marks=pytest.mark.thorough), pytest.param(1500, marks=pytest.mark.slow)]
)
def test_budgets_are_met_and_intervals_hold_the_truth_over_many_trials(repeats):
    spends, inside, over = [], [], []
    for seed in range(repeats):
        trial, key = trial_of(jax.random.key(1000 + seed)), jax.random.key(9000 + seed)
        curve = spend_curve(believed(trial.x), scored(trial), points=256)
        expected, careful = curve.at(0.1), curve.at(0.1, risk=0.05)
        truth = np.asarray(_true_means(key, expected.rule))
        intervals = np.array(expected.interval(100_000, N))
        inside.append((intervals[:, 0] <= truth) & (truth <= intervals[:, 1]))
        spends.append(truth[0])
        over.append(float(_true_means(key, careful.rule)[0]) > 0.1)
    spends = np.array(spends)
    # 4 standard errors of what the trials show. Errors of the estimate are 3% of the spend: their square, 0.1%, is the
    # size of the bias of what is not linear in it; a normal interval is 1% off in N people of skewed outcomes.
    assert abs(spends.mean() - 0.1) < 4 * spends.std() / np.sqrt(repeats) + 1e-4
    for share, wanted in ((np.mean(over), 0.05), *((share, 0.95) for share in np.mean(inside, axis=0))):
        assert abs(share - wanted) < 4 * np.sqrt(0.05 * 0.95 / repeats) + 0.01
