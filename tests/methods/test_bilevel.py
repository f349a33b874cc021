import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from dfcl_jax import Decision, InputError, Trial, TwoStage, losses, methods, scores
from dfcl_jax.data import Columns, Encoder, Exam, Split, StreamedTrial, Task, open_trial, simulate
from dfcl_jax.data.encode import NumericColumn
from dfcl_jax.losses import decision
from dfcl_jax.methods import SILENT, BiLevel, Pooled, describe, rebuild
from dfcl_jax.models import NetworkConfig
from dfcl_jax.study import Cells, compare, policy_of
from dfcl_jax.train import FitConfig, Hypergradient
from dfcl_jax.types import take

pytestmark = pytest.mark.thorough

KEY = jax.random.key(0)
START = TwoStage(NetworkConfig(hidden=(8,)), training=FitConfig(epochs=2, batch_size=100, learning_rate=1e-3))
UPPER = Decision(scores.raw, decision.primal_policy_learning, START, FitConfig(batch_size=200))
METHOD = BiLevel(
    UPPER,
    training=FitConfig(epochs=3, batch_size=300, learning_rate=1e-2),
    hypergradient=Hypergradient(k=2, n_cg=5),
)
POPULATION = simulate.marketing_population(KEY)


def split_of(seed: int) -> Split:
    logs, (rct, truth) = simulate.confounded(POPULATION, jax.random.key(seed), 1500, 1200)
    train, valid, test = (take(rct, jnp.arange(*ends)) for ends in ((0, 400), (400, 800), (800, 1200)))
    task = Task(train, valid, (0.03, 0.08), seed, observed=logs.trial)
    return Split(task, Exam(test, jax.tree.map(lambda leaf: leaf[800:], truth)))


SPLITS = [split_of(seed) for seed in (0, 1)]
TASK = SPLITS[0].task


STARTS = {}


def _fitted(method, key, tasks):
    """Two-stage networks, each of which is trained once."""
    for task in tasks:
        if (method, task.train.rows, task.seed) not in STARTS:
            STARTS[method, task.train.rows, task.seed] = method.fit(KEY, task, SILENT)
    return [STARTS[method, task.train.rows, task.seed] for task in tasks]


QUIET = SILENT._replace(fitted=_fitted)


def same(one, other) -> bool:
    return all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a == b).all()), one, other)))


@pytest.fixture(scope="module")
def params():
    return METHOD.fit(KEY, TASK, QUIET)


def test_the_same_key_gives_the_same_parameters(params):
    assert same(METHOD.fit(KEY, TASK, QUIET), params)
    assert not same(METHOD.fit(jax.random.key(1), TASK, QUIET), params)


def test_a_seed_alone_is_that_seed_among_others(params):
    many = METHOD.fit_many(KEY, [split.task for split in SPLITS], QUIET)
    # One program rounds as the other does but where its loops are fused otherwise, and training amplifies it.
    jax.tree.map(lambda one, all_: np.testing.assert_allclose(one, all_[0], rtol=1e-4, atol=1e-5), params, many)


def test_training_improves_the_value_on_the_validation_part():
    study = compare(KEY, SPLITS[:1], {"TSM-SL": START, "Bi": METHOD})
    history = study.history[study.history.method == "Bi"]
    assert np.isfinite(history.loss).all()
    assert history.loss.iloc[-1] < history.loss.iloc[0]
    assert history.value.iloc[-1] > history.value.iloc[0]
    # The start takes part in the choice, so what is kept is not what two-stage learning has.
    assert not same(study.cells["Bi"][0].params["net"], study.cells["TSM-SL"][0].params["net"])


class Stop(Exception):
    pass


def test_a_run_that_is_interrupted_ends_as_one_that_is_not(tmp_path: Path, params):
    def interrupt(epoch):
        if epoch.epoch == 1 and epoch.stage == "":
            raise Stop

    def on_stage(label, epochs):
        return interrupt if label == "Bi" else lambda epoch: None

    watcher = Cells(tmp_path)._watcher._replace(on_stage=on_stage)
    with pytest.raises(Stop):
        Cells(tmp_path, seconds=0, watcher=watcher).train("Bi", METHOD, KEY, [TASK])
    seen = []
    watcher = watcher._replace(on_stage=lambda label, epochs: lambda epoch: seen.append((label, epoch.epoch)))
    (cell,) = Cells(tmp_path, seconds=0, watcher=watcher).train("Bi", METHOD, KEY, [TASK])
    assert ("Bi", 0) not in seen
    assert ("Bi", 2) in seen
    assert same(cell.params, params)
    assert len(cell.record) == METHOD.training.epochs


LADDER = {
    "bridge as weights": replace(METHOD, lower=losses.gated_factual_loss, hypergradient=Hypergradient("explicit", k=2)),
    "pseudo-labels": replace(METHOD, hypergradient=Hypergradient("explicit", k=2)),
    "frozen labels": replace(METHOD, lower=partial(losses.pseudo_label_loss, labels="frozen")),
    "Hessian": replace(METHOD, hypergradient=replace(METHOD.hypergradient, curvature="hessian")),
    "PIFD": replace(METHOD, upper=replace(UPPER, loss=decision.primal_finite_difference)),
    "own units": replace(
        METHOD,
        upper=replace(UPPER, scores=scores.centred_in_own_units, loss=decision.entropy_regularised, tracked=True),
    ),
    "KD-Label": replace(METHOD, gate=1.0),
    "LTD-DR": replace(
        METHOD,
        upper=replace(UPPER, loss=decision.weighted_squares),
        lower=losses.doubly_robust_label_loss,
        hypergradient=Hypergradient("explicit", k=2),
    ),
    "observed": Pooled(START, "observed"),
    "both": Pooled(START),
    "both, learned": Pooled(START, propensities="learned"),
    "both, given": Pooled(UPPER, propensities="given"),
}


@pytest.mark.parametrize("name", ["bridge as weights", "PIFD", "own units", "KD-Label", "LTD-DR", "both, given"])
def test_every_rung_is_another_method_that_learns(name, params):
    method = LADDER[name]
    learned = method.fit(KEY, TASK, QUIET)
    outcomes = method.predict(learned, SPLITS[0].exam.test.x)
    assert all(np.isfinite(leaf).all() for leaf in outcomes)
    assert not same(learned["net"], params["net"])


@pytest.mark.parametrize("name", LADDER)
def test_a_rung_comes_back_from_json_as_it_was(name):
    described = json.dumps(describe(LADDER[name]))
    assert describe(rebuild(json.loads(described))) == json.loads(described)
    others = [json.dumps(describe(method)) for other, method in LADDER.items() if other != name]
    assert described not in others


def test_a_saved_policy_predicts_as_the_method_did(tmp_path: Path):
    study = compare(KEY, SPLITS[:1], {"TSM-SL": START, "Bi": METHOD})
    policy = policy_of(study, SPLITS[0], "Bi", arms=tuple("abcde"))
    methods.save_policy(policy, tmp_path / "policy")
    loaded = methods.load_policy(tmp_path / "policy")
    assert loaded.method == METHOD
    x = np.asarray(SPLITS[0].exam.test.x)
    assert same(loaded.predict(x), policy.predict(x))
    np.testing.assert_array_equal(loaded(x, 0.05), policy(x, 0.05))


def streamed(trial: Trial, folder: Path) -> StreamedTrial:
    """The same people in a file, with features as they are."""
    names = tuple(f"x{k}" for k in range(trial.x.shape[1]))
    people = pd.DataFrame(np.asarray(trial.x), columns=list(names))
    people = people.assign(t=np.asarray(trial.t), r=np.asarray(trial.r), c=np.asarray(trial.c))
    people.to_parquet(folder / "logs.parquet", row_group_size=400)
    logs = open_trial(folder / "logs.parquet", Columns("t", "r", "c", names))
    return logs._replace(encoder=Encoder(tuple(NumericColumn(name, 0.0, 0.0, 1.0, False) for name in names)))


def test_logs_in_files_are_learned_from_batch_by_batch(tmp_path: Path, params):
    logs = TASK.observed
    assert isinstance(logs, Trial)
    task = TASK._replace(observed=streamed(logs, tmp_path))
    learned = METHOD.fit(KEY, task, QUIET)
    x = SPLITS[0].exam.test.x
    from_files, in_memory, start = (
        np.asarray(method.predict(of, x).r)
        for method, of in ((METHOD, learned), (METHOD, params), (START, QUIET.fitted(START, KEY, [TASK])[0]))
    )
    # The same people in another order: the two are nearer to each other than to where they started.
    assert np.abs(from_files - in_memory).mean() < 0.5 * np.abs(start - in_memory).mean()
    with pytest.raises(InputError, match="people for Pooled: found a streamed source, expected people in memory"):
        Pooled(START).fit(KEY, task, QUIET)


def test_pooled_people_keep_what_was_seen_of_them():
    task = Pooled(START, propensities="given")._pooled(KEY, TASK)
    train, logs = TASK.train, TASK.observed
    assert isinstance(task.train, Trial)
    assert isinstance(train, Trial)
    assert isinstance(logs, Trial)
    np.testing.assert_array_equal(task.train.r, np.concatenate([train.r, logs.r]))
    np.testing.assert_array_equal(task.train.p[:400], np.full((400, 5), train.p))
    np.testing.assert_array_equal(task.train.p[400:], logs.p)
    shares = Pooled(START, "observed")._pooled(KEY, TASK).train
    assert isinstance(shares, Trial)
    np.testing.assert_allclose(shares.p, np.bincount(logs.t, minlength=5) / 1500, rtol=1e-6)
    learned = Pooled(START, propensities="learned")._pooled(KEY, TASK).train
    assert isinstance(learned, Trial)
    assert learned.p.shape == (1900, 5)
    # Logs that name no propensities are as good: what they state is not looked at.
    blind = Pooled(START, propensities="learned")._pooled(KEY, TASK._replace(observed=logs._replace(p=train.p))).train
    assert isinstance(blind, Trial)
    np.testing.assert_array_equal(learned.p, blind.p)


@pytest.mark.parametrize("method", [METHOD, Pooled(START)], ids=["bi-level", "pooled"])
def test_a_task_without_observed_people_is_refused(method):
    with pytest.raises(
        InputError, match=r"observed people of a task for (BiLevel|Pooled): found none, expected people"
    ):
        method.fit(KEY, TASK._replace(observed=None), SILENT)


def test_logs_that_are_not_like_the_trial_are_named():
    logs = TASK.observed
    assert isinstance(logs, Trial)
    for other, what in (
        (logs._replace(x=logs.x[:, :3]), "features of observed people: found 3, expected 30"),
        (logs._replace(p=logs.p[:, :4]), "treatments of observed people: found 4, expected 5"),
        (logs._replace(r=logs.r.at[7].set(jnp.nan)), "revenue of observed people: found NaN"),
    ):
        with pytest.raises(InputError, match=what):
            METHOD.fit(KEY, TASK._replace(observed=other), SILENT)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"gate": 1.5}, "gate: found 1.5, expected 0 to 1"),
        ({"bridge_pace": -1.0}, "bridge_pace: found"),
        ({"training": FitConfig(chunk=10)}, "chunk of bi-level training: found 10"),
        ({"upper": replace(UPPER, start=replace(START, network=NetworkConfig(members=2)))}, "members of a network"),
    ],
)
def test_what_contradicts_is_refused_when_a_method_is_made(options, what):
    with pytest.raises(InputError, match=what):
        replace(METHOD, **options)


def test_what_pooled_methods_start_from_is_not_taken_for_that_of_other_people():
    """Cells are told apart by method, key and numbers of rows, which two ways to weigh the same people share."""
    compared: dict[str, methods.Method] = {"TSM-SL": START}
    compared |= {"shares": Pooled(UPPER), "given": Pooled(UPPER, propensities="given")}
    study = compare(KEY, SPLITS[:1], compared)
    one, other = (study.cells[name][0].params["net"] for name in ("shares", "given"))
    assert not same(one, other)


def test_every_method_of_logs_has_a_description_of_its_own():
    of_logs = methods.with_logs(START, UPPER.training)
    described = [json.dumps(describe(method)) for method in of_logs.values()]
    assert len(set(described)) == len(described)
    assert all(describe(rebuild(json.loads(each))) == json.loads(each) for each in described)
