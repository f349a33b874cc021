"""Karlan and List's matching gifts: gifts bought with the matching donor's money."""

from dataclasses import dataclass

from dfcl_jax.data import sources
from dfcl_jax.runs import TableConfig, command, run_table


@dataclass(frozen=True, kw_only=True)
class Config(TableConfig):
    """Compare methods on the matching-gift trial (50,081 people; no match, 1:1, 2:1 or 3:1)."""


def main(config: Config) -> None:
    """Read, train, compare, plan, report."""
    run_table("karlan_list", config, sources.KARLAN_LIST, table=sources.karlan_list(config.data))


if __name__ == "__main__":
    command(main, Config)
