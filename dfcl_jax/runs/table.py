"""From somebody's own trial, a table of any size, to a comparison and a budgeted plan."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from dfcl_jax import metrics, scores
from dfcl_jax.data import (
    Columns,
    Encoder,
    Exam,
    Reading,
    Split,
    Table,
    Task,
    check_leaks,
    encode,
    fold_of,
    open_parts,
    open_trial,
    part_of,
    read_frame,
    split_folds,
    split_table,
    trial_table,
    unlike,
    with_budgets,
)
from dfcl_jax.data.encode import Scaling
from dfcl_jax.data.streamed import Choice
from dfcl_jax.data.task import check_fractions
from dfcl_jax.errors import refuse
from dfcl_jax.methods import Method, Mixture, Policy
from dfcl_jax.methods.saved import save_policy
from dfcl_jax.report.summary import proven_best
from dfcl_jax.report.terminal import number, per_cent, with_interval
from dfcl_jax.runs.config import RunConfig
from dfcl_jax.runs.newcomers import Newcomers
from dfcl_jax.runs.options import COUNT, Within
from dfcl_jax.runs.plan import plan_for
from dfcl_jax.runs.run_folder import Run, open_run
from dfcl_jax.solvers import chosen_budgets, usual_fractions
from dfcl_jax.study import Judge, Study, calibration_slopes, compare, mixture_of, policy_of, prove
from dfcl_jax.train import available_memory
from dfcl_jax.types import Trial

# A trial in memory is there several times over: as a table, encoded, split for each seed, stacked, with scores.
COPIES = 12
# Of the memory that is free, what a trial may take unless --memory says otherwise.
SHARE = 0.5


@dataclass(frozen=True, kw_only=True)
class TableConfig(RunConfig):
    """The options of every experiment on a table."""

    data: Path
    """CSV file (also .csv.gz), Parquet file, or folder of parts of either."""
    reading: Reading = field(default_factory=Reading)
    """How CSV files are written; found out if not given."""
    memory: Annotated[float, Within(0, above=True)] | None = None
    """GB that the trial may take; a larger one is streamed from its files. Half of what is free if not given."""
    folds: Annotated[int, Within(2)] = 5
    """Parts of the trial, each judged by models of the others: everybody is judged once."""
    seeds: Annotated[int, COUNT] = 1
    """Partitions into folds, numbered from --first-seed; estimates are medians over them."""
    splits: Annotated[int, Within(0)] = 0
    """Judge by so many overlapping random splits, by --fractions, instead of folds."""
    budgets: tuple[Annotated[float, Within(0)], ...] = ()
    """Cost per person; between the cheapest and the dearest treatment's mean cost if not given: six, or two if few."""
    fractions: tuple[float, float, float] = (0.6, 0.1, 0.3)
    """Training, validation and test parts; of folds the first two say what share of the rest is for validation."""
    scaling: Scaling = "standard"
    people: Path | None = None
    """Table of people to plan for; those of the trial if not given, each by models that have not seen them."""
    newcomers: Newcomers = field(default_factory=Newcomers)
    """How far those people may differ from the trial's."""

    @property
    def seed_numbers(self) -> range:
        """The numbers of the partitions, or of the splits."""
        return range(self.first_seed, self.first_seed + (self.splits or self.seeds))

    @property
    def valid(self) -> float:
        """The validation part of the rows outside a fold."""
        return self.fractions[1] / (self.fractions[0] + self.fractions[1])


class Opened(NamedTuple):
    """A trial that was read and checked, in memory or not."""

    splits: list[Split]
    arms: tuple[str, ...]
    mean_costs: np.ndarray  # [m]
    checksum: int
    rows: int
    table: Table | None  # None: it is streamed
    notes: list[str]  # what was found out, and what makes figures doubtful

    @property
    def clusters(self) -> np.ndarray | None:
        """[n] the cluster of each row."""
        return None if self.table is None else self.table.cluster


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
    if columns.of_rows and table is None and not _fits(config):
        found = f"{', '.join(columns.of_rows)} in a trial that is streamed from its files"
        refuse("cluster, weight", found=found, expected="a trial that fits into memory (--memory)")
    if columns.cluster and config.splits:
        refuse("--cluster", found="it beside --splits", expected="folds, of which a cluster is in one")
    opened = _streamed(config, columns) if table is None and not _fits(config) else _in_memory(config, columns, table)
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
        study = compare(jax.random.key(0), splits, methods, judge=judge, cells=run.cells())
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
    proof = prove(study, splits, folds=config.folds, clusters=opened.clusters)
    run.report_proof(proof, study, calibration_slopes(study, splits[: config.folds]))
    return proof.chosen


def _policy(config: TableConfig, study: Study, splits: Sequence[Split], opened: Opened, name: str) -> Policy | Mixture:
    """What is deployed: the models of the first partition's folds, or the model of the first split."""
    if config.splits:
        return policy_of(study, splits[0], name, arms=opened.arms)
    return mixture_of(study, splits[: config.folds], name, arms=opened.arms, clusters=opened.clusters)


def _fits(config: TableConfig) -> bool:
    """Whether the trial fits the memory that it may take."""
    path = Path(config.data).expanduser()
    if path.is_file() and not path.name.lower().endswith((".parquet", ".pq")):
        size = path.stat().st_size * (4 if path.name.endswith(".gz") else 1)
    elif path.exists():
        parts = open_parts(path, reading=config.reading)
        size = 8 * parts.rows * len(parts.schema.names)
    else:
        return True  # refused where it is read
    limit = SHARE * available_memory() if config.memory is None else config.memory * 1e9
    return COPIES * size <= limit


def _in_memory(config: TableConfig, columns: Columns, table: Table | None) -> Opened:
    table = trial_table(config.data, columns, reading=config.reading) if table is None else table
    splits = [split for number in config.seed_numbers for split in _splits(table, config, number)]
    config.two_stage.check_outcomes({f"column {columns.revenue!r}": table.r, f"column {columns.cost!r}": table.c})
    encoder = splits[0].encoder
    assert encoder is not None
    whole = Trial(encode(encoder, table.features), table.t, table.r, table.c, table.p)  # pyright: ignore
    mean_costs = scores.mean_costs(whole, table.known_costs, people=table.weight)
    doubts = _doubts(whole, columns, table.arms, encoder)
    notes = [*table.notes, *map("Doubtful: {}".format, [*doubts, *check_leaks(table)])]
    return Opened(splits, table.arms, mean_costs, _checksum(table), len(table.t), table, notes)


def _splits(table: Table, config: TableConfig, number: int) -> list[Split]:
    """One random split, or the folds of one partition."""
    if config.splits:
        return [split_table(table, number, fractions=config.fractions, scaling=config.scaling)]
    return split_folds(table, number, folds=config.folds, valid=config.valid, scaling=config.scaling)


def _streamed(config: TableConfig, columns: Columns) -> Opened:
    # Values of the encoder are learned from the first split's training rows alone; folds have no rows in common for it.
    training = part_of(config.first_seed, config.fractions, 0) if config.splits else None
    trial = open_trial(config.data, columns, scaling=config.scaling, reading=config.reading, training=training)
    row = 4 * (len(trial.encoder.names) + 6 * len(trial.arms))
    limit = SHARE * available_memory() if config.memory is None else config.memory * 1e9
    choices = _streamed_parts(config)
    most = max(int(limit / COPIES / row / len(choices)), 2**16)
    splits = []
    for seed, parts in choices.items():
        train, valid, test = map(trial.select, parts)
        in_memory = [jax.tree.map(jnp.asarray, part.read(most, seed=seed)) for part in (valid, test)]
        task = Task(train, in_memory[0], (), seed, costs=tuple(trial.known_costs))
        splits.append(Split(task, Exam(in_memory[1], None), trial.encoder))
    sample = trial.sample(2**18)
    mean_costs = scores.mean_costs(sample, trial.known_costs)
    doubts = _doubts(sample, columns, trial.arms, trial.encoder)
    held = f"{trial.rows:,} rows are streamed; up to {most:,} of the validation and test parts are held in memory"
    notes = [held, *trial.notes, *map("Doubtful: {}".format, [*doubts, *trial.leaks])]
    about = str([(group.rows, group.start) for group in trial.parts.groups]) + str(trial.columns)
    checksum = zlib.crc32(about.encode(), zlib.crc32(np.asarray(sample.r).tobytes()))
    return Opened(splits, trial.arms, mean_costs, checksum, trial.rows, None, notes)


def _streamed_parts(config: TableConfig) -> dict[int, tuple[Choice, Choice, Choice]]:
    """Training, validation and test rows of each task, by its number."""
    if config.splits:
        parts = partial(part_of, fractions=config.fractions)
        return {seed: (parts(seed, k=0), parts(seed, k=1), parts(seed, k=2)) for seed in config.seed_numbers}
    return {
        partition * config.folds + k: fold_of(partition, config.folds, k, valid=config.valid)
        for partition in config.seed_numbers
        for k in range(config.folds)
    }


def _doubts(trial: Trial, columns: Columns, arms: tuple[str, ...], encoder: Encoder) -> list[str]:
    """What makes figures doubtful, and why a figure is not defined."""
    found = metrics.doubts(
        trial,
        arms,
        names=encoder.names,
        given_propensities=bool(columns.propensities or columns.propensity_columns),
        outcomes=(columns.revenue, columns.cost),
    )
    if trial.p.shape != (2,):
        return found
    dearer_last = trial if np.diff(scores.mean_costs(trial))[0] >= 0 else trial._replace(t=1 - trial.t)
    why = metrics.why_undefined(dearer_last, metrics.aucc, arms=arms if dearer_last is trial else arms[::-1])
    return found if why is None else [*found, f"AUCC is not defined here: {why}"]


def _people(path: Path, split: Split, config: TableConfig) -> pd.DataFrame:
    people = read_frame(path, reading=config.reading)
    if split.encoder is not None:
        encode(split.encoder, people)  # what it refuses is refused now, not after training
        config.newcomers.check(unlike(split.encoder, people))
    return people


def _checksum(table: Table) -> int:
    checksum = 0
    of_rows = [part for part in (table.cluster, table.weight) if part is not None]
    for part in (*of_rows, table.t, table.r, table.c, table.p, pd.util.hash_pandas_object(table.features).to_numpy()):
        checksum = zlib.crc32(part.tobytes(), checksum)
    return checksum


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
