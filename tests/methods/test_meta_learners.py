from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError, Outcomes, Trial, TwoStage
from dfcl_jax.data import Task
from dfcl_jax.methods import SILENT, DRLearner, RLearner, WeightedTwoStage, XLearner
from dfcl_jax.methods.over_seeds import OverSeeds
from dfcl_jax.methods.r_learner import Residuals, residual_loss
from dfcl_jax.methods.regression import nuisances
from dfcl_jax.models import NetworkConfig
from dfcl_jax.train import ONE_SEED, FitConfig

pytestmark = pytest.mark.thorough

KEY = jax.random.key(0)
P = np.array([0.5, 0.2, 0.3])
NOISE = 0.1


def truth(x: np.ndarray) -> Outcomes:
    """Revenue and cost that are linear in two features, with effects that are, too."""
    arm = np.arange(3)
    r = 3 + x[:, :1] + arm * (1 + 0.5 * x[:, 1:2])
    c = 0.2 * arm * (3 + 0.5 * x[:, :1])
    return Outcomes(jnp.asarray(r), jnp.asarray(c))


def people(n: int, seed: int) -> Trial:
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, size=(n, 2))
    t = rng.choice(3, n, p=P)
    r, c = (np.asarray(surface)[np.arange(n), t] + NOISE * rng.normal(size=n) for surface in truth(x))
    return Trial(*map(jnp.asarray, (x, t, r, c, P)))


N = 2000
TASK = Task(people(N, 0), people(500, 1), (0.2,))
X = np.asarray(people(300, 2).x)
LINEAR, TRAINING = NetworkConfig(hidden=()), FitConfig(epochs=12, batch_size=100, learning_rate=0.03, weight_decay=0.0)
NUISANCE = TwoStage(LINEAR, training=TRAINING)
GIVEN = {"nuisance": NUISANCE, "network": LINEAR, "training": TRAINING}
LEARNERS = {
    "X": XLearner(**GIVEN),
    "R": RLearner(**GIVEN),
    "DR": DRLearner(**GIVEN),
    "DR, own units": DRLearner(**GIVEN, own_units=True),
    "weighted": WeightedTwoStage(NUISANCE, TRAINING),
    "T": replace(NUISANCE, network=NetworkConfig("per_arm", hidden=())),
}


@pytest.fixture(scope="module")
def log():
    """Learners take two-stage learning as it was trained once."""
    nuisance = NUISANCE.fit(KEY, TASK, SILENT)

    def known(method, key, tasks):
        return [nuisance] if len(tasks) == 1 else SILENT.fitted(method, key, tasks)

    return SILENT._replace(fitted=known)


@pytest.fixture(scope="module")
def fitted(log):
    return {name: method.fit(KEY, TASK, log) for name, method in LEARNERS.items()}


@pytest.mark.parametrize("name", LEARNERS)
def test_linear_effects_are_recovered(name, fitted):
    """By least squares an effect of arm j, a line in two features, has a standard error of about
    noise sqrt(3 (1/p_j + 1/p_0) / n) at most, 0.011; five of them, and twice that for cross-fitting by halves."""
    found = LEARNERS[name].predict(fitted[name], jnp.asarray(X))
    for mine, true in zip(found, truth(X), strict=True):
        mine, true = (np.asarray(surface) for surface in (mine, true))
        np.testing.assert_allclose(mine[:, 1:] - mine[:, :1], true[:, 1:] - true[:, :1], atol=0.11)
        # Surfaces are money: their level is right, too.
        np.testing.assert_allclose(mine, true, atol=0.15)


@pytest.mark.parametrize("name", ["X", "R", "DR"])
def test_a_saved_learner_decides_alike(name, fitted, decides_alike_once_saved):
    decides_alike_once_saved(LEARNERS[name], fitted[name], X, truth(X), 0.4)


def test_the_same_key_gives_the_same_learner(fitted, log):
    again = LEARNERS["DR"].fit(KEY, TASK, log)
    jax.tree.map(np.testing.assert_array_equal, again, fitted["DR"])


@pytest.mark.parametrize("name", ["X", "R", "DR", "weighted"])
def test_a_seed_alone_is_that_seed_among_others(name, fitted):
    """One program rounds as the other does but where its loops are fused otherwise."""
    other = Task(people(N, 3), people(500, 4), (0.2,), seed=1)
    many = LEARNERS[name].fit_many(KEY, [TASK, other], SILENT)
    jax.tree.map(lambda one, both: np.testing.assert_allclose(one, both[0], rtol=1e-9, atol=1e-9), fitted[name], many)


def test_nobody_is_predicted_by_a_model_that_has_seen_them():
    """What is predicted for a person does not depend on their own outcome; it does if the model is of all people."""

    def predicted(own: float, folds: int) -> np.ndarray:
        trial = people(N, 0)
        task = TASK._replace(train=trial._replace(r=trial.r.at[7].set(own)))
        known = nuisances(NUISANCE, KEY, [task], SILENT, ONE_SEED, folds=folds)
        return np.asarray(known.hat.r[7] * known.counted.units.r)

    np.testing.assert_allclose(predicted(0.0, folds=2), predicted(1e3, folds=2), rtol=1e-9)
    assert np.abs(predicted(0.0, folds=1) - predicted(1e3, folds=1)).max() > 0.1


def test_the_residual_loss_is_that_of_nie_and_wager_with_two_treatments():
    rng = np.random.default_rng(0)
    left, t, effect, p = rng.normal(size=50), rng.integers(0, 2, 50), rng.normal(size=(50, 2)), 0.3
    given = np.stack([1.0 - t - (1 - p), t - p], axis=1)
    residuals = Residuals(*map(jnp.asarray, (left, np.zeros(50), given, np.ones(50))))
    tau = effect[:, 1] - effect[:, 0]
    loss = residual_loss(Outcomes(jnp.asarray(effect), jnp.zeros((50, 2))), residuals)
    assert float(loss) == pytest.approx(((left - (t - p) * tau) ** 2).mean() / 2, rel=1e-12)


@pytest.mark.parametrize("learner", [DRLearner, RLearner])
def test_scores_of_people_whom_the_model_has_seen_are_refused(learner):
    with pytest.raises(InputError, match="folds: found 1, expected at least 2"):
        learner(folds=1)


def test_a_method_over_seeds_that_does_not_learn_cannot_be_made():
    class Idle(OverSeeds):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Idle()  # pyright: ignore[reportAbstractUsage]
