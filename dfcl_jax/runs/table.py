"""From somebody's own trial, a table of any size, to a comparison and a budgeted plan."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
import pandas as pd

from dfcl_jax.data import (
    Columns,
    Split,
    Table,
    encode,
    read_frame,
    unlike,
    with_budgets,
)
from dfcl_jax.data.task import check_fractions
from dfcl_jax.errors import refuse
from dfcl_jax.methods import Method, Mixture, Policy
from dfcl_jax.methods.saved import save_policy
from dfcl_jax.report.summary import proven_best
from dfcl_jax.report.terminal import number, per_cent, with_interval
from dfcl_jax.runs.config import TableConfig
from dfcl_jax.runs.opened_table import Opened, open_table
from dfcl_jax.runs.plan import plan_for
from dfcl_jax.runs.run_folder import Run, open_run
from dfcl_jax.solvers import chosen_budgets, usual_fractions
from dfcl_jax.study import Judge, Study, calibration_slopes, compare, mixture_of, policy_of, prove


def run_table(
    name: str,
    config: TableConfig,
    columns: Columns,
    methods: dict[str, Method] | None = None,
    *,
    table: Table | None = None,
    judge: Judge | None = None,
    plan: bool = True,
) -> Study:
    """Compare methods on a table and write the run folder, with a plan by the method that proved best.

    Args:
        name: of the experiment.
        config: its options.
        columns: which column is what.
        methods: what to compare; the standard methods with the options of the configuration if not given.
        table: the trial, where it is more than a reading of `columns`; it is then in memory.
        judge: how policies are judged.
        plan: whether to plan at the end.

    Raises:
        InputError: bad budgets, fractions, features or people, before anything is written.
    """
    check_fractions(config.fractions)
    methods = config.chosen_methods(methods)
    judge = judge or Judge(loss=config.two_stage.loss)
    if columns.cluster and config.splits:
        refuse("--cluster", found="it beside --splits", expected="folds, of which a cluster is in one")
    opened = open_table(config, columns, table)
    budgets = chosen_budgets(
        config.budgets,
        opened.mean_costs,
        usual_fractions(opened.rows, len(opened.arms)),
        what=f"mean costs of {', '.join(opened.arms)} (column {columns.cost!r})",
    )
    splits = with_budgets(opened.splits, budgets)
    people = None if config.people is None else _people(config.people, splits[0], config)
    data = {"rows": opened.rows, "checksum": opened.checksum, "arms": opened.arms, "fractions": config.fractions}
    data |= {"judge": judge._asdict(), "of_rows": columns.of_rows}
    data |= {} if config.splits else {"folds": config.folds}
    with open_run(name, config, **data, scaling=config.scaling, streamed=opened.table is None) as run:
        run.say(f"Treatments, the control first: {', '.join(opened.arms)}", *opened.notes)
        study = compare(jax.random.key(0), splits, methods, judge=judge, cells=run.cells(), skip_diverged=True)
        best = _judge(run, config, study, splits, opened)
        deployed = {name: _policy(config, study, splits, opened, name) for name in study.methods}
        save_policies(run, deployed)
        if plan:
            _plan(run, study, best, deployed[best], opened, splits, people, budgets, config.newcomers.clip)
    return study


def save_policies(run: Run, policies: Mapping[str, Policy | Mixture]) -> None:
    """Save policies under policies/METHOD."""
    for name, policy in policies.items():
        save_policy(policy, run.path / "policies" / name)


def _judge(run: Run, config: TableConfig, study: Study, splits: Sequence[Split], opened: Opened) -> str:
    """Report the study, and return the method that proved best."""
    if config.splits:
        run.report(study)
        return proven_best(study)
    proof = prove(study, splits, folds=config.folds, replicates=config.bootstrap_draws)
    run.report_proof(proof, study, calibration_slopes(study, splits[: config.folds]))
    return proof.chosen


def _policy(config: TableConfig, study: Study, splits: Sequence[Split], opened: Opened, name: str) -> Policy | Mixture:
    """What is deployed: the models of the first partition's folds, or the model of the first split."""
    if config.splits:
        return policy_of(study, splits[0], name, arms=opened.arms)
    return mixture_of(study, splits[: config.folds], name, arms=opened.arms)


def _people(path: Path, split: Split, config: TableConfig) -> pd.DataFrame:
    people = read_frame(path, reading=config.reading)
    if split.encoder is not None:
        encode(split.encoder, people)  # what it refuses is refused now, not after training
        config.newcomers.check(unlike(split.encoder, people))
    return people


def _plan(
    run: Run,
    study: Study,
    best: str,
    policy: Policy | Mixture,
    opened: Opened,
    splits: Sequence[Split],
    people: pd.DataFrame | None,
    budgets: Sequence[float],
    clip: bool,
) -> None:
    """Plan for people of a file, or for those of the trial by models that have not seen them."""
    models = None
    if people is not None:
        frame, rows = people, np.arange(len(people))
    elif opened.table is None or splits[0].test_rows is None:
        run.say("No plan: people of a streamed trial are planned for by ./scripts/run plan --people")
        return
    elif isinstance(policy, Mixture):
        own = [split.rows for split in splits[: len(policy.policies)]]
        rows, models = np.concatenate(own), np.repeat(np.arange(len(own)), list(map(len, own)))
        frame = opened.table.features.iloc[rows]
    else:
        frame, rows = opened.table.features.iloc[splits[0].rows], splits[0].rows
    plan = plan_for(policy, frame, rows, budgets, models=models, clip=clip)
    run.write_table("plan", plan.assignments.sort_values("row"))
    run.write_table("plan_budgets", plan.budgets)
    base = study.judge.base
    why = "no method proved better" if best == base else f"proved better than {base}"
    run.say("", f"Plan for {len(plan.assignments):,} people by {best} ({why}).")
    run.say(f"Spend and revenue per person as measured on {policy.curve.people:,} people that no model was trained on:")
    run.show(shown_plan(plan.budgets))
    unlike_trial = unlike(policy.encoder, frame).sentences(clip=clip) if policy.encoder is not None else []
    run.say(*plan.notes, *unlike_trial)


def shown_plan(budgets: pd.DataFrame) -> pd.DataFrame:
    """The table of a plan as text: spend and revenue with their intervals, shares of treatments in per cent."""
    table = pd.DataFrame({"budget": budgets.budget.map(number)})
    for what in ("spend", "revenue"):
        ends = budgets[[what, f"{what}_low", f"{what}_high"]]
        table[f"{what}, 95% interval"] = [with_interval(*row) for row in ends.itertuples(index=False)]
    for column in map(str, budgets.filter(regex="^share ")):
        table[column.removeprefix("share ")] = budgets[column].map(per_cent)
    return table
