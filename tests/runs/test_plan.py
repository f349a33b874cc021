import jax
import numpy as np
import pandas as pd
import pytest

from dfcl_jax import METHODS
from dfcl_jax.data import simulate, trial_table
from dfcl_jax.data.tables import Columns
from dfcl_jax.report import TableConfig, run_table
from dfcl_jax.study import StudyConfig
from dfcl_jax.train import FitConfig

pytestmark = pytest.mark.slow

N = 8000
STUDY = StudyConfig(warm=FitConfig(epochs=10, batch_size=256), decision=FitConfig(epochs=2, batch_size=1000))


@pytest.fixture(scope="module")
def simulation() -> simulate.Simulation:
    return jax.jit(simulate.marketing, static_argnums=1)(jax.random.key(3), N)


@pytest.fixture(scope="module")
def folder(simulation, tmp_path_factory):
    """The run folder of a study of that simulation as a table, whose truth the study does not see."""
    trial, _ = simulation
    frame = pd.DataFrame(np.asarray(trial.x), columns=[f"x{k}" for k in range(trial.x.shape[1])])
    frame = frame.assign(t=np.asarray(trial.t), r=np.asarray(trial.r), c=np.asarray(trial.c))
    table = trial_table(frame, Columns("t", "r", "c", propensities=(0.2,) * 5))
    out = tmp_path_factory.mktemp("plan") / "run"
    config = TableConfig(data=out, out=out, seeds=2, study=STUDY)
    run_table("plan", config, table, {"PL-centred": METHODS["PL-centred"]})
    return out


def test_the_true_cost_of_a_plan_is_near_its_budget(simulation, folder):
    plan, budgets = pd.read_csv(folder / "plan.csv"), pd.read_csv(folder / "plan_budgets.csv")
    rows = plan.row.to_numpy() - 1
    cost = np.asarray(simulation.truth.c)[rows]
    assert len(rows) == round(0.3 * N)
    for column, budget in zip(plan.columns[1:], budgets.budget, strict=True):
        arm = plan[column].to_numpy()
        spend = cost[np.arange(len(rows)), arm].mean()
        # The estimate matches a fifth of the people: the standard error of its mean is that of their costs.
        matched = np.asarray(simulation.trial.c)[rows] * 5 * (np.asarray(simulation.trial.t)[rows] == arm)
        assert abs(spend - budget) < 4 * matched.std() / np.sqrt(len(rows))


def test_the_estimated_spend_of_a_plan_meets_its_budget(folder):
    budgets = pd.read_csv(folder / "plan_budgets.csv")
    assert (budgets.spend <= budgets.budget * (1 + 1e-5)).all()  # float32 units
    shares = budgets.filter(like="share")
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-12)


def test_people_of_one_kind_share_the_budget(tmp_path):
    rng = np.random.default_rng(0)
    n = 2000
    t = rng.integers(0, 2, n)
    frame = pd.DataFrame({"kind": "a", "t": t, "r": 1.0 + t, "c": 1.0 * t})
    config = TableConfig(data=tmp_path, out=tmp_path / "run", seeds=2, study=STUDY, budgets=(0.3,))
    run_table("plan", config, trial_table(frame, Columns("t", "r", "c", propensities=(0.5, 0.5))), {})
    plan = pd.read_csv(tmp_path / "run" / "plan.csv")
    # Alike in everything, 30% of them are treated, chosen at random: 4 standard errors of 600 draws.
    assert (plan["budget 0.3"] == 1).mean() == pytest.approx(0.3, abs=4 * np.sqrt(0.3 * 0.7 / 600) + 0.02)
