import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import Outcomes, Scores, Trial, scores
from dfcl_jax.losses import finite_difference_loss
from dfcl_jax.losses.finite_difference import OVERSHOOT, Clip
from dfcl_jax.solvers import hard
from dfcl_jax.types import pick

CLIPS = {"none": "none", "fix": "window", "max": "max"}


@pytest.mark.parametrize("case", range(5))
def test_gradient_is_that_of_the_authors_code(reference, case):
    name = f"ifd{case}_"
    given = {key.removeprefix(name): value for key, value in reference.items() if key.startswith(name)}
    r_hat, c_hat, r, c, p = (jnp.asarray(given[key], jnp.float64) for key in ("r_hat", "c_hat", "r", "c", "p"))
    trial = Trial(jnp.zeros((len(r), 1)), jnp.asarray(given["t"]), r, c, p)

    def loss(outcomes: Outcomes):
        return finite_difference_loss(
            outcomes,
            scores.ipw(trial),
            float(given["lam"]),
            clip=CLIPS[str(given["clip"])],  # type: ignore[arg-type]
            window=float(given["h"]),
            normalise="matched",
        )

    gradient = jax.grad(loss)(Outcomes(r_hat, c_hat))
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
    surfaces = scores.ipw(trial)
    arm = hard(outcomes, lam)
    return float(pick(surfaces.r - lam * surfaces.c, arm).sum() / pick(surfaces.w, arm).sum())


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("clip", ["none", "window", "max"])
def test_value_is_minus_the_hard_decision_value_summed_over_multipliers(seed, clip):
    outcomes, trial = small_case(seed)
    expected = -(matched_value(outcomes, trial, 0.2) + matched_value(outcomes, trial, 0.7))
    loss = finite_difference_loss(outcomes, scores.ipw(trial), jnp.array([0.2, 0.7]), clip=clip)
    assert float(loss) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("normalise", ["matched", "sample"])
@pytest.mark.parametrize("seed", range(4))
def test_each_gradient_is_the_change_of_solving_again_over_its_step(seed, normalise):
    """The naive finite difference: move one entry past the flip, decide and evaluate everything again."""
    outcomes, trial = small_case(seed)
    surfaces, lam = scores.ipw(trial), 0.4

    def loss(o):
        return finite_difference_loss(o, surfaces, lam, clip="none", normalise=normalise)

    gradient = jax.grad(loss)(outcomes)
    score = np.asarray(outcomes.r - lam * outcomes.c)
    for i in range(N):
        order = np.argsort(-score[i])
        old = order[0]
        new = order[1] if old == trial.t[i] else int(trial.t[i])
        step = score[i, old] - score[i, new] + OVERSHOOT
        for j, signed in ((new, step), (old, -step)):
            moved = outcomes._replace(r=outcomes.r.at[i, j].add(signed))
            if j == old and np.argsort(-np.asarray(moved.r - lam * moved.c)[i])[0] != new:
                continue  # a third treatment takes over before the logged one does
            naive = (float(loss(moved)) - float(loss(outcomes))) / signed
            # Values of order 1 in float64 over a step no shorter than 1e-3.
            assert float(gradient.r[i, j]) == pytest.approx(naive, abs=1e-10)
    assert ((np.asarray(gradient.r) != 0).sum(axis=1) <= 2).all()


def test_gradient_on_cost_is_that_on_revenue_times_minus_the_multiplier():
    outcomes, trial = small_case(0)
    gradient = jax.grad(lambda o: finite_difference_loss(o, scores.ipw(trial), 0.4, clip="none"))(outcomes)
    touched = np.asarray(gradient.r) != 0
    # The overshoot is 1e-6 on either scale, and steps are above 1e-2.
    np.testing.assert_allclose(np.asarray(gradient.c)[touched], -0.4 * np.asarray(gradient.r)[touched], rtol=3e-4)


def test_only_steps_within_the_window_teach():
    outcomes, trial = small_case(1)

    def gradient(window: float, clip: Clip = "window"):
        return jax.grad(lambda o: finite_difference_loss(o, scores.ipw(trial), 0.4, clip=clip, window=window))(
            outcomes
        ).r

    everything = np.asarray(gradient(1.0, clip="none"))
    some = np.asarray(gradient(0.5))
    assert 0 < (some != 0).sum() < (everything != 0).sum()
    assert (gradient(1e-9) == 0).all()
    # As if of the window's length: the same sign, and the window for the step.
    inside = some != 0
    assert (np.sign(some[inside]) == np.sign(everything[inside])).all()


def test_multipliers_add_up_with_their_weights_and_windows():
    outcomes, trial = small_case(2)
    surfaces = scores.ipw(trial)

    def gradient(lams, window, weights):
        return jax.grad(lambda o: finite_difference_loss(o, surfaces, lams, window=window, weights=weights))(outcomes).r

    together = gradient(jnp.array([0.1, 0.9]), jnp.array([0.5, 2.0]), jnp.array([1.0, 3.0]))
    np.testing.assert_allclose(together, gradient(0.1, 0.5, 1.0) + gradient(0.9, 2.0, 3.0), rtol=1e-12)


@pytest.mark.parametrize("normalise", ["matched", "sample"])
@pytest.mark.parametrize("clip", ["none", "window", "max"])
@pytest.mark.parametrize("case", ["nobody matched", "one arm missing", "ties", "tiny propensity", "lam 0", "lam huge"])
def test_edge_cases_give_finite_values_and_gradients(case, clip, normalise):
    outcomes, trial = small_case(3)
    lam = {"lam 0": 0.0, "lam huge": 1e6}.get(case, 0.4)
    if case == "nobody matched":
        trial = trial._replace(t=(hard(outcomes, lam) + 1) % M)
    elif case == "one arm missing":
        trial = trial._replace(t=jnp.where(trial.t == 2, 0, trial.t))
    elif case == "ties":
        outcomes = Outcomes(jnp.zeros((N, M)), jnp.zeros((N, M)))
    elif case == "tiny propensity":
        trial = trial._replace(p=jnp.array([1e-9, 0.5, 0.5 - 1e-9]))
    loss, gradient = jax.jit(
        jax.value_and_grad(lambda o: finite_difference_loss(o, scores.ipw(trial), lam, clip=clip, normalise=normalise))
    )(outcomes)
    assert np.isfinite(loss)
    assert np.isfinite(gradient.r).all()
    assert np.isfinite(gradient.c).all()
    if case == "nobody matched" and normalise == "matched":
        assert float(loss) == 0
    if case == "lam 0":
        assert (gradient.c == 0).all()


def test_dropping_the_only_matched_person_leaves_a_value_of_0():
    outcomes, trial = small_case(4)
    decided = hard(outcomes, 0.4)
    trial = trial._replace(t=jnp.where(jnp.arange(N) == 0, decided, (decided + 1) % M))
    gradient = jax.grad(lambda o: finite_difference_loss(o, scores.ipw(trial), 0.4, clip="none"))(outcomes)
    assert np.isfinite(gradient.r).all()
    value = matched_value(outcomes, trial, 0.4)
    score = np.sort(np.asarray(outcomes.r - 0.4 * outcomes.c)[0])
    step = score[-1] - score[-2] + OVERSHOOT
    assert float(gradient.r[0, int(decided[0])]) == pytest.approx((0 - value) / step, rel=1e-9)


def test_centred_scores_and_the_truth_serve_as_scores_too():
    outcomes, trial = small_case(5)
    truth = Outcomes(jnp.abs(outcomes.r), jnp.abs(outcomes.c))
    for surfaces in (scores.centred(trial, outcomes), scores.truth(truth)):
        loss = finite_difference_loss(outcomes, surfaces, 0.4, normalise="sample")
        expected = -float(pick(surfaces.r - 0.4 * surfaces.c, hard(outcomes, 0.4)).mean())
        assert float(loss) == pytest.approx(expected, rel=1e-12)


def test_with_the_truth_a_small_step_along_the_gradient_never_lowers_the_value():
    outcomes, _ = small_case(6)
    truth = Outcomes(outcomes.r + 0.5 * jnp.roll(outcomes.r, 1, axis=1), jnp.abs(outcomes.c))
    surfaces = scores.truth(truth)
    assert isinstance(surfaces, Scores)

    def loss(o):
        return finite_difference_loss(o, surfaces, 0.4, clip="none", normalise="sample")

    gradient = jax.grad(loss)(outcomes)
    values = [float(loss(outcomes._replace(r=outcomes.r - step * gradient.r))) for step in (0.0, 0.1, 1.0)]
    assert values[0] >= values[1] >= values[2]
    assert values[0] > values[2]
