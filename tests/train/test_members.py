import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.typing import ArrayLike

from dfcl_jax import InputError, Trial
from dfcl_jax.losses import prediction_loss
from dfcl_jax.models import mlp
from dfcl_jax.train import ALL_SEEDS, FitConfig, Rows, Stage, Validation, fit, make_trainer, members, with_members
from dfcl_jax.types import stack

SEEDS, K, N, D, M = 2, 5, 300, 3, 2
MODEL = mlp(M, hidden=(8,))
CONFIG = FitConfig(epochs=3, batch_size=100, learning_rate=1e-2)


def linear_trial(seed: int, n: int) -> Trial:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, D))
    t = rng.integers(0, M, n)
    return Trial(*(jnp.asarray(a) for a in (x, t, x[:, 0] + t, x[:, 1] * t, np.full(M, 1 / M))))


TRAIN = stack([linear_trial(seed, N) for seed in range(SEEDS)])
VALID = stack([linear_trial(10 + seed, 2000) for seed in range(SEEDS)])
KEYS = jax.random.split(jax.random.key(0), SEEDS)
START = jax.jit(jax.vmap(lambda key, x: jax.tree.map(jnp.float64, MODEL.init(key, x[:1]))))(KEYS, TRAIN.x)
WEIGHTS = jnp.broadcast_to(jnp.linspace(0.5, 2, K), (SEEDS, K))
PACES = jnp.broadcast_to(jnp.linspace(0.2, 3, K), (SEEDS, K))


def weighted(outcomes, rows, weight):
    return weight * prediction_loss(outcomes, rows.trial)


def accuracy(outcomes, trial):
    return -prediction_loss(outcomes, trial)


VALIDATION = Validation(VALID.x, VALID)
STAGE = Stage(MODEL, weighted, accuracy, CONFIG)


def run(weights=WEIGHTS, pace: ArrayLike = PACES, *, seeds=ALL_SEEDS):
    return fit(KEYS, START, Rows(TRAIN), weights, VALIDATION, STAGE, pace=pace, seeds=seeds)


@pytest.fixture(scope="module")
def together():
    return run(seeds=with_members(K))


def assert_same(one, other):
    # Float64 products in another blocking, through 9 Adam steps.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), one, other)


def test_a_member_is_the_same_fit_alone(together):
    assert together.loss.shape == (CONFIG.epochs, SEEDS, K)
    for k in (0, K - 1):
        member = jax.tree.map(lambda leaf, k=k: leaf[:, k], together.params)
        alone = run(WEIGHTS[:, k], PACES[:, k])
        assert_same(member, alone.params)
        assert_same((together.loss[..., k], together.value[..., k]), (alone.loss, alone.value))


def test_a_pace_of_all_members_is_one_number(together):
    alone = run(WEIGHTS, 0.2, seeds=with_members(K))
    assert_same(
        jax.tree.map(lambda leaf: leaf[:, 0], (alone.params,)),
        jax.tree.map(lambda leaf: leaf[:, 0], (together.params,)),
    )


def need(at_once: int) -> int:
    """Bytes of the program of an epoch."""
    trainer = make_trainer(STAGE, N)
    states = jax.eval_shape(jax.vmap(members.of_members(trainer, K).start), KEYS, START, VALIDATION, PACES)
    data = states, Rows(TRAIN), WEIGHTS, VALIDATION
    return members.bytes_beside_arguments(members.program(trainer, True, data, at_once))


@pytest.mark.thorough
def test_what_does_not_fit_is_split_and_the_split_changes_nothing(together, monkeypatch):
    sizes = []
    compile_ = members.program
    monkeypatch.setattr(members, "program", lambda *how: sizes.append(how[-1]) or compile_(*how))
    limit = need(2)
    sizes.clear()
    assert_same(run(seeds=with_members(K, memory=limit)), together)
    assert sizes[0] == K
    assert 1 <= sizes[-1] <= 2


def test_a_limit_below_one_member_is_named():
    with pytest.raises(InputError, match=r"memory: found 0 MiB, expected .* MiB for one member of each seed"):
        run(WEIGHTS[:, :1], PACES[:, :1], seeds=with_members(1, memory=1))


def test_groups_are_the_fewest_and_near_to_equal():
    assert [members.group_size(8, at_most) for at_most in range(8, 0, -1)] == [8, 4, 4, 4, 4, 3, 2, 1]


def test_a_seed_whose_members_all_diverge_is_an_error_and_one_that_has_others_is_not():
    broken = WEIGHTS.at[0, 0].set(jnp.nan)
    one = run(broken, seeds=with_members(K))
    assert np.isnan(one.loss[-1, 0, 0])
    assert np.isfinite(np.delete(one.loss[-1].ravel(), 0)).all()
    with pytest.raises(InputError, match="training loss in epoch 1"):
        run(broken.at[0].set(jnp.nan), seeds=with_members(K))


def test_there_is_memory():
    assert members.available_memory() > 2**24
