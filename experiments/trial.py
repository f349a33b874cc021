"""Your own trial: any table with a treatment, a revenue and a cost column."""

from dataclasses import dataclass

from dfcl_jax.data import Columns, trial_table
from dfcl_jax.report import TableConfig, command, run_table


@dataclass(frozen=True, kw_only=True)
class Config(TableConfig):
    """Compare methods on a table of a randomised trial, one row for each person, and plan by the best of them."""

    treatment: str
    """Column of the treatment given: codes 0..m-1, or names."""
    revenue: str
    cost: str
    features: tuple[str, ...] = ()
    """Columns known before treatment; every other column if not given."""
    arms: tuple[str, ...] = ()
    """Values of the treatment column in the order of their codes."""
    propensities: tuple[float, ...] = ()
    """Probability of each treatment by design; the shares of the table if not given."""
    propensity_columns: tuple[str, ...] = ()
    """Columns of each person's probability of each treatment."""


def main(config: Config) -> None:
    """Load, train, compare, plan, report."""
    columns = Columns(
        treatment=config.treatment,
        revenue=config.revenue,
        cost=config.cost,
        features=config.features,
        arms=config.arms,
        propensities=config.propensities,
        propensity_columns=config.propensity_columns,
    )
    run_table("trial", config, trial_table(config.data, columns))


if __name__ == "__main__":
    command(main, Config)
