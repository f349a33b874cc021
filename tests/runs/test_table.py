"""From a table to a plan, settled by a truth that the run does not see."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

from dfcl_jax import InputError, TwoStage
from dfcl_jax.data import Columns, simulate, split_folds, trial_table
from dfcl_jax.methods import Mixture, Policy
from dfcl_jax.runs import TableConfig, load_policy, run_table
from dfcl_jax.train import FitConfig

pytestmark = pytest.mark.slow

N = 8000
COLUMNS = Columns("t", "r", "c", propensities=(0.2,) * 5)
TWO_STAGE = TwoStage(training=FitConfig(epochs=6, batch_size=256, learning_rate=3e-3))


@pytest.fixture(scope="module")
def simulation() -> simulate.Simulation:
    return jax.jit(simulate.marketing, static_argnums=1)(jax.random.key(3), N)


@pytest.fixture(scope="module")
def config(simulation, tmp_path_factory) -> TableConfig:
    """A simulation as a folder of Parquet parts."""
    folder = tmp_path_factory.mktemp("trial")
    trial, _ = simulation
    frame = pd.DataFrame(np.asarray(trial.x, np.float32), columns=[f"x{k}" for k in range(trial.x.shape[1])])
    frame = frame.assign(t=np.asarray(trial.t), r=np.asarray(trial.r), c=np.asarray(trial.c))
    for part in range(4):
        frame.iloc[part * N // 4 : (part + 1) * N // 4].to_parquet(folder / f"part-{part}.parquet")
    return TableConfig(
        data=folder,
        out=tmp_path_factory.mktemp("runs") / "run",
        folds=2,
        two_stage=TWO_STAGE,
        decision=FitConfig(epochs=2, batch_size=1000, learning_rate=1e-3),
        methods=("PL-centred",),
    )


@pytest.fixture(scope="module")
def folder(config) -> Path:
    run_table("plan", config, COLUMNS)
    return config.out


def test_the_true_spend_of_a_plan_is_near_what_it_states(simulation, folder):
    plan, budgets = pd.read_csv(folder / "plan.csv"), pd.read_csv(folder / "plan_budgets.csv")
    rows = plan.row.to_numpy() - 1
    cost = np.asarray(simulation.truth.c)[rows]
    assert (rows == np.arange(N)).all()
    stated, reach = budgets.spend.to_numpy(), (budgets.spend_high - budgets.spend).to_numpy()
    for k, column in enumerate(plan.columns[1:]):
        spend = cost[np.arange(len(rows)), plan[column].to_numpy()].mean()
        # An interval of 95% is 1.96 standard errors to either side: four of them are missed once in 16,000 times.
        assert abs(spend - stated[k]) < 4 / 1.96 * reach[k]


def test_people_of_the_trial_are_planned_for_by_the_models_that_have_not_seen_them(config, folder):
    plan, people = pd.read_csv(folder / "plan.csv"), pd.read_parquet(config.data)
    policy = load_policy(folder / "policies" / "TSM-SL")
    assert isinstance(policy, Mixture)
    splits = split_folds(trial_table(config.data, COLUMNS), 0, folds=2, valid=config.valid)
    for split, own in zip(splits, policy.policies, strict=True):
        for column in plan.columns[1:]:
            budget = float(column.removeprefix("budget "))
            arm = own.decide(people.iloc[split.rows], budget, jax.random.key(0), rows=split.rows)
            assert (np.asarray(policy.arms)[arm].astype(int) == plan[column].to_numpy()[split.rows]).all()


def test_random_splits_are_still_there(config, tmp_path):
    study = run_table("plan", replace(config, out=tmp_path / "run", splits=2, methods=("TSM-SL",)), COLUMNS)
    assert set(study.values.seed) == {0, 1}
    assert study.test_share == pytest.approx(0.3 / 0.6)
    assert isinstance(load_policy(tmp_path / "run" / "policies" / "TSM-SL"), Policy)


@pytest.mark.parametrize("memory", [None, 1e-6], ids=["in memory", "streamed"])
def test_clusters_and_weights_go_all_the_way(config, tmp_path, memory):
    frame = pd.read_parquet(config.data).iloc[:3000]
    frame = frame.assign(shop=np.arange(3000) // 3, people=np.tile([1.0, 2.0, 3.0], 1000))
    frame.to_parquet(tmp_path / "trial.parquet")
    columns = replace(COLUMNS, cluster="shop", weight="people")
    config = replace(
        config, data=tmp_path / "trial.parquet", out=tmp_path / "run", methods=("PL-own-units",), memory=memory
    )
    run_table("plan", config, columns)
    said = (tmp_path / "run" / "table.md").read_text()
    assert "3,000 people in 1,000 clusters" in said
    if memory is not None:
        return
    spend = pd.read_csv(tmp_path / "run" / "plan_budgets.csv")
    assert spend.spend.to_numpy()[0] == pytest.approx(spend.budget[0], rel=1e-6)


def test_a_method_that_takes_rows_alike_is_refused_before_work(config, tmp_path):
    frame = pd.read_parquet(config.data).iloc[:3000].assign(people=2.0)
    frame.to_parquet(tmp_path / "trial.parquet")
    config = replace(config, data=tmp_path / "trial.parquet", out=tmp_path / "run", methods=("DPM",))
    with pytest.raises(InputError, match="weights of rows for DPM: found a method that takes all rows alike"):
        run_table("plan", config, replace(COLUMNS, weight="people"))
    assert not list((tmp_path / "run").rglob("params.npz"))


def test_the_same_trial_streamed_from_its_files_leads_to_a_policy_too(config, tmp_path, capsys):
    streamed = replace(config, out=tmp_path / "run", memory=1e-6)
    study = run_table("plan", streamed, COLUMNS)
    assert "rows are streamed" in capsys.readouterr().out
    assert np.isfinite(study.values.revenue).all()
    assert set(study.values.method) == {"TSM-SL", "PL-centred", "cheapest arm"}
    policy = load_policy(tmp_path / "run" / "policies" / "PL-centred")
    people = pd.read_parquet(config.data).iloc[:500]
    assert policy.decide(people, 0.05, jax.random.key(0)).shape == (500,)


def test_another_budget_in_the_same_folder_is_trained_anew_and_other_data_are_refused(config, folder, tmp_path):
    frame = pd.read_parquet(config.data).iloc[: N // 2]
    frame.to_parquet(tmp_path / "half.parquet")
    with pytest.raises(InputError, match="found a run of another data"):
        run_table("plan", replace(config, data=tmp_path / "half.parquet"), COLUMNS)


def test_people_of_one_kind_share_the_budget(tmp_path):
    rng = np.random.default_rng(0)
    n = 2000
    t = rng.integers(0, 2, n)
    frame = pd.DataFrame({"kind": "a", "t": t, "r": 1.0 + t, "c": 1.0 * t})
    frame.to_parquet(tmp_path / "trial.parquet")
    config = TableConfig(
        data=tmp_path / "trial.parquet",
        out=tmp_path / "run",
        folds=2,
        two_stage=TWO_STAGE,
        methods=("TSM-SL",),
        budgets=(0.3,),
    )
    run_table("plan", config, Columns("t", "r", "c", ("kind",), propensities=(0.5, 0.5)))
    plan = pd.read_csv(tmp_path / "run" / "plan.csv")
    # Alike in everything, 30% of them are treated, chosen at random: 4 standard errors of 600 draws.
    assert (plan["budget 0.3"] == 1).mean() == pytest.approx(0.3, abs=4 * np.sqrt(0.3 * 0.7 / 600) + 0.02)


def logs_of(config: TableConfig, path: Path) -> Path:
    """People whom a policy gave dearer discounts the more they bring, but nobody of negative x0 the dearest."""
    logs, _ = simulate.confounded(simulate.marketing_population(jax.random.key(3)), jax.random.key(4), 3000, 10)
    frame = pd.DataFrame(np.asarray(logs.trial.x, np.float32), columns=[f"x{k}" for k in range(30)])
    frame = frame.assign(t=np.asarray(logs.trial.t), r=np.asarray(logs.trial.r), c=np.asarray(logs.trial.c))
    frame = frame[(frame.t < 4) | (frame.x0 > 0)]
    frame.to_parquet(path)
    return path


def test_logs_beside_a_trial_are_learned_from_and_what_they_lack_is_said(config, tmp_path, capsys):
    beside = replace(config, out=tmp_path / "run", observed=logs_of(config, tmp_path / "logs.parquet"))
    study = run_table("plan", replace(beside, methods=("TSM-SL on both",)), COLUMNS)
    said = " ".join(capsys.readouterr().out.split())
    assert "Logs: none of the" in said
    assert "had treatment 4" in said
    logs = study.cells["TSM-SL on both"][0]
    assert np.isfinite(study.values.revenue).all()
    assert len(logs.record) == TWO_STAGE.training.epochs
    # The same folder with other logs is another run.
    pd.read_parquet(beside.observed).iloc[:2000].to_parquet(tmp_path / "fewer.parquet")
    with pytest.raises(InputError, match="found a run of another data"):
        run_table("plan", replace(beside, observed=tmp_path / "fewer.parquet"), COLUMNS)


def test_a_method_of_logs_without_logs_is_refused_before_work(config, tmp_path):
    with pytest.raises(InputError, match="method Bi-PPL: found no --observed, expected logs"):
        run_table("plan", replace(config, out=tmp_path / "run", methods=("Bi-PPL",)), COLUMNS)
    assert not (tmp_path / "run").exists()
