import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import Decision, InputError, Outcomes, Policy, TwoStage, load_policy, metrics, save_policy, scores
from dfcl_jax.data import Task, simulate, split_simulation
from dfcl_jax.losses import prediction_loss
from dfcl_jax.losses.decision import entropy_regularised
from dfcl_jax.methods import SILENT, CheapestArm, Ensemble
from dfcl_jax.methods.ensemble import STRIDE, common_units
from dfcl_jax.models import NetworkConfig
from dfcl_jax.train import FitConfig

pytestmark = pytest.mark.thorough

KEY = jax.random.key(0)
TRAINING = FitConfig(epochs=2, batch_size=100, learning_rate=1e-2)
TWO_STAGE = TwoStage(NetworkConfig(hidden=(8,)), training=TRAINING)
DECISION = Decision(scores.centred, entropy_regularised, TWO_STAGE, TRAINING, by_rows=True)
SIMULATE = jax.jit(simulate.marketing, static_argnums=1)
BUDGETS = (0.03, 0.06)
SPLITS = [
    split_simulation(SIMULATE(jax.random.key(seed), 1200), 600, 300, budgets=BUDGETS, seed=seed) for seed in (0, 1)
]
TASKS = [split.task for split in SPLITS]
X = SPLITS[0].exam.test.x


@pytest.fixture(scope="module", params=[TWO_STAGE, DECISION], ids=["two-stage", "decision"])
def many(request):
    """An ensemble of three learned from two seeds in one program."""
    ensemble = Ensemble(request.param, members=3)
    return ensemble, ensemble.fit_many(KEY, TASKS, SILENT)


def of_seed(params, k):
    return jax.tree.map(lambda leaf: leaf[k], params)


def test_the_first_member_is_the_method_itself_and_the_others_are_others(many):
    ensemble, params = many
    itself = ensemble.of.fit(KEY, TASKS[0], SILENT)
    members = [of_seed(params[str(k)], 0) for k in range(3)]
    # One program rounds as the other does but where its loops are fused otherwise.
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12), itself, members[0])
    first, *rest = (np.asarray(ensemble.of.predict(member, X).r) for member in members)
    assert all(np.abs(first - other).max() > 1e-3 for other in rest)


def test_a_seed_alone_is_that_seed_among_others(many):
    ensemble, params = many
    alone = ensemble.fit(KEY, TASKS[1], SILENT)
    jax.tree.map(lambda one, both: np.testing.assert_allclose(one, both[1], rtol=1e-9, atol=1e-12), alone, params)


def test_it_decides_alike_once_saved(many, tmp_path):
    ensemble, params = many
    params, truth = of_seed(params, 0), SPLITS[0].exam.truth
    assert truth is not None
    curve = metrics.spend_curve(ensemble.predict(params, X), scores.truth(truth))
    policy = Policy(ensemble, params, None, tuple("abcde"), curve)
    save_policy(policy, tmp_path / "policy")
    decided = policy(np.asarray(X), BUDGETS[1])
    assert len(set(decided)) > 1
    np.testing.assert_array_equal(load_policy(tmp_path / "policy")(np.asarray(X), BUDGETS[1]), decided)


def test_predicted_money_is_the_mean_of_the_members_and_fits_no_worse_than_they_do_on_average():
    """Jensen's inequality: squares are convex, on any people."""
    ensemble = Ensemble(TWO_STAGE, members=3)
    params = ensemble.fit(KEY, TASKS[0], SILENT)
    each = [TWO_STAGE.predict(params[str(k)], X) for k in range(3)]
    mean = ensemble.predict(params, X)
    np.testing.assert_allclose(mean.r, np.mean([np.asarray(y.r) for y in each], axis=0), rtol=1e-6)
    test = SPLITS[0].exam.test
    losses = [float(prediction_loss(y, test)) for y in each]
    assert float(prediction_loss(mean, test)) < np.mean(losses)
    assert ensemble.money


def test_members_of_new_parts_have_the_same_people_between_them_and_the_first_is_the_method_itself():
    task, ensemble = TASKS[0], Ensemble(TWO_STAGE, members=3, resplit=True)
    parts = [ensemble._task(KEY, task, k) for k in range(3)]
    assert parts[0].train is task.train

    def outcomes(part: Task) -> np.ndarray:
        return np.sort(np.concatenate([part.train.sample(part.train.rows).r, part.valid.r]))

    for part in parts[1:]:
        assert (part.train.rows, part.valid.rows) == (task.train.rows, task.valid.rows)
        np.testing.assert_array_equal(outcomes(part), outcomes(task))
        # By chance a third of 300 people, with a standard deviation of 7, are in both validation parts.
        assert 50 < np.isin(part.valid.r, task.valid.r).sum() < 150
    assert len({part.seed for part in parts}) == 3


UNITS = [(1.0, 1.0), (1000.0, 1.0), (0.01, 5.0), (3.0, 0.2)]


def counted(surfaces: Outcomes, size: float, price: float) -> Outcomes:
    """The same decisions by surfaces of another size, at multipliers divided by `price`."""
    return Outcomes(size * surfaces.r, size * price * surfaces.c)


@pytest.fixture(scope="module")
def two():
    """Surfaces of two rankings, the truth and a distorted one."""
    truth = SPLITS[0].exam.truth
    assert truth is not None
    noise = jax.random.normal(KEY, truth.r.shape)
    return truth, Outcomes(truth.r + 0.05 * noise, truth.c)


def test_members_that_rank_alike_are_brought_to_one_unit_exactly(two):
    truth, _ = two
    members = [counted(truth, size, price) for size, price in UNITS]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    units = common_units(stacked, scores.truth(truth), jnp.array(BUDGETS))
    r, c = (np.asarray(y) / np.asarray(u)[:, None, None] for y, u in zip(stacked, units, strict=True))
    for k in range(1, len(UNITS)):
        # Multipliers are bisected in float64, to about 1e-12 of the largest one.
        np.testing.assert_allclose(r[k], r[0], rtol=1e-6)
        np.testing.assert_allclose(c[k], c[0], rtol=1e-6)


@pytest.mark.parametrize(("size", "price"), UNITS[1:])
def test_the_mean_decides_alike_in_whatever_unit_a_member_counts(two, size, price):
    truth, other = two
    settling = scores.truth(truth)

    def value(second: Outcomes) -> np.ndarray:
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), truth, second)
        units = common_units(stacked, settling, jnp.array(BUDGETS))
        mean = Outcomes(*((y / u[:, None, None]).mean(axis=0) for y, u in zip(stacked, units, strict=True)))
        return np.asarray(metrics.eom(mean, settling, jnp.array(BUDGETS)).revenue)

    np.testing.assert_allclose(value(counted(other, size, price)), value(other), rtol=1e-6)


def test_what_cannot_be_an_ensemble_is_refused():
    with pytest.raises(InputError, match="members of an ensemble: found 1, expected 2 to 512"):
        Ensemble(TWO_STAGE, members=1)
    with pytest.raises(InputError, match="method of an ensemble: found CheapestArm, expected one that has `fit_many`"):
        Ensemble(CheapestArm())
    with pytest.raises(InputError, match=f"seed of an ensemble: found {STRIDE}"):
        Ensemble(TWO_STAGE).fit(KEY, TASKS[0]._replace(seed=STRIDE), SILENT)
