"""A budgeted plan for files of any size, by a policy or from predictions."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import jax
import tyro
from rich.console import Console

from dfcl_jax.data import Reading
from dfcl_jax.errors import refuse
from dfcl_jax.report.terminal import say, show, terminal_tables
from dfcl_jax.runs import (
    FilePlan,
    Newcomers,
    PredictedPlan,
    command,
    load_policy,
    plan_people,
    plan_people_by_predictions,
    plan_predictions,
)
from dfcl_jax.runs.options import Within


@dataclass(frozen=True, kw_only=True)
class Config:
    """Decide who is given what under a budget, for a file or a folder of parts that need not fit into memory."""

    budget: Annotated[float, Within(0)]
    """Cost per person."""
    out: Path
    """Parquet file to be, in the order of the data: the kept columns, treatment, predicted revenue and cost if any."""
    people: Path | None = None
    """CSV or Parquet file, or folder of parts, with features, for a policy to decide by; this or --predictions."""
    policy: Path | None = None
    """Folder of the policy: that of `save_policy`, or RUN/policies/METHOD of a run."""
    by: Literal["measured", "predicted"] = "measured"
    """Which money meets the budget: measured on held-out people, or the method's own predictions."""
    risk: Annotated[float, Within(0, 0.5, above=True, below=True)] | None = None
    """Probability of a true spend above the budget; without it, the spend itself is aimed at."""
    id: str | None = None
    """Column that tells people apart, for the dice; without it, the number of the row does."""
    dice: Annotated[int, Within(0)] = 0
    """Seed of the dice that mix decisions where no multiplier meets the budget exactly."""
    predictions: Path | None = None
    """The same with predicted revenue and cost at each treatment; the plan by them is exact."""
    revenue: tuple[str, ...] = ()
    """Columns of predicted revenue, one for each treatment."""
    cost: tuple[str, ...] = ()
    """Columns of predicted cost, in the same order."""
    arms: tuple[str, ...] = ()
    """Names of the treatments, in the same order; 0, 1, ... if not given."""
    keep: tuple[str, ...] = ()
    """Columns to carry over to the plan."""
    newcomers: Newcomers = field(default_factory=Newcomers)
    """How far people may differ from those of the policy's trial."""
    reading: Annotated[Reading, tyro.conf.arg(name="")] = field(default_factory=Reading)
    """How CSV files are written; found out if not given."""


def main(config: Config) -> None:
    """Plan, write, summarise."""
    console = Console()
    if config.predictions is not None and config.people is None:
        plan = _from_predictions(config.predictions, config, console)
    elif config.people is not None and config.predictions is None:
        plan = _from_people(config.people, config, console)
    else:
        found = f"{config.predictions} and {config.people}"
        refuse("--predictions, --people", found=found, expected="one of the two")
    lines = _measured(plan) if isinstance(plan, FilePlan) else _predicted(plan)
    lines |= {f"share {arm}": f"{share:.4f}" for arm, share in plan.shares.items()}
    headers = ["", "per person (95% interval)" if isinstance(plan, FilePlan) else "per person"]
    show(console, terminal_tables(headers, list(map(list, lines.items())), width=console.width))
    unlike = plan.unlike.sentences(clip=config.newcomers.clip) if plan.unlike is not None else []
    notes = [plan.remark] if isinstance(plan, FilePlan) and plan.remark else []
    for sentence in (*notes, f"{plan.rests_on}.", *unlike):
        say(console, sentence)
    print(f"Written to {config.out}")


def _from_predictions(predictions: Path, config: Config, console: Console) -> PredictedPlan:
    _refuse_given(config, "policy", "risk", "id", beside="--predictions")
    return plan_predictions(
        predictions,
        config.out,
        budget=config.budget,
        revenue=config.revenue,
        cost=config.cost,
        arms=config.arms,
        keep=config.keep,
        reading=config.reading,
        console=console,
    )


def _from_people(people: Path, config: Config, console: Console) -> FilePlan | PredictedPlan:
    _refuse_given(config, "revenue", "cost", "arms", beside="--people")
    if config.policy is None:
        refuse("--policy", found="none", expected="the folder of a policy, beside --people")
    if (within := config.policy / "policies").is_dir():
        names = ", ".join(sorted(folder.name for folder in within.iterdir()))
        refuse("--policy", found=f"{config.policy}, a run's", expected=f"one of {within}: {names}")
    policy = load_policy(config.policy)
    if config.by == "predicted":
        _refuse_given(config, "risk", "id", beside="--by predicted")
        return plan_people_by_predictions(
            people,
            policy,
            config.out,
            budget=config.budget,
            keep=config.keep,
            newcomers=config.newcomers,
            reading=config.reading,
            console=console,
        )
    return plan_people(
        people,
        policy,
        config.out,
        budget=config.budget,
        risk=config.risk,
        key=jax.random.key(config.dice),
        identity=config.id,
        keep=config.keep,
        newcomers=config.newcomers,
        reading=config.reading,
        console=console,
    )


def _refuse_given(config: Config, *options: str, beside: str) -> None:
    for option in options:
        if getattr(config, option):
            refuse(f"--{option}", found=f"it beside {beside}", expected="one or the other")


def _measured(plan: FilePlan) -> dict[str, str]:
    told = plan.foretold
    spans = {name: _span(*(told[f"{name}{end}"] for end in ("", "_low", "_high"))) for name in _MONEY}
    lines = {"people": f"{plan.people:,}", "budget": f"{plan.budget:.6g}"}
    lines |= {"risk of spending more": f"{plan.risk:g}"} if plan.risk else {}
    return lines | {f"expected {name}": span for name, span in spans.items()} | {"lam": f"{told['lam']:.6g}"}


_MONEY = ("spend", "revenue")


def _span(value: float, low: float, high: float) -> str:
    return f"{value:.6g} (withheld)" if low != low else f"{value:.6g} ({low:.6g} to {high:.6g})"


def _predicted(plan: PredictedPlan) -> dict[str, str]:
    return {
        "people": f"{plan.people:,}",
        "budget": f"{plan.budget:.6g}",
        "predicted spend": f"{plan.spend:.6g}",
        "% of the budget": f"{100 * plan.spend / plan.budget:.4f}" if plan.budget else "-",
        "predicted revenue": f"{plan.value:.6g}",
        "no plan above": f"{plan.bound:.6g}",
        "gap": f"{plan.gap:.3g}",
        "lam": f"{plan.lam:.6g}",
    }


if __name__ == "__main__":
    command(main, Config)
