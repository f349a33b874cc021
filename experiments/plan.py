"""A budgeted plan for a Parquet data set of any size, from predictions or from features and a trained model."""

from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from dfcl_jax.errors import refuse
from dfcl_jax.report import command, load_predictor
from dfcl_jax.report.plan_file import FilePlan, plan_people, plan_predictions


@dataclass(frozen=True, kw_only=True)
class Config:
    """Decide who is given what under a budget, for a Parquet file or folder of parts that need not fit into memory."""

    budget: float
    """Predicted cost per person, which the plan never exceeds."""
    out: Path
    """Parquet file to be: the kept columns, treatment, and its predicted revenue and cost, in the order of the data."""
    predictions: Path | None = None
    """Parquet file or folder with predicted revenue and cost at each treatment; this or --people."""
    revenue: tuple[str, ...] = ()
    """Columns of predicted revenue, one for each treatment."""
    cost: tuple[str, ...] = ()
    """Columns of predicted cost, in the same order."""
    arms: tuple[str, ...] = ()
    """Names of the treatments, in the same order; 0, 1, ... if not given."""
    people: Path | None = None
    """Parquet file or folder with features, for a model to predict from."""
    run: Path | None = None
    """Folder of the finished run that trained the model."""
    method: str | None = None
    """Its method: the budget is in its predicted cost, so one that was trained to predict."""
    seed: int = 0
    """Which of the run's models, from 0."""
    keep: tuple[str, ...] = ()
    """Columns to carry over to the plan."""


def main(config: Config) -> None:
    """Plan, write, summarise."""
    if config.predictions is not None and config.people is None:
        plan = _from_predictions(config.predictions, config)
    elif config.people is not None and config.predictions is None:
        plan = _from_people(config.people, config)
    else:
        found = f"{config.predictions} and {config.people}"
        refuse("--predictions, --people", found=found, expected="one of the two")
    _show(plan)
    print(f"Written to {config.out}")


def _from_predictions(predictions: Path, config: Config) -> FilePlan:
    _refuse_given(config, "run", "method", beside="--predictions")
    return plan_predictions(
        predictions,
        config.out,
        budget=config.budget,
        revenue=config.revenue,
        cost=config.cost,
        arms=config.arms,
        keep=config.keep,
    )


def _from_people(people: Path, config: Config) -> FilePlan:
    _refuse_given(config, "revenue", "cost", "arms", beside="--people")
    if config.run is None or config.method is None:
        refuse("--run, --method", found=f"{config.run} and {config.method}", expected="both, beside --people")
    predictor = load_predictor(config.run, config.method, seed=config.seed)
    return plan_people(people, predictor, config.out, budget=config.budget, keep=config.keep)


def _refuse_given(config: Config, *options: str, beside: str) -> None:
    for option in options:
        if getattr(config, option):
            refuse(f"--{option}", found=f"it beside {beside}", expected="one or the other")


def _show(plan: FilePlan) -> None:
    table = Table(box=SIMPLE_HEAD)
    for side in ("left", "right"):
        table.add_column("" if side == "left" else "per person", justify=side)
    lines = {
        "people": f"{plan.n:,}",
        "budget": f"{plan.budget:.6g}",
        "spend": f"{plan.spend:.6g}",
        "% of the budget": f"{100 * plan.spend / plan.budget:.4f}" if plan.budget else "-",
        "revenue": f"{plan.value:.6g}",
        "no plan above": f"{plan.bound:.6g}",
        "gap": f"{plan.gap:.3g}",
        "lam": f"{plan.lam:.6g}",
    }
    for name, value in (lines | {f"share {arm}": f"{share:.4f}" for arm, share in plan.shares.items()}).items():
        table.add_row(name, value)
    Console().print(table)


if __name__ == "__main__":
    command(main, Config)
