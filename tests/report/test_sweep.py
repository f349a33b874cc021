import pandas as pd
import pytest

from dfcl_jax.methods import CHEAPEST, TWO_STAGE
from dfcl_jax.report.sweep import draw_lifts, summarise_sweeps
from dfcl_jax.study import ORACLE, Judge, Study, Sweep, grid
from dfcl_jax.study.sweep import label


def swept(**axes) -> Sweep:
    """A sweep whose k-th member brings k + 1 % more than two-stage learning, for each of three seeds at two budgets."""
    settings = {label(setting): setting for setting in grid(**axes)}
    revenue = {TWO_STAGE: 1.0, **{name: 1.01 + 0.01 * k for k, name in enumerate(settings)}, ORACLE: 1.1, CHEAPEST: 0.9}
    rows = [
        {"seed": seed, "method": name, "budget": budget, "revenue": (1 + seed) * value}
        for name, value in revenue.items()
        for seed in range(3)
        for budget in (0.1, 0.2)
    ]
    values = pd.DataFrame(rows)
    trained = [name for name in revenue if name not in (ORACLE, CHEAPEST)]
    quality = pd.DataFrame([{"seed": s, "method": name, "prediction_loss": 1.0} for name in trained for s in range(3)])
    history = pd.DataFrame(columns=["method", "seed", "epoch", "loss", "value"])
    study = Study(values, quality, history, {}, {}, Judge(), "truth", 0.0)
    return Sweep(values[values.method.isin(settings)], settings, study)


SWEEPS = {"alpha": swept(alpha=[0.0, 1.0, 10.0]), "multipliers": swept(lams=[(0.1,), (0.1, 0.5)])}


def test_the_table_has_every_member_between_what_they_start_from_and_what_bounds_them():
    table = summarise_sweeps(SWEEPS)
    members = ["alpha 0", "alpha 1", "alpha 10", "lams {0.1}", "lams {0.1, 0.5}"]
    assert list(table.method) == [TWO_STAGE, *members, ORACLE, CHEAPEST]
    lift = table.set_index("method").lift
    assert lift[members].tolist() == pytest.approx([1, 2, 3, 1, 2])


def test_the_figure_has_a_panel_for_each_sweep(tmp_path):
    draw_lifts(SWEEPS, tmp_path / "lift_by_value.png")
    assert (tmp_path / "lift_by_value.png").stat().st_size > 10_000
