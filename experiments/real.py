"""Real trials on one page: what each proves, and how many rows would tell a lift of 1%."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from dfcl_jax.data import Columns, Table, described_trials, sources
from dfcl_jax.errors import refuse
from dfcl_jax.files import write_atomically
from dfcl_jax.runs import TableConfig, command, run_path, run_table


class Trial(NamedTuple):
    """A trial: its table, which column is what, and how it is read where that is more than its columns."""

    path: Path
    columns: Columns
    read: Callable[[Path], Table] | None = None


PUBLISHED = {
    "hillstrom": Trial(Path("hillstrom.csv"), sources.HILLSTROM, sources.hillstrom),
    "hillstrom_visits": Trial(Path("hillstrom.csv"), sources.HILLSTROM_VISITS, sources.hillstrom_visits),
    "karlan_list": Trial(Path("karlan_list.csv.gz"), sources.KARLAN_LIST, sources.karlan_list),
    "thornton": Trial(Path("thornton_hiv.csv"), sources.THORNTON, sources.thornton),
    # Released as train.csv.
    "mt_lift": Trial(Path("mt_lift.csv"), sources.MT_LIFT),
}


@dataclass(frozen=True, kw_only=True)
class Config(TableConfig):
    """Compare methods on every trial of a folder: published ones, and any table beside a file of its columns."""

    data: Path = field(default_factory=Path)
    """Folder with hillstrom.csv, karlan_list.csv.gz, thornton_hiv.csv, mt_lift.csv, or tables of your own, each beside
    NAME.trial.json: {"file": "coupons.csv", "treatment": COL, "revenue": COL, "cost": COL, ...}, as of `trial`."""
    trials: tuple[str, ...] = ()
    """Names of some of them; all that are there if not given."""


def main(config: Config) -> None:
    """Run every trial that is there, and put what each proves on one page."""
    out, pages = run_path("real", config.out), []
    for name, trial in chosen_trials(config.data, config.trials).items():
        print(f"\n{name}")
        one = replace(config, data=trial.path, out=out / name)
        table = None if trial.read is None else trial.read(trial.path)
        run_table(name, one, trial.columns, table=table, plan=False)
        pages.append(f"## {name}\n\n{(out / name / 'table.md').read_text()}")
    write_atomically(out / "page.md", "\n".join(pages).encode())
    print(f"Written to {out / 'page.md'}")


def chosen_trials(folder: Path, names: tuple[str, ...]) -> dict[str, Trial]:
    """The trials of a folder by name, published ones first.

    Raises:
        InputError: a folder without a trial, or without one that is asked for; a table of one's own under the name of a
            published trial; what `data.described_trials` refuses.
    """
    there = {name: trial._replace(path=folder / trial.path) for name, trial in PUBLISHED.items()}
    there = {name: trial for name, trial in there.items() if trial.path.is_file()}
    for name, described in described_trials(folder).items():
        if name in PUBLISHED:
            refuse(f"{name}.trial.json", found="the name of a published trial", expected="another name")
        there[name] = Trial(*described)
    files = ", ".join(dict.fromkeys(str(trial.path) for trial in PUBLISHED.values()))
    if not there:
        refuse("--data", found=f"{folder} without any trial", expected=f"a folder with {files} or NAME.trial.json")
    for name in names:
        if name not in there:
            file = PUBLISHED[name].path if name in PUBLISHED else f"{name}.trial.json"
            refuse(f"--trials {name}", found=f"no {file} in {folder}", expected=f"one of {', '.join(there)}")
    return {name: there[name] for name in names or there}


if __name__ == "__main__":
    command(main, Config)
