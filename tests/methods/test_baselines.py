"""The baselines that learn from logs, each on a case whose answer is known."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError, Outcomes, Trial, losses, scores
from dfcl_jax.data import Task, simulate
from dfcl_jax.losses import decision
from dfcl_jax.methods import CFR, SILENT, BiLevel, Decision, DragonNet, JointDR, Pooled, TwoStage, describe, rebuild
from dfcl_jax.methods.dragonnet import targeted_loss
from dfcl_jax.methods.joint import joint_loss
from dfcl_jax.models import NetworkConfig, represented
from dfcl_jax.train import FitConfig, Hypergradient
from dfcl_jax.types import pick, take

pytestmark = pytest.mark.thorough

KEY = jax.random.key(0)
N, M = 40, 3
RNG = np.random.default_rng(0)


def surfaces() -> Outcomes:
    return Outcomes(*(jnp.asarray(RNG.normal(size=(N, M))) for _ in "rc"))


TRUTH, HAT, ERRORS = surfaces(), surfaces(), surfaces()
P = jnp.asarray(RNG.dirichlet(5 * np.ones(M), N))


def seen(t) -> Trial:
    return Trial(jnp.zeros((N, 1)), t, pick(TRUTH.r, t), pick(TRUTH.c, t), P)


TRIAL = seen(jnp.asarray(RNG.integers(M, size=N)))


def test_targeted_regularisation_solves_its_estimating_equation():
    g = pick(P, TRIAL.t)
    slope = jax.grad(lambda eps: targeted_loss(HAT, TRIAL, g, eps))
    curve = jax.hessian(lambda eps: targeted_loss(HAT, TRIAL, g, eps))(jnp.zeros(2))
    # The loss is quadratic, so one Newton step is its minimum.
    eps = -jnp.linalg.solve(curve, slope(jnp.zeros(2)))
    for y, y_hat, e in ((TRIAL.r, HAT.r, eps[0]), (TRIAL.c, HAT.c, eps[1])):
        left = (y - pick(y_hat, TRIAL.t) - e / g) / g
        # Of terms of size about 10, in float64.
        assert left.mean() == pytest.approx(0, abs=1e-12)
        assert np.abs(left).mean() > 0.1


def test_joint_learning_follows_the_squares_of_all_treatments_on_average():
    """Over who had what by propensities p, for any imputed errors: the gradient is that of the full surfaces."""
    floor = 1e-6

    def full(hat):
        return sum(((y - y_hat) ** 2).sum(axis=1).mean() for y, y_hat in zip(TRUTH, hat, strict=True))

    @jax.jit
    def given(t):
        """The gradient of every person, each of whom has treatment t."""
        return jax.grad(lambda hat: joint_loss(hat, ERRORS, seen(jnp.full(N, t)), floor=floor))(HAT)

    by_arm = [given(arm) for arm in range(M)]
    expected = jax.grad(full)(HAT)
    for name in ("r", "c"):
        mean = sum(P[:, arm, None] * getattr(by_arm[arm], name) for arm in range(M))
        np.testing.assert_allclose(mean, getattr(expected, name), rtol=1e-9, atol=1e-12)


def test_imputed_errors_learn_what_predictions_miss_and_move_no_prediction():
    missed = Outcomes(TRUTH.r - HAT.r, TRUTH.c - HAT.c)
    by_errors = jax.grad(lambda errors: joint_loss(HAT, errors, TRIAL, floor=0.05))
    for leaf in by_errors(missed):
        np.testing.assert_allclose(leaf, 0, atol=1e-12)
    off = by_errors(ERRORS)
    given = jax.nn.one_hot(TRIAL.t, M)
    expected = 2 * given * (ERRORS.r - missed.r) / jnp.maximum(P, 0.05) / N
    np.testing.assert_allclose(off.r, expected, rtol=1e-9)


def test_the_bridge_of_auto_debias_at_zero_weighs_all_that_was_seen_alike():
    bridge = Outcomes(*(jnp.zeros((N, 3 * M)) for _ in "rc"))
    loss = losses.auto_debias_loss(HAT, TRIAL, HAT, bridge, imputed=0.5)
    factual = sum(float(((y - pick(h, TRIAL.t)) ** 2).mean()) for y, h in ((TRIAL.r, HAT.r), (TRIAL.c, HAT.c)))
    imputed = sum(float((h**2).sum(axis=1).mean()) for h in HAT)
    assert float(loss) == pytest.approx(factual + 0.5 * imputed, rel=1e-12)
    # With imputed outcomes that are the predictions, and weights of 5 log 3, only what was seen counts, three times.
    heavy = Outcomes(*(jnp.concatenate([jnp.full((N, M), 5 * np.log(3)), jnp.zeros((N, M)), h], axis=1) for h in HAT))
    assert float(losses.auto_debias_loss(HAT, TRIAL, HAT, heavy)) == pytest.approx(3 * factual, rel=1e-12)


def test_a_representation_is_what_the_heads_read():
    network = represented(M, trunk=(5, 4), head=(6,))
    x = jnp.asarray(RNG.normal(size=(N, 2)))
    params = network.model.init(KEY, x)
    h = network.represent(params, x)
    assert h.shape == (N, 4)
    heads = params | {"trunk": jax.tree.map(jnp.zeros_like, params["trunk"])}
    # With nothing in the representation, everybody is predicted alike.
    alike = network.model.apply(heads, x)
    np.testing.assert_allclose(alike.r, jnp.broadcast_to(alike.r[:1], alike.r.shape), rtol=1e-6)
    assert np.ptp(np.asarray(network.model.apply(params, x).r), axis=0).min() > 0


NETWORK = NetworkConfig(hidden=(16,), head=(8,))
TRAINING = FitConfig(epochs=6, batch_size=256, learning_rate=1e-2)
START = TwoStage(NETWORK, training=TRAINING)
METHODS = {
    "CFR-MMD": Pooled(CFR(NETWORK, TRAINING), "observed"),
    "DragonNet": Pooled(DragonNet(NETWORK, TRAINING), "observed"),
    "DR-JT": Pooled(JointDR(NETWORK, TRAINING), "observed", propensities="learned"),
    "AutoDebias": BiLevel(
        Decision(scores.raw, decision.weighted_squares, START, TRAINING),
        losses.auto_debias_loss,
        TRAINING,
        Hypergradient("explicit", k=2),
        bridge=NetworkConfig(hidden=()),
        outputs=3,
    ),
}


@pytest.fixture(scope="module")
def task() -> Task:
    """Logs whose policy treats at random, so that they are as good as a trial."""
    population = simulate.marketing_population(KEY)
    logs, (rct, _) = simulate.confounded(population, jax.random.key(1), 2000, 800, strength=0.0)
    train, valid = (take(rct, jnp.arange(*ends)) for ends in ((0, 400), (400, 800)))
    return Task(train, valid, (0.05,), observed=logs.trial)


@pytest.mark.parametrize("name", METHODS)
def test_a_baseline_predicts_better_than_the_mean_of_each_treatment(task, name):
    method = METHODS[name]
    fresh = task.valid
    hat = method.predict(method.fit(KEY, task, SILENT), fresh.x)
    means = [task.observed.r[task.observed.t == arm].mean() for arm in range(5)]
    by_mean = jnp.broadcast_to(jnp.stack(means), hat.r.shape)

    def misfit(r):
        return float(((fresh.r - pick(r, fresh.t)) ** 2).mean())

    assert misfit(hat.r) < misfit(by_mean)


@pytest.mark.parametrize("name", METHODS)
def test_a_baseline_comes_back_from_its_description(name):
    assert rebuild(describe(METHODS[name])) == METHODS[name]


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: CFR(alpha=-1.0), "alpha of CFR: found -1.0"),
        (lambda: DragonNet(beta=float("inf")), "beta of DragonNet: found inf"),
        (lambda: DragonNet(floor=0.0), "floor of DragonNet: found 0.0"),
        (lambda: JointDR(floor=1.0), "floor of JointDR: found 1.0"),
        (lambda: CFR(training=FitConfig(devices=2)), "devices of CFR: found 2"),
        (lambda: CFR(training=FitConfig(chunk=10)), "chunk of CFR: found 10"),
        (lambda: CFR(training=FitConfig(through="revenue")), "through of CFR: found revenue"),
        (lambda: CFR(training=FitConfig(compute="bfloat16")), "compute of CFR: found bfloat16"),
        (lambda: CFR(replace(NETWORK, members=2)), "network of CFR: found mlp of 2"),
    ],
)
def test_what_contradicts_is_refused_when_a_baseline_is_made(make, what):
    with pytest.raises(InputError, match=what):
        make()
