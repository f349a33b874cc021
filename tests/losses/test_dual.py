"""What every decision loss has in common."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dfcl_jax import InputError, Outcomes, Trial, losses, scores
from dfcl_jax.losses import dual
from dfcl_jax.solvers import hard

N, M = 30, 3
LAMS, BUDGETS = jnp.array([0.2, 0.7]), jnp.array([0.1, 0.4])
DRAWS = {"key": jax.random.key(0), "samples": 4}
LOSSES = {
    "PL": lambda o, s, lams, budgets: losses.policy_learning_loss(o, s, lams),
    "IFD": lambda o, s, lams, budgets: losses.finite_difference_loss(o, s, lams),
    "IFD softmax": lambda o, s, lams, budgets: losses.dual_finite_difference_loss(
        o, s, lams, flips="nearest", clip="none", normalise="matched"
    ),
    "DIFD": lambda o, s, lams, budgets: losses.dual_finite_difference_loss(o, s, lams, clip="none"),
    "naive": lambda o, s, lams, budgets: losses.naive_finite_difference_loss(o, s, lams),
    "PPL": lambda o, s, lams, budgets: losses.primal_policy_learning_loss(o, s, budgets, priced=True, spend="matched"),
    "PIFD": lambda o, s, lams, budgets: losses.primal_finite_difference_loss(o, s, budgets, clip="max", priced=True),
    "perturbed": lambda o, s, lams, budgets: losses.perturbed_loss(o, s, lams, **DRAWS),
    "Fenchel-Young": lambda o, s, lams, budgets: losses.fenchel_young_loss(o, s, lams, **DRAWS),
}
every_loss = pytest.mark.parametrize("name", LOSSES)
# Values and their gradients by predictions, scores, multipliers and budgets: one program for all cases of a loss.
PROGRAMS = {name: jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2, 3))) for name, loss in LOSSES.items()}


def small_case(seed: int, n: int = N) -> tuple[Outcomes, Trial]:
    rng = np.random.default_rng(seed)
    r_hat, c_hat = rng.normal(size=(n, M)), rng.uniform(size=(n, M))
    t = rng.permutation(np.arange(n) % M)
    r, c = rng.uniform(size=(2, n))
    trial = Trial(*(jnp.asarray(a) for a in (np.zeros((n, 1)), t, r, c, np.full(M, 1 / M))))
    return Outcomes(jnp.asarray(r_hat), jnp.asarray(c_hat)), trial


def assert_same(one, other, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), one, other)


def alone(name, outcomes, surfaces, lams=LAMS, budgets=BUDGETS):
    """The loss and its gradient by the predictions."""
    loss, gradients = PROGRAMS[name](outcomes, surfaces, lams, budgets)
    return loss, gradients[0]


@pytest.mark.thorough
@every_loss
def test_blocks_of_people_change_nothing(name, monkeypatch):
    outcomes, trial = small_case(0)
    surfaces = scores.ipw(trial)
    at_once = alone(name, outcomes, surfaces)
    # 30 people in blocks of 7: the last block has 5 of them again.
    monkeypatch.setattr(dual, "BLOCK", 7)
    dual.dual_loss.clear_cache()  # type: ignore[attr-defined]
    in_blocks = jax.jit(jax.value_and_grad(LOSSES[name]))(outcomes, surfaces, LAMS, BUDGETS)
    dual.dual_loss.clear_cache()  # type: ignore[attr-defined]
    assert (np.asarray(in_blocks[1].r) != 0).any()
    # Float64 sums in another order.
    assert_same(at_once, in_blocks, rtol=1e-11, atol=1e-14)


@pytest.mark.thorough
@every_loss
def test_jit_and_vmap_give_what_a_loop_gives(name):
    outcomes, trial = small_case(1)
    surfaces = scores.ipw(trial)
    many = jax.tree.map(lambda leaf: np.stack([leaf, -leaf, leaf[::-1]]), outcomes)
    function = jax.value_and_grad(LOSSES[name])
    together = jax.jit(jax.vmap(function, in_axes=(0, None, None, None)))(many, surfaces, LAMS, BUDGETS)
    together = jax.tree.map(np.asarray, together)
    for k in range(3):
        expected = alone(name, jax.tree.map(lambda leaf, k=k: leaf[k], many), surfaces)
        assert_same(jax.tree.map(lambda leaf, k=k: leaf[k], together), expected, rtol=1e-11, atol=1e-14)


@every_loss
def test_edge_cases_give_finite_values_and_gradients(name):
    outcomes, trial = small_case(2)
    nobody = trial._replace(t=(hard(outcomes, 0.2) + 1) % M)
    missing = trial._replace(t=np.where(trial.t == 2, 0, trial.t))
    tied = Outcomes(jnp.zeros((N, M)), jnp.zeros((N, M)))
    tiny = trial._replace(p=np.array([1e-9, 0.5, 0.5 - 1e-9]))
    for case, (o, s, lams, budgets) in {
        "nobody matched": (outcomes, scores.ipw(nobody), LAMS, BUDGETS),
        "arm missing": (outcomes, scores.ipw(missing), LAMS, BUDGETS),
        "ties": (tied, scores.ipw(trial), LAMS, BUDGETS),
        "tiny propensity": (outcomes, scores.ipw(tiny), LAMS, BUDGETS),
        "lam 0, budget for all": (outcomes, scores.ipw(trial), 0 * LAMS, BUDGETS + 1e6),
        "lam huge, budget for none": (outcomes, scores.ipw(trial), LAMS * 1e30, 0 * BUDGETS),
        "truth without a difference": (outcomes, scores.truth(tied), LAMS, BUDGETS),
        "doubly robust": (outcomes, scores.aipw(trial, outcomes), LAMS, BUDGETS),
    }.items():
        loss, gradient = alone(name, o, s, lams, budgets)
        finite = [bool(np.isfinite(leaf).all()) for leaf in (loss, *gradient)]
        assert all(finite), f"{case}: finite value, gradient on revenue, on cost: {finite}"
        if case == "truth without a difference" and name != "Fenchel-Young":  # which knows targets, no values
            assert all((np.asarray(leaf) == 0).all() for leaf in gradient)
        if case == "lam 0, budget for all":
            assert name == "naive" or (np.asarray(gradient.c) == 0).all()


@every_loss
def test_scores_multipliers_and_budgets_are_data(name):
    outcomes, trial = small_case(3)
    _, gradients = PROGRAMS[name](outcomes, scores.ipw(trial), LAMS, BUDGETS)
    assert all((np.asarray(leaf) == 0).all() for leaf in jax.tree.leaves(gradients[1:]))


@every_loss
def test_no_array_has_an_entry_for_each_person_treatment_and_multiplier(name, monkeypatch):
    outcomes, trial = small_case(4, n=29)
    monkeypatch.setattr(dual, "BLOCK", 7)
    lams = jnp.linspace(0.1, 1, 11)
    program = str(jax.make_jaxpr(jax.grad(LOSSES[name]))(outcomes, scores.ipw(trial), lams, lams))
    sizes = [np.prod([int(d) for d in shape.split(",")]) for shape in re.findall(r"\[(\d+(?:,\d+)*)\]", program)]
    # What finds multipliers of budgets does so for a block of people at a time on CPUs, for everybody elsewhere.
    at_once = name in ("PPL", "PIFD") and jax.default_backend() != "cpu"
    assert max(sizes) == 29 * (11 if at_once else M)


@pytest.mark.parametrize(
    ("loss", "option"),
    [
        (losses.finite_difference_loss, {"clip": "fix"}),
        (losses.finite_difference_loss, {"normalise": "none"}),
        (losses.finite_difference_loss, {"through": "cost"}),
        (losses.dual_finite_difference_loss, {"flips": "runner-up"}),
        (losses.naive_finite_difference_loss, {"normalise": "mean"}),
        (losses.primal_policy_learning_loss, {"spend": "true"}),
        (losses.primal_finite_difference_loss, {"clip": "min"}),
    ],
)
def test_an_option_that_is_none_is_named_with_those_there_are(loss, option):
    outcomes, trial = small_case(0)
    name, word = next(iter(option.items()))
    with pytest.raises(InputError, match=f"{name}: found '{word}', expected '.*' or '"):
        loss(outcomes, scores.ipw(trial), 0.2, **option)


def test_alpha_and_temperature_may_follow_a_schedule():
    outcomes, trial = small_case(5)
    alpha, temperature = optax.linear_schedule(1.0, 0.0, 10), optax.exponential_decay(2.0, 5, 0.5)

    def loss(o, a, tau):
        decision = losses.policy_learning_loss(o, scores.ipw(trial), LAMS, temperature=tau)
        flips = losses.finite_difference_loss(o, scores.ipw(trial), LAMS, window=tau)
        return a * losses.prediction_loss(o, trial) + decision + flips

    scheduled = jax.jit(jax.value_and_grad(lambda o, step: loss(o, alpha(step), temperature(step))))
    constant = jax.jit(jax.value_and_grad(loss))
    for step in (0, 3):
        fixed = constant(outcomes, 1 - step / 10, 2.0 * 0.5 ** (step / 5))
        # optax counts in float32.
        assert_same(scheduled(outcomes, jnp.array(step)), fixed, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name", ["PL", "DIFD", "naive sample"])
def test_batches_of_one_size_average_to_their_union(name):
    outcomes, trial = small_case(6)
    surfaces = scores.ipw(trial)
    loss = {
        "naive sample": lambda o, s, lams, _: losses.naive_finite_difference_loss(o, s, lams, normalise="sample")
    }.get(name, LOSSES.get(name))
    assert loss is not None
    parts = jax.tree.map(lambda leaf: np.reshape(leaf, (5, N // 5, M)), (outcomes, surfaces))
    function = jax.value_and_grad(loss)
    values, gradients = jax.jit(jax.vmap(function, in_axes=(0, 0, None, None)))(*parts, LAMS, BUDGETS)
    value, gradient = jax.jit(function)(outcomes, surfaces, LAMS, BUDGETS)
    np.testing.assert_allclose(np.mean(values), value, rtol=1e-12)
    assert_same(jax.tree.map(lambda g: np.reshape(g, (N, M)) / 5, gradients), gradient, rtol=1e-12, atol=1e-16)


def test_self_normalised_values_average_by_the_weight_that_matched():
    outcomes, trial = small_case(12)
    surfaces, lam = scores.ipw(trial), 0.4
    matched = np.take_along_axis(np.asarray(surfaces.w), np.asarray(hard(outcomes, lam))[:, None], axis=1)
    matched = matched.reshape(3, N // 3).sum(axis=1)
    parts = jax.tree.map(lambda leaf: np.reshape(leaf, (3, N // 3, M)), (outcomes, surfaces))
    values = np.asarray(jax.jit(jax.vmap(lambda o, s: losses.finite_difference_loss(o, s, lam)))(*parts))
    whole = losses.finite_difference_loss(outcomes, surfaces, lam)
    np.testing.assert_allclose((values * matched).sum() / matched.sum(), whole, rtol=1e-12)
    assert abs(float(values.mean() - whole)) > 1e-3


def apply(params, x):
    y = jnp.tanh(x @ params)
    return Outcomes(y[:, :M], jnp.abs(y[:, M:]))


@jax.jit
def through_apply(params, x, gradient):
    """What a gradient by the predictions of the whole batch says of the parameters."""
    return jax.vjp(lambda params: apply(params, x), params)[1](gradient)[0]


@pytest.mark.thorough
@every_loss
def test_chunks_accumulate_the_gradient_of_the_whole_batch(name):
    outcomes, trial = small_case(8)
    x, surfaces = np.concatenate(outcomes, axis=1), scores.ipw(trial)
    weights = np.random.default_rng(0).normal(size=(2 * M, 2 * M))

    @jax.jit
    @jax.value_and_grad
    def in_chunks(params):
        # 30 people in chunks of 8: three, and 6 people left over.
        return LOSSES[name](losses.in_chunks(apply, 8)(params, jnp.asarray(x)), surfaces, LAMS, BUDGETS)

    loss, gradient = alone(name, jax.jit(apply)(weights, x), surfaces)
    assert_same(in_chunks(weights), (loss, through_apply(weights, x, gradient)), rtol=1e-10, atol=1e-14)
