"""Trials with logs beside them, as Bi-DFCL's experiment draws them."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from dfcl_jax import InputError, Trial
from dfcl_jax.data import Columns, simulate, trial_table
from dfcl_jax.data.simulate import MarketingDials
from dfcl_jax.runs.logged import confounded_split, hybrid_split, thinned_split

pytestmark = pytest.mark.thorough

N = 4000
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame({"history": RNG.gamma(1.0, 100.0, N), "x": RNG.normal(size=N), "t": RNG.integers(0, 3, N)})
FRAME = FRAME.assign(r=RNG.random(N), c=0.5 * FRAME.t + RNG.random(N))
TABLE = trial_table(FRAME, Columns("t", "r", "c", ("history", "x"), propensities=(1 / 3, 1 / 3, 1 / 3)))


def logs_of(strength: float) -> Trial:
    split = thinned_split(TABLE, 0, by="history", strength=strength)
    logs = split.task.observed
    assert isinstance(logs, Trial)
    return logs


def test_a_thinned_trial_has_a_quarter_for_the_trial_and_people_in_one_part_only():
    split = thinned_split(TABLE, 0, by="history", strength=1.0)
    logs = split.task.observed
    assert isinstance(logs, Trial)
    train = split.task.train
    assert isinstance(train, Trial)
    parts = [np.asarray(part.r) for part in (train, split.task.valid, split.exam.test, logs)]
    assert [len(part) for part in parts] == [800, 200, 1200, 560]
    together = np.concatenate(parts)
    assert len(np.unique(together)) == len(together)


def test_the_rule_gives_dearer_treatments_to_people_of_more_history_with_the_propensities_that_it_states():
    logs = logs_of(1.0)
    history, t = np.asarray(logs.x[:, 0]), np.asarray(logs.t)
    assert history[t == 0].mean() < history[t == 1].mean() < history[t == 2].mean()
    p = np.asarray(logs.p)
    given = np.eye(3)[t]
    # Four standard errors of shares of 560 people, within the half of more history and that of less.
    for half in (history > np.median(history), history <= np.median(history)):
        assert np.abs(given[half].mean(axis=0) - p[half].mean(axis=0)).max() < 4 * 0.5 / np.sqrt(280)


def test_a_rule_of_strength_0_thins_at_random():
    np.testing.assert_allclose(logs_of(0.0).p, 1 / 3, rtol=1e-6)


def test_marketing_with_any_discounts():
    dials = MarketingDials(discounts=tuple(0.03 * step for step in range(8)))
    population = simulate.marketing_population(jax.random.key(0), dials)
    split = confounded_split(population, jax.random.key(1), (300, 100, 200), 500, strength=1.0)
    truth = split.exam.truth
    assert truth is not None
    assert truth.r.shape == (200, 8)
    assert split.task.observed.sample(9).p.shape == (9, 8)  # pyright: ignore
    # The largest discount brings the whole lift, 1.2 sigmoid(.) of the base; each discount is paid on what it brings.
    assert (np.diff(np.asarray(truth.r), axis=1) > 0).all()
    np.testing.assert_allclose(truth.c, truth.r * jnp.asarray(dials.discounts)[None, :], rtol=1e-5)
    lift = truth.r[:, -1] / truth.r[:, 0] - 1
    assert lift.min() > 0
    assert lift.max() < 1.2


def test_a_hidden_feature_is_missing_everywhere_and_the_logs_policy_knew_it():
    population, parts = simulate.marketing_population(jax.random.key(0)), (2000, 100, 200)
    seen, hidden = (
        confounded_split(population, jax.random.key(1), parts, 2000, strength=1.0, hidden=hidden) for hidden in (0, 1)
    )
    x, rest = (np.asarray(split.task.observed.sample(2000).x) for split in (seen, hidden))  # pyright: ignore
    gone = [column for column in x.T if not (column[:, None] == rest).all(axis=0).any()]
    assert len(gone) == 1
    for before, after in zip((seen.task.valid, seen.exam.test), (hidden.task.valid, hidden.exam.test), strict=True):
        assert after.x.shape[1] == before.x.shape[1] - 1
        np.testing.assert_array_equal(after.r, before.r)
    # The policy knew it: the treatment follows the missing feature more than any other.
    dear = np.asarray(seen.task.observed.sample(2000).t) - 2.0  # pyright: ignore
    followed = np.abs([np.corrcoef(column, dear)[0, 1] for column in (gone[0], *rest.T)])
    assert followed[0] == followed.max()


def test_there_is_a_recorded_feature():
    population = simulate.marketing_population(jax.random.key(0))
    with pytest.raises(InputError, match=r"hidden features: found 30, expected from 0 to below 30"):
        confounded_split(population, jax.random.key(1), (20, 20, 20), 20, strength=1.0, hidden=30)


def test_five_discounts_of_the_default_are_the_first_of_any():
    """The default population is what it was: the dial changes nothing else."""
    key = jax.random.key(3)
    usual, given = simulate.marketing(key, 50), simulate.marketing(key, 50, discounts=(0.0, 0.05, 0.1, 0.15, 0.2))
    jax.tree.map(np.testing.assert_array_equal, usual, given)


@pytest.mark.parametrize("discounts", [(0.1,), (0.1, 0.1), (0.2, 0.1), (-0.1, 0.1), (0.0, 1.0)])
def test_discounts_that_none_can_be_are_refused(discounts):
    with pytest.raises(ValueError, match=r"discounts: found .*, expected at least 2 numbers from 0 to below 1, rising"):
        MarketingDials(discounts=discounts)


def test_a_hybrid_has_as_many_logs_for_every_seed():
    sizes = set()
    for seed in (0, 1):
        split = hybrid_split(jax.random.key(seed), 2000, (0.3, 0.2), certainty=0.9, seed=seed)
        sizes.add((split.task.train.rows, split.task.valid.rows, split.task.observed.rows))  # pyright: ignore
    assert sizes == {(100, 200, 480)}
