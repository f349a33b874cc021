"""Real trials on one page: what each proves, and how many rows would tell a lift of 1%."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple

from dfcl_jax.data import Columns, Table, sources
from dfcl_jax.errors import refuse
from dfcl_jax.files import write_atomically
from dfcl_jax.runs import TableConfig, command, run_path, run_table


class Trial(NamedTuple):
    """A published trial: its file, how it is read, and which column is what."""

    file: str
    read: Callable[[Path], Table]
    columns: Columns


TRIALS = {
    "hillstrom": Trial("hillstrom.csv", sources.hillstrom, sources.HILLSTROM),
    "hillstrom_visits": Trial("hillstrom.csv", sources.hillstrom_visits, sources.HILLSTROM_VISITS),
    "karlan_list": Trial("karlan_list.csv.gz", sources.karlan_list, sources.KARLAN_LIST),
    "thornton": Trial("thornton_hiv.csv", sources.thornton, sources.THORNTON),
}


@dataclass(frozen=True, kw_only=True)
class Config(TableConfig):
    """Compare methods on the published trials of a folder: Hillstrom, Karlan and List, Thornton."""

    data: Path = field(default_factory=Path)
    """Folder with hillstrom.csv, karlan_list.csv.gz or thornton_hiv.csv."""
    trials: tuple[Literal["hillstrom", "hillstrom_visits", "karlan_list", "thornton"], ...] = ()
    """Which of them; all that are there if not given."""


def main(config: Config) -> None:
    """Run every trial that is there, and put what each proves on one page."""
    asked = {name: TRIALS[name] for name in config.trials or TRIALS}
    found = {name: trial for name, trial in asked.items() if (config.data / trial.file).is_file()}
    if not found:
        files = ", ".join(dict.fromkeys(trial.file for trial in asked.values()))
        refuse("--data", found=f"{config.data} without any of them", expected=f"a folder with {files}")
    out, pages = run_path("real", config.out), []
    for name, trial in found.items():
        print(f"\n{name}")
        path = config.data / trial.file
        one = replace(config, data=path, out=out / name)
        run_table(name, one, trial.columns, table=trial.read(path), plan=False)
        pages.append(f"## {name}\n\n{(out / name / 'table.md').read_text()}")
    write_atomically(out / "page.md", "\n".join(pages).encode())
    print(f"Written to {out / 'page.md'}")


if __name__ == "__main__":
    command(main, Config)
