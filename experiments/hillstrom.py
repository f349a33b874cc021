"""Hillstrom's e-mail trial: spend bought with visits, or with a price for each e-mail."""

from dataclasses import dataclass

from dfcl_jax.data import sources
from dfcl_jax.runs import TableConfig, command, run_table


@dataclass(frozen=True, kw_only=True)
class Config(TableConfig):
    """Compare methods on the MineThatData e-mail challenge (64,000 people; none, men's or women's e-mail)."""

    email_price: float | None = None
    """Cost of an e-mail; if not given, a visit is the cost, as in the literature on Criteo."""


def main(config: Config) -> None:
    """Read, train, compare, plan, report."""
    table = sources.hillstrom(config.data, email_price=config.email_price)
    run_table("hillstrom", config, sources.HILLSTROM, table=table)


if __name__ == "__main__":
    command(main, Config)
