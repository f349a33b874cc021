import subprocess
import sys
from io import StringIO
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from dfcl_jax import InputError, Outcomes
from dfcl_jax.files import locked
from dfcl_jax.methods.policy import BLOCK
from dfcl_jax.runs import command, plan_people, plan_people_by_predictions, plan_predictions, save_policy
from dfcl_jax.solvers import allocate, budget_path

N, M = 1024, 4  # a power of 2, so that means of whole numbers are exact in float32
REVENUE, COST = ([f"{role}{j}" for j in range(M)] for role in "rc")
ARMS = ("none", "small", "medium", "large")


def drawn(kind: str) -> Outcomes:
    rng = np.random.default_rng(1)
    if kind == "whole":  # few slopes, so hundreds tie at each, and totals that meet a budget exactly
        r, c = rng.integers(0, 7, (N, M)), rng.integers(0, 4, (N, M))
    elif kind == "wide":  # slopes from 1e-20 to 1e20, to be told apart by any bit
        r, c = 10 ** rng.uniform(-10, 10, (N, M)), 10 ** rng.uniform(-10, 10, (N, M))
    elif kind == "near":  # slopes that share their upper 16 bits
        c = np.tile(np.arange(M), (N, 1)) * rng.uniform(1, 2, (N, 1))
        r = c * (1 + 1e-4 * rng.uniform(0, 1, (N, 1)))
    else:
        r, c = rng.normal(1, 1, (N, M)), rng.uniform(-0.1, 1, (N, M))
    return Outcomes(*(jnp.asarray(surface, jnp.float32) for surface in (r, c)))


def as_table(outcomes: Outcomes) -> pa.Table:
    r, c = (np.asarray(surface).T for surface in outcomes)
    return pa.table([*r, *c], names=REVENUE + COST)


def plan_of(source: Path, out: Path, budget: float, **options):
    plan = plan_predictions(source, out, budget=budget, revenue=REVENUE, cost=COST, arms=ARMS, **options)
    return plan, pq.read_table(out)


def arms_of(table: pa.Table) -> np.ndarray:
    return np.array([ARMS.index(name) for name in table["treatment"].to_pylist()])


def some_budgets(outcomes: Outcomes) -> list[float]:
    """At vertices of the path (exactly, for whole numbers; one where a tie ends), in between, and above the last."""
    path = budget_path(outcomes)
    spend, ends = np.asarray(path.spend), 1 + np.flatnonzero(np.diff(path.lam))
    steps = [0, len(spend) // 7, int(ends[len(ends) // 2]), len(spend) - 1]
    between = [low + 0.4 * (high - low) for low, high in pairwise(spend[steps])]
    return [float(budget) for budget in (*spend[steps[1:]], *between, 2 * abs(spend[-1])) if budget >= 0]


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["whole", "wide", "near", "any"])
@pytest.mark.parametrize(("batch", "row_group"), [(64, 100), (300, N), (1000, 7), (5000, N)])
def test_the_plan_is_that_of_allocate_in_memory(tmp_path, kind, batch, row_group):
    outcomes = drawn(kind)
    pq.write_table(as_table(outcomes), tmp_path / "people.parquet", row_group_size=row_group)
    budgets = some_budgets(outcomes)
    assert len(budgets) >= 5
    for k, budget in enumerate(budgets):
        plan, table = plan_of(tmp_path / "people.parquet", tmp_path / f"{k}.parquet", budget, batch=batch)
        expected = allocate(outcomes, budget, top_ups=0)
        np.testing.assert_array_equal(arms_of(table), expected.arm)
        assert plan.lam == float(expected.lam)
        # `allocate` returns float32, whose bound is the difference of numbers that are large where slopes are.
        names = ("spend", "value") if kind == "wide" else ("spend", "value", "bound")
        for name in names:
            assert getattr(plan, name) == pytest.approx(float(getattr(expected, name)), rel=1e-6)


def test_of_people_who_tie_the_first_are_moved_also_across_batches(tmp_path):
    # Everybody's two steps have slope 2 and cost 5 together: a budget of 1 pays for every fifth person's.
    surface = np.tile([0, 3, 5, 9], (1000, 1))
    pq.write_table(as_table(Outcomes(jnp.asarray(2 * surface % 18), jnp.asarray(surface))), tmp_path / "people.parquet")
    plan, table = plan_of(tmp_path / "people.parquet", tmp_path / "plan.parquet", 1.0, batch=64)
    expected = np.where(np.arange(1000) < 200, 2, 0)
    np.testing.assert_array_equal(arms_of(table), expected)
    assert (plan.people, plan.lam, plan.spend, plan.value, plan.gap) == (1000, 2.0, 1.0, 2.0, 0.0)
    assert plan.shares == {"none": 0.8, "small": 0.0, "medium": 0.2, "large": 0.0}
    # Of the 4 that one more person has left, the first step costs 3.
    _, table = plan_of(tmp_path / "people.parquet", tmp_path / "more.parquet", 1.004, batch=64)
    np.testing.assert_array_equal(arms_of(table), np.where(np.arange(1000) == 200, 1, expected))


@pytest.mark.parametrize("kind", ["whole", "any"])
def test_spend_is_never_above_the_budget_and_less_than_a_step_below(tmp_path, kind):
    outcomes = drawn(kind)
    pq.write_table(as_table(outcomes), tmp_path / "people.parquet")
    largest = np.asarray(budget_path(outcomes).spend)[-1]
    dearest = float(np.ptp(np.asarray(outcomes.c), axis=1).max())
    for budget in np.linspace(0.3, 0.95, 8) * largest:
        out = tmp_path / f"{budget}.parquet"
        plan, table = plan_of(tmp_path / "people.parquet", out, budget, batch=300)
        spend = table["cost"].to_numpy().astype(np.float64).sum()
        assert spend <= N * budget
        assert spend > N * budget - dearest
        # The order of float64 additions.
        assert plan.spend == pytest.approx(spend / N, rel=1e-12)
        assert plan.value <= plan.bound
        assert plan.gap <= plan.lam * dearest / N * (1 + 1e-6)


def test_of_a_hundred_thousand_people_the_plan_spends_all_but_a_ten_thousandth_of_the_budget(tmp_path):
    rng = np.random.default_rng(5)
    c = np.sort(rng.random((100_000, M), np.float32), axis=1)
    pq.write_table(as_table(Outcomes(jnp.asarray(np.sqrt(c)), jnp.asarray(c))), tmp_path / "people.parquet")
    for budget in (0.25, 0.5, 0.7):
        plan, table = plan_of(tmp_path / "people.parquet", tmp_path / f"{budget}.parquet", budget, batch=2**15)
        spend = table["cost"].to_numpy().astype(np.float64).mean()
        # What is left pays for less than one step, of at most 1 in 25,000.
        assert (1 - 1e-4) * budget <= spend <= budget
        assert plan.spend == pytest.approx(spend, rel=1e-12)


MEASURED = """
import resource, sys
from pathlib import Path
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
from dfcl_jax.runs import plan_predictions

folder, roles = Path(sys.argv[1]), [f"{role}{j}" for role in "rc" for j in range(4)]
for groups in (2, 40):
    with pq.ParquetWriter(folder / f"{groups}.parquet", pa.schema([(name, pa.float32()) for name in roles])) as writer:
        for seed in range(groups):
            columns = np.random.default_rng(seed).random((8, 2**15), np.float32)
            writer.write_table(pa.table(list(columns), names=roles))
    options = dict(budget=0.3, revenue=roles[:4], cost=roles[4:], batch=2**15)
    plan_predictions(folder / f"{groups}.parquet", folder / f"{groups}.plan", **options)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.thorough
def test_memory_does_not_grow_with_the_rows(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path)], stdout=subprocess.PIPE, text=True, check=True
    )
    small, large = (int(line) for line in done.stdout.split() if line.isdigit())
    assert (tmp_path / "40.parquet").stat().st_size > 35 * 2**20
    # Twenty times the rows, 38 MiB more: a quarter of that is room for what allocators keep.
    assert large - small < 10 * 2**10


def test_a_folder_of_parts_is_the_file_that_they_make_up(tmp_path):
    table = as_table(drawn("whole")).append_column("id", pa.array(np.arange(N)))
    pq.write_table(table, tmp_path / "whole.parquet")
    (tmp_path / "parts" / "b").mkdir(parents=True)
    for name, first, last in (("a-0", 0, 130), ("a-1", 130, 130), ("a-2", 130, 733), ("b/c", 733, N)):
        pq.write_table(table.slice(first, last - first), tmp_path / "parts" / f"{name}.parquet", row_group_size=50)
    (tmp_path / "parts" / "_SUCCESS.parquet").write_text("no part")
    (tmp_path / "parts" / "notes.txt").write_text("no part")
    plans = [
        plan_of(tmp_path / source, tmp_path / f"{source}.plan", 0.6, batch=100, keep=["id"])
        for source in ("whole.parquet", "parts")
    ]
    assert plans[0][0] == plans[1][0]
    assert plans[0][1].equals(plans[1][1])


def test_rows_keep_their_order_and_the_columns_that_are_asked_for(tmp_path):
    outcomes = drawn("any")
    place = np.random.default_rng(0).permutation(N)
    city = np.array(["Graz", "Linz", "Wien"])[place % 3]
    kept = {"id": pa.array(place), "city": pa.array(city).dictionary_encode(), "gap": pa.array([None, "x"] * (N // 2))}
    table = as_table(outcomes)
    for name, column in kept.items():
        table = table.append_column(name, column)
    (tmp_path / "parts").mkdir()
    for part in range(4):  # each with a dictionary of its own
        rows = table.slice(256 * part, 256)
        pq.write_table(rows, tmp_path / "parts" / f"{part}.parquet")
    _, plan = plan_of(tmp_path / "parts", tmp_path / "plan.parquet", 0.3, batch=64, keep=["gap", "id", "city"])
    assert plan.column_names == ["gap", "id", "city", "treatment", "revenue", "cost"]
    assert [plan.schema.field(name).type for name in ("revenue", "cost")] == [pa.float32()] * 2
    assert plan["id"].to_pylist() == place.tolist()
    assert plan["city"].to_pylist() == city.tolist()
    assert plan["gap"].to_pylist() == [None, "x"] * (N // 2)
    rows, arm = np.arange(N), arms_of(plan)
    np.testing.assert_array_equal(plan["revenue"].to_numpy(), np.asarray(outcomes.r)[rows, arm])
    np.testing.assert_array_equal(plan["cost"].to_numpy(), np.asarray(outcomes.c)[rows, arm])


@pytest.mark.parametrize("kind", [pa.int16(), pa.float64(), pa.decimal128(9, 2)])
def test_any_type_of_number_is_read(tmp_path, kind):
    table = as_table(drawn("whole"))
    pq.write_table(table, tmp_path / "people.parquet")
    pq.write_table(table.cast(pa.schema([(name, kind) for name in table.column_names])), tmp_path / "other.parquet")
    plans = [plan_of(tmp_path / f"{name}.parquet", tmp_path / f"{name}.plan", 0.6)[1] for name in ("people", "other")]
    assert plans[0].equals(plans[1])


@pytest.mark.thorough
@pytest.mark.parametrize("batch", [N, 130])
def test_features_and_a_method_with_money_are_its_predictions(tmp_path, policy, people, batch):
    frame, by = people(N), plan_people_by_predictions
    frame.assign(id=np.arange(N)).to_parquet(tmp_path / "people.parquet", row_group_size=77)
    predicted = policy.predict(frame)
    budget = float(np.asarray(predicted.c).min(axis=1).mean()) + 0.2
    plan = by(tmp_path / "people.parquet", policy, tmp_path / "plan.parquet", budget=budget, keep=["id"], batch=batch)
    table = pq.read_table(tmp_path / "plan.parquet")
    assert table["id"].to_pylist() == list(range(N))
    expected = allocate(Outcomes(*(surface.astype(jnp.float32) for surface in predicted)), budget, top_ups=0)
    arm = np.array([policy.arms.index(name) for name in table["treatment"].to_pylist()])
    assert len(set(arm)) > 1
    np.testing.assert_array_equal(arm, expected.arm)
    assert plan.lam == float(expected.lam)
    for column, surface in (("revenue", predicted.r), ("cost", predicted.c)):
        np.testing.assert_array_equal(table[column].to_numpy(), np.asarray(surface)[np.arange(N), arm])
    assert table["cost"].to_numpy().astype(np.float64).sum() <= N * budget
    assert sorted(file.name for file in tmp_path.iterdir()) == ["people.parquet", "plan.parquet"]


def test_a_plan_by_predicted_money_of_a_method_without_is_refused_by_name(tmp_path, ranking, people):
    people(10).to_parquet(tmp_path / "people.parquet")
    with pytest.raises(InputError, match="method: found Decision, which does not predict money"):
        plan_people_by_predictions(tmp_path / "people.parquet", ranking, tmp_path / "plan", budget=0.1)


KEY = jax.random.key(5)
BUDGET = 0.08


@pytest.mark.parametrize("risk", [None, 0.05])
def test_the_plan_of_a_file_is_what_the_policy_decides(tmp_path, policy, ranking, people, risk):
    frame = people(20_000)
    frame.assign(id=np.arange(20_000)).to_parquet(tmp_path / "people.parquet")
    for name, by in (("money", policy), ("ranking", ranking)):
        out = tmp_path / f"{name}.parquet"
        plan = plan_people(
            tmp_path / "people.parquet", by, out, budget=BUDGET, risk=risk, key=KEY, keep=["id"], batch=1
        )
        table, arm = pq.read_table(out), by.decide(frame, BUDGET, KEY, risk=risk)
        np.testing.assert_array_equal(table["treatment"].to_pylist(), np.asarray(by.arms)[arm])
        assert len(set(arm.tolist())) > 1
        assert table["id"].to_pylist() == list(range(20_000))
        assert plan.shares == {arm_: float((arm == j).mean()) for j, arm_ in enumerate(by.arms)}
        # Only a method with money has any to write.
        assert table.column_names == ["id", "treatment", *(["revenue", "cost"] if name == "money" else [])]
        expected = by.curve.at(BUDGET, risk=risk)
        assert (plan.people, plan.expected) == (20_000, expected)
        spend, revenue = expected.interval(20_000, by.curve.people)
        told = plan.foretold
        assert (told["spend_low"], told["spend"], told["spend_high"]) == (spend[0], expected.spend, spend[1])
        assert (told["revenue_low"], told["revenue"], told["revenue_high"]) == (
            revenue[0],
            expected.revenue,
            revenue[1],
        )
        assert "3,000 people that no model was trained on" in plan.rests_on


@pytest.mark.parametrize("identity", [None, "id"])
def test_a_plan_does_not_depend_on_the_cut_of_the_files_or_of_the_work(tmp_path, policy, people, identity):
    table = pa.Table.from_pandas(people(20_000).assign(id=[f"person {k}" for k in range(20_000)]))
    pq.write_table(table, tmp_path / "whole.parquet")
    (tmp_path / "parts").mkdir()
    for name, first, last in (("a", 0, 13), ("b", 13, 9_001), ("c", 9_001, 20_000)):
        pq.write_table(table.slice(first, last - first), tmp_path / "parts" / f"{name}.parquet", row_group_size=777)
    plans = []
    for source, batch in (("whole.parquet", 2**17), ("whole.parquet", 100), ("parts", 10_000)):
        out = tmp_path / f"plan {len(plans)}"
        options = {"budget": BUDGET, "key": KEY, "identity": identity, "batch": batch}
        plan_people(tmp_path / source, policy, out, **options)
        plans.append(pq.read_table(out))
    assert plans[0].equals(plans[1])
    assert plans[0].equals(plans[2])


def test_dice_of_an_identity_follow_the_person_through_any_order(tmp_path, policy, people):
    order = np.random.default_rng(0).permutation(5_000)
    frame = people(5_000).assign(id=np.arange(5_000))
    # At the tightest decisions mixed with the cheapest treatment, dice decide for everybody.
    budget = float(policy.curve.spend[:2].mean())
    plans = []
    for name, rows in (("given.parquet", frame), ("shuffled.parquet", frame.iloc[order])):
        rows.to_parquet(tmp_path / name)
        plan_people(tmp_path / name, policy, tmp_path / f"{name} plan", budget=budget, identity="id", keep=["id"])
        plans.append(pq.read_table(tmp_path / f"{name} plan").to_pandas().sort_values("id").treatment.tolist())
    assert plans[0] == plans[1]
    assert len(set(plans[0])) > 1
    frame.assign(id=frame.id.where(frame.id != 7)).to_parquet(tmp_path / "gap.parquet")
    with pytest.raises(InputError, match="column 'id', row 8: found a gap, expected an identity"):
        plan_people(tmp_path / "gap.parquet", policy, tmp_path / "plan", budget=budget, identity="id")


def test_a_budget_below_the_cheapest_treatment_is_refused_before_work(tmp_path, policy, monkeypatch):
    dear = policy._replace(curve=policy.curve._replace(spend=policy.curve.spend + 1))
    monkeypatch.setattr("dfcl_jax.runs.plan_file.open_people", lambda *args, **options: pytest.fail("data were read"))
    with pytest.raises(InputError, match=r"budget: found 0\.5, expected at least 1, the estimated spend of"):
        plan_people(tmp_path / "people", dear, tmp_path / "plan", budget=0.5)
    sure = dear._replace(curve=dear.curve._replace(spend_error=dear.curve.spend_error + 0.1))
    with pytest.raises(InputError, match=r"budget: found 1\.1 at risk 0\.05, expected at least 1\.16"):
        plan_people(tmp_path / "people", sure, tmp_path / "plan", budget=1.1, risk=0.05)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize(
    ("source", "batches"),
    [("predictions", 0), ("predictions", 5), ("policy", 1), ("by predictions", 2), ("by predictions", 4)],
)
def test_an_interruption_leaves_nothing(tmp_path, policy, people, monkeypatch, source, error, batches):
    pq.write_table(as_table(drawn("any")), tmp_path / "predictions.parquet")
    people(3 * BLOCK).to_parquet(tmp_path / "people.parquet")
    before, written, write = sorted(tmp_path.iterdir()), [], pq.ParquetWriter.write_table

    def interrupted(writer, table, *args, **kwargs):
        if len(written) == batches:
            raise error
        written.append(table)
        write(writer, table, *args, **kwargs)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", interrupted)
    # 8 batches of predictions; 3 of people, which are written once or, by predictions, twice.
    out, file = tmp_path / "plan.parquet", tmp_path / "people.parquet"
    work = {
        "predictions": lambda: plan_of(tmp_path / "predictions.parquet", out, 0.3, batch=128),
        "policy": lambda: plan_people(file, policy, out, budget=BUDGET, batch=1),
        "by predictions": lambda: plan_people_by_predictions(file, policy, out, budget=5, batch=1),
    }
    with pytest.raises(error):
        work[source]()
    assert len(written) == batches
    assert sorted(tmp_path.iterdir()) == before


def test_what_a_killed_plan_left_is_removed_and_said(tmp_path):
    pq.write_table(as_table(drawn("any")), tmp_path / "people.parquet")
    (tmp_path / ".plan.parquet.partial").write_text("half a plan")
    said = StringIO()
    plan_of(tmp_path / "people.parquet", tmp_path / "plan.parquet", 0.3, console=Console(file=said, width=300))
    assert ".plan.parquet.partial: left by a process that was killed, so it is removed" in said.getvalue()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["people.parquet", "plan.parquet"]


def test_the_partial_file_of_another_process_is_refused_and_left(tmp_path):
    pq.write_table(as_table(drawn("any")), tmp_path / "people.parquet")
    other = tmp_path / ".plan.parquet.partial"
    with locked(other) as alone:
        assert alone
        other.write_text("half a plan")
        with pytest.raises(InputError, match=r"\.plan\.parquet\.partial: found another process that writes"):
            plan_of(tmp_path / "people.parquet", tmp_path / "plan.parquet", 0.3)
        assert other.read_text() == "half a plan"
    assert not (tmp_path / "plan.parquet").exists()


def test_a_damaged_part_is_named_when_it_is_reached(tmp_path):
    (tmp_path / "parts").mkdir()
    for part in range(2):
        pq.write_table(as_table(drawn("any")), tmp_path / "parts" / f"{part}.parquet", use_dictionary=False)
    file = tmp_path / "parts" / "1.parquet"
    data = bytearray(file.read_bytes())
    data[4:2000] = bytes(1996)  # the first pages; columns and rows are described at the end
    file.write_bytes(data)
    with pytest.raises(InputError, match=r"data file .*1\.parquet: found unreadable"):
        plan_of(tmp_path / "parts", tmp_path / "plan.parquet", 0.3, batch=100)
    assert [file.name for file in tmp_path.iterdir()] == ["parts"]


def test_a_feature_is_refused_by_its_row_in_the_whole_data(tmp_path, policy, people):
    frame = people(2 * BLOCK)
    frame.loc[BLOCK + 100, "age"] = np.inf
    frame.to_parquet(tmp_path / "people.parquet")
    row = BLOCK + 101
    with pytest.raises(InputError, match=f"column 'age', row {row}: found inf, expected a finite number or a gap"):
        plan_people(tmp_path / "people.parquet", policy, tmp_path / "plan", budget=BUDGET, batch=1)
    assert [file.name for file in tmp_path.iterdir()] == ["people.parquet"]


def test_a_policy_of_unnamed_features_is_refused(tmp_path, policy):
    with pytest.raises(InputError, match="policy: found one of features without names"):
        plan_people(tmp_path, policy._replace(encoder=None), tmp_path / "plan", budget=BUDGET)


@pytest.mark.parametrize("by", ["measured", "predicted"])
def test_the_command_plans_by_a_saved_policy_and_says_what_the_numbers_rest_on(
    experiment, policy, people, tmp_path, monkeypatch, capsys, by
):
    module = experiment("plan")
    save_policy(policy, tmp_path / "policy")
    people(500).to_parquet(tmp_path / "people.parquet")
    paths = {name: str(tmp_path / name) for name in ("people.parquet", "policy", "plan.parquet")}
    command_line = ["--people", paths["people.parquet"], "--policy", paths["policy"], "--out", paths["plan.parquet"]]
    asked = ["--budget", "0.08", "--risk", "0.05"] if by == "measured" else ["--budget", "5", "--by", "predicted"]
    monkeypatch.setattr("sys.argv", ["plan.py", *command_line, *asked])
    command(module.main, module.Config)
    said = " ".join(capsys.readouterr().out.split())
    if by == "measured":
        expected = policy.curve.at(0.08, risk=0.05)
        spend = expected.interval(500, 3000)[0]
        assert f"expected spend {expected.spend:.6g} ({spend[0]:.6g} to {spend[1]:.6g})" in said
        assert "risk of spending more 0.05" in said
        assert "measured: estimated on 3,000 people that no model was trained on" in said
        names = policy.decide(people(500), 0.08, jax.random.key(0), risk=0.05)
        planned = pq.read_table(paths["plan.parquet"])["treatment"].to_pylist()
        np.testing.assert_array_equal(planned, np.asarray(policy.arms)[names])
    else:
        assert "predicted, not measured" in said
        assert "predicted spend" in said
