"""The paper's tables and figures, every method beside what was published: `./scripts/run paper --table 1`."""

from dataclasses import replace

from dfcl_jax.runs import command, run_path
from dfcl_jax.runs.paper import FIGURES, TABLES, PaperConfig, run_days, run_figure, run_table_of_paper

Config = PaperConfig


def main(config: PaperConfig) -> None:
    """Make what is asked for."""
    if config.all:
        out = run_path("paper", config.out)
        for table in (*TABLES, 3):
            main(replace(config, all=False, table=table, out=out / f"table-{table}"))
        for figure in FIGURES:
            main(replace(config, all=False, figure=figure, out=out / figure))
    elif config.table == 3:
        run_days(config)
    elif config.table is not None:
        run_table_of_paper(config.table, config)
    elif config.figure is not None:
        run_figure(config.figure, config)


if __name__ == "__main__":
    command(main, Config)
