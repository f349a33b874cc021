import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from dfcl_jax import Outcomes, Scores, Trial, scores
from dfcl_jax.losses import constants, decision, dual_finite_difference_loss, finite_difference_loss
from dfcl_jax.losses.finite_difference import OVERSHOOT, Clip, Through
from dfcl_jax.solvers import hard
from dfcl_jax.types import pick

CLIPS = {"none": "none", "fix": "window", "max": "max"}
OPTIONS = ("clip", "normalise", "through")
# The loss and its gradient by the predictions: one program for all cases of the same options.
value_and_gradient = jax.jit(jax.value_and_grad(finite_difference_loss), static_argnames=OPTIONS)


def gradient_of(*given, **options):
    return value_and_gradient(*given, **options)[1]


@pytest.mark.parametrize("case", range(5))
def test_gradient_is_that_of_the_authors_code(reference, case):
    name = f"ifd{case}_"
    given = {key.removeprefix(name): value for key, value in reference.items() if key.startswith(name)}
    r_hat, c_hat, r, c, p = (jnp.asarray(given[key], jnp.float64) for key in ("r_hat", "c_hat", "r", "c", "p"))
    trial = Trial(jnp.zeros((len(r), 1)), jnp.asarray(given["t"]), r, c, p)
    gradient = gradient_of(
        Outcomes(r_hat, c_hat),
        scores.ipw(trial),
        float(given["lam"]),
        clip=CLIPS[str(given["clip"])],
        window=float(given["h"]),
        normalise="matched",
    )
    for ours, theirs in ((gradient.r, given["dr"]), (gradient.c, given["dc"])):
        np.testing.assert_array_equal(np.asarray(ours) != 0, theirs != 0)
        # That code computed in float32: a difference of two near values over a step agrees to 1e-3.
        np.testing.assert_allclose(-np.asarray(ours), theirs, rtol=1e-3, atol=1e-7)


N, M = 12, 3


def small_case(seed: int) -> tuple[Outcomes, Trial]:
    rng = np.random.default_rng(seed)
    r_hat, c_hat = rng.normal(size=(2, N, M))
    t = rng.permutation(np.arange(N) % M)
    r, c = rng.uniform(size=(2, N))
    trial = Trial(*(jnp.asarray(a) for a in (np.zeros((N, 1)), t, r, c, np.full(M, 1 / M))))
    return Outcomes(jnp.asarray(r_hat), jnp.asarray(c_hat)), trial


def matched_value(outcomes: Outcomes, trial: Trial, lam: float) -> float:
    r, c, w = (np.asarray(surface) for surface in scores.ipw(trial))
    decided = np.arange(N), np.asarray(hard(outcomes, lam))
    return float((r - lam * c)[decided].sum() / w[decided].sum())


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("clip", ["none", "window", "max"])
def test_value_is_minus_the_hard_decision_value_summed_over_multipliers(seed, clip):
    outcomes, trial = small_case(seed)
    expected = -(matched_value(outcomes, trial, 0.2) + matched_value(outcomes, trial, 0.7))
    loss, _ = value_and_gradient(outcomes, scores.ipw(trial), np.array([0.2, 0.7]), clip=clip)
    assert float(loss) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("normalise", ["matched", "sample"])
@pytest.mark.parametrize("seed", range(4))
def test_each_gradient_is_the_change_of_solving_again_over_its_step(seed, normalise):
    """The naive finite difference: move one entry past the flip, decide and evaluate everything again."""
    outcomes, trial = small_case(seed)
    surfaces, lam = scores.ipw(trial), 0.4

    def loss(r, c):
        return float(value_and_gradient(Outcomes(r, c), surfaces, lam, clip="none", normalise=normalise)[0])

    gradient = np.asarray(gradient_of(outcomes, surfaces, lam, clip="none", normalise=normalise).r)
    r, c = (np.asarray(surface) for surface in outcomes)
    score, start = r - lam * c, loss(r, c)
    for i in range(N):
        order = np.argsort(-score[i])
        old = order[0]
        new = order[1] if old == trial.t[i] else int(trial.t[i])
        step = score[i, old] - score[i, new] + OVERSHOOT
        for j, signed in ((new, step), (old, -step)):
            moved = r.copy()
            moved[i, j] += signed
            if j == old and np.argsort(-(moved - lam * c)[i])[0] != new:
                continue  # a third treatment takes over before the logged one does
            naive = (loss(moved, c) - start) / signed
            # Values of order 1 in float64 over a step no shorter than 1e-3.
            assert gradient[i, j] == pytest.approx(naive, abs=1e-10)
    assert ((gradient != 0).sum(axis=1) <= 2).all()


def test_gradient_on_cost_is_that_on_revenue_times_minus_the_multiplier():
    outcomes, trial = small_case(0)
    gradient = gradient_of(outcomes, scores.ipw(trial), 0.4, clip="none")
    touched = np.asarray(gradient.r) != 0
    # The overshoot is 1e-6 on either scale, and steps are above 1e-2.
    np.testing.assert_allclose(np.asarray(gradient.c)[touched], -0.4 * np.asarray(gradient.r)[touched], rtol=3e-4)


def test_only_steps_within_the_window_teach():
    outcomes, trial = small_case(1)

    def gradient(window: float, clip: Clip = "window"):
        return np.asarray(gradient_of(outcomes, scores.ipw(trial), 0.4, clip=clip, window=window).r)

    everything = gradient(1.0, clip="none")
    some = gradient(0.5)
    assert 0 < (some != 0).sum() < (everything != 0).sum()
    assert (gradient(1e-9) == 0).all()
    # As if of the window's length: the same sign, and the window for the step.
    inside = some != 0
    assert (np.sign(some[inside]) == np.sign(everything[inside])).all()


def test_multipliers_add_up_with_their_weights_and_windows():
    outcomes, trial = small_case(2)
    surfaces = scores.ipw(trial)

    def gradient(lams, window, weights):
        return np.asarray(gradient_of(outcomes, surfaces, lams, window=window, weights=weights).r)

    together = gradient(np.array([0.1, 0.9]), np.array([0.5, 2.0]), np.array([1.0, 3.0]))
    np.testing.assert_allclose(together, gradient(0.1, 0.5, 1.0) + gradient(0.9, 2.0, 3.0), rtol=1e-12)


@pytest.mark.parametrize("normalise", ["matched", "sample"])
@pytest.mark.parametrize("clip", ["none", "window", "max"])
def test_edge_cases_give_finite_values_and_gradients(clip, normalise):
    outcomes, trial = small_case(3)
    for case, (o, given, lam) in {
        "nobody matched": (outcomes, trial._replace(t=(hard(outcomes, 0.4) + 1) % M), 0.4),
        "one arm missing": (outcomes, trial._replace(t=np.where(trial.t == 2, 0, trial.t)), 0.4),
        "ties": (Outcomes(jnp.zeros((N, M)), jnp.zeros((N, M))), trial, 0.4),
        "tiny propensity": (outcomes, trial._replace(p=np.array([1e-9, 0.5, 0.5 - 1e-9])), 0.4),
        "lam 0": (outcomes, trial, 0.0),
        "lam huge": (outcomes, trial, 1e6),
    }.items():
        value, gradient = value_and_gradient(o, scores.ipw(given), lam, clip=clip, normalise=normalise)
        assert np.isfinite(value), case
        assert np.isfinite(gradient.r).all(), case
        assert np.isfinite(gradient.c).all(), case
        if case == "nobody matched" and normalise == "matched":
            assert float(value) == 0
        if case == "lam 0":
            assert (gradient.c == 0).all()


def test_dropping_the_only_matched_person_leaves_a_value_of_0():
    outcomes, trial = small_case(4)
    decided = np.asarray(hard(outcomes, 0.4))
    trial = trial._replace(t=np.where(np.arange(N) == 0, decided, (decided + 1) % M))
    gradient = gradient_of(outcomes, scores.ipw(trial), 0.4, clip="none")
    assert np.isfinite(gradient.r).all()
    value = matched_value(outcomes, trial, 0.4)
    score = np.sort(np.asarray(outcomes.r - 0.4 * outcomes.c)[0])
    step = score[-1] - score[-2] + OVERSHOOT
    assert float(gradient.r[0, int(decided[0])]) == pytest.approx((0 - value) / step, rel=1e-9)


def test_centred_scores_and_the_truth_serve_as_scores_too():
    outcomes, trial = small_case(5)
    truth = Outcomes(jnp.abs(outcomes.r), jnp.abs(outcomes.c))
    for surfaces in (scores.centred(trial, outcomes), scores.truth(truth)):
        loss, _ = value_and_gradient(outcomes, surfaces, 0.4, normalise="sample")
        expected = -float(pick(surfaces.r - 0.4 * surfaces.c, hard(outcomes, 0.4)).mean())
        assert float(loss) == pytest.approx(expected, rel=1e-12)


def test_with_the_truth_a_small_step_along_the_gradient_never_lowers_the_value():
    outcomes, _ = small_case(6)
    truth = Outcomes(outcomes.r + 0.5 * jnp.roll(outcomes.r, 1, axis=1), jnp.abs(outcomes.c))
    surfaces = scores.truth(truth)
    assert isinstance(surfaces, Scores)

    def loss(o):
        return value_and_gradient(o, surfaces, 0.4, clip="none", normalise="sample")

    r, slope = np.asarray(outcomes.r), np.asarray(loss(outcomes)[1].r)
    values = [float(loss(outcomes._replace(r=r - step * slope))[0]) for step in (0.0, 0.1, 1.0)]
    assert values[0] >= values[1] >= values[2]
    assert values[0] > values[2]


def test_through_revenue_leaves_cost_without_a_gradient():
    outcomes, trial = small_case(0)

    def gradient(through: Through):
        return gradient_of(outcomes, scores.ipw(trial), 0.4, through=through)

    both, revenue = gradient("both"), gradient("revenue")
    np.testing.assert_array_equal(both.r, revenue.r)
    assert (np.asarray(both.c) != 0).any()
    assert (np.asarray(revenue.c) == 0).all()


dual_value_and_gradient = jax.jit(
    jax.value_and_grad(dual_finite_difference_loss), static_argnames=("clip", "normalise", "flips")
)


def through_softmax(q, score, temperature):
    """The derivative of sum_ij q_ij z_ij by the score, z its softmax at the temperature."""
    z = softmax(score / temperature, axis=1)
    return z * (q - (q * z).sum(axis=1, keepdims=True)) / temperature


@pytest.mark.parametrize("lam", [0.4, 0.0])
def test_with_ipw_scores_all_flips_are_the_published_ones(lam):
    """Bi-DFCL's B4 with r - lam c for r (B5), person by person, through the soft decision."""
    outcomes, trial = small_case(1)
    r_hat, c_hat = (np.asarray(surface) for surface in outcomes)
    a, surfaces = r_hat - lam * c_hat, scores.ipw(trial)
    net = (np.asarray(trial.r) - lam * np.asarray(trial.c)) * M / N
    q = np.zeros((N, M))
    for i, t in enumerate(np.asarray(trial.t)):
        k = a[i].argmax()
        if k == t:
            for j in set(range(M)) - {t}:
                q[i, j] = -net[i] / (a[i, t] - a[i, j])
            q[i, t] = -net[i] / (np.delete(a[i], t).max() - a[i, t])
        else:
            q[i, t] = net[i] / (a[i, k] - a[i, t])
            q[i, k] = net[i] / -(a[i, k] - a[i, t])

    # - sum q z and its derivative by the score, z the softmax of the score over 0.8.
    slope = -through_softmax(q, a, 0.8)
    loss, gradient = dual_value_and_gradient(outcomes, surfaces, lam, temperature=0.8, clip="none")
    # The overshoot of 1e-6, over gaps above 1e-2.
    np.testing.assert_allclose(gradient.r, slope, rtol=3e-4, atol=1e-9)
    np.testing.assert_allclose(gradient.c, -lam * slope, rtol=3e-4, atol=1e-9)
    value = (np.asarray(surfaces.r) - lam * np.asarray(surfaces.c))[np.arange(N), hard(outcomes, lam)].mean()
    assert float(loss) == pytest.approx(-value, rel=1e-12)


def test_the_softmax_form_sends_the_nearest_flips_through_the_soft_decision():
    outcomes, trial = small_case(2)
    surfaces = scores.ipw(trial)
    # At lam = 0 a step on the score is a step on revenue.
    q = np.asarray(gradient_of(outcomes, surfaces, 0.0, window=0.8).r)
    expected = through_softmax(q, np.asarray(outcomes.r), 0.5)
    _, gradient = dual_value_and_gradient(
        outcomes, surfaces, 0.0, flips="nearest", temperature=0.5, window=0.8, normalise="matched"
    )
    np.testing.assert_allclose(gradient.r, expected, rtol=1e-10, atol=1e-16)


FAMILY = {
    "IFD": lambda o, s: finite_difference_loss(o, s, 0.4, clip="none", normalise="sample"),
    "IFD softmax": lambda o, s: dual_finite_difference_loss(o, s, 0.4, flips="nearest", clip="none"),
    "DIFD": lambda o, s: dual_finite_difference_loss(o, s, 0.4, clip="none"),
}


GRADIENTS = {name: jax.jit(jax.grad(loss)) for name, loss in FAMILY.items()}


@pytest.mark.parametrize("name", FAMILY)
def test_doubly_robust_gradients_are_on_average_those_of_the_truth_whatever_the_nuisance_model(name):
    outcomes, trial = small_case(7)
    truth = Outcomes(*jax.random.normal(jax.random.key(0), (2, N, M)))
    wrong = Outcomes(1 + 2 * truth.c, truth.r - 3)
    p, rows = jnp.array([0.2, 0.3, 0.5]), jnp.arange(N)
    gradient = GRADIENTS[name]

    def estimate(key):
        t = jax.random.choice(key, M, (N,), p=p)
        seen = Trial(trial.x, t, truth.r[rows, t], truth.c[rows, t], p)
        return gradient(outcomes, scores.aipw(seen, wrong)).r

    repeats = 4000
    estimates = np.asarray(jax.jit(jax.vmap(estimate))(jax.random.split(jax.random.key(1), repeats)))
    expected = np.asarray(gradient(outcomes, scores.truth(truth)).r)
    error = estimates.std(axis=0) / np.sqrt(repeats)
    # Four and a half standard errors of the mean of the repeats, for 36 entries; the key is fixed.
    assert (np.abs(estimates.mean(axis=0) - expected) <= 4.5 * error + 1e-12).all()
    assert (np.abs(expected) > 4.5 * error).sum() > N / 2


@pytest.mark.parametrize("name", FAMILY)
def test_with_the_truth_the_gradient_leads_to_better_decisions(name):
    outcomes, _ = small_case(8)
    truth = Outcomes(outcomes.r + 2 * jnp.roll(outcomes.r, 1, axis=1), jnp.abs(outcomes.c))
    loss = lambda o: FAMILY[name](o, scores.truth(truth))  # noqa: E731

    def step(o, _):
        gradient = jax.grad(loss)(o)
        return jax.tree.map(lambda leaf, g: leaf - 0.2 * g, o, gradient), loss(o)

    values = np.asarray(jax.jit(lambda o: jax.lax.scan(step, o, length=300))(outcomes)[1])
    least = -(np.asarray(truth.r) - 0.4 * np.asarray(truth.c)).max(axis=1).mean()
    # Half of the way to the best decisions at least.
    assert values[0] - values[-1] > (values[0] - least) / 2


def on_criteo(n: int, gap: float) -> tuple[Outcomes, Trial]:
    """Two treatments with 15 and 85% of the people, and scores that are as close as a model of rare events has them."""
    rng = np.random.default_rng(0)
    t = (np.arange(n) % 20 >= 3).astype(int)
    c = rng.random(n) < 0.05
    r = c & (rng.random(n) < 0.1)
    trial = Trial(
        jnp.zeros((n, 1)), jnp.asarray(t), jnp.asarray(r, float), jnp.asarray(c, float), jnp.array([0.15, 0.85])
    )
    r_hat, c_hat = gap * rng.uniform(-1, 1, size=(2, n, 2))
    return Outcomes(jnp.asarray(r_hat), jnp.asarray(c_hat)), trial


PEOPLE, GAP = 2000, 1e-2
ON_CRITEO = constants.published_criteo(on_criteo(1, GAP)[0], jnp.zeros(1))


def test_inside_the_window_ifd_is_a_linear_loss_on_outcomes_above_the_policys_own_value():
    """Every step is shorter than the published window .3, so dV/dr_hat is +-w_i (y_i - V) / (h (S -+ w_i)): V is the
    value of the decisions, S the weight of those who match, and people who match leave S when they are moved."""
    outcomes, trial = on_criteo(PEOPLE, GAP)
    lam, h = 0.1, 0.3
    decided, t = np.asarray(hard(outcomes, lam)), np.asarray(trial.t)
    y = np.asarray(trial.r - lam * trial.c)
    w = 1 / np.asarray(trial.p)[t]
    matched = decided == t
    s = w[matched].sum()
    value = (w * y)[matched].sum() / s
    q = w * (y - value) / (h * (s + np.where(matched, -w, w)))
    expected = np.zeros((PEOPLE, 2))
    expected[np.arange(PEOPLE), t], expected[np.arange(PEOPLE), 1 - t] = q, -q
    gradient = jax.grad(decision.finite_difference)(outcomes, scores.ipw(trial), ON_CRITEO)
    np.testing.assert_allclose(gradient.r, -expected, rtol=1e-9, atol=1e-15)


def test_pl_with_weights_and_the_policys_own_value_taken_off_is_ifd():
    """On r_hat their gradients differ by one factor, 4 n temperature / (h S), up to w / S, for IFD moves people in and
    out of S, and up to (gap / (2 temperature))^2 of the softmax's slope: 1 / (.15 S) and 4e-5."""
    outcomes, trial = on_criteo(PEOPLE, GAP)
    given = scores.ipw(trial)
    ifd = np.asarray(jax.grad(decision.finite_difference)(outcomes, given, ON_CRITEO).r)
    pl = np.asarray(jax.grad(decision.above_own_value)(outcomes, given, ON_CRITEO).r)
    s = float(pick(given.w, hard(outcomes, 0.1)).sum())
    np.testing.assert_allclose(ifd, pl * 4 * PEOPLE * 3.0 / (0.3 * s), rtol=1 / (0.15 * s - 1) + 4e-5)
    # Without the value taken off they differ in sign for whoever brings nothing.
    plain = np.asarray(jax.grad(decision.entropy_regularised)(outcomes, given, ON_CRITEO).r)
    assert (np.sign(plain) != np.sign(ifd)).mean() > 0.5
