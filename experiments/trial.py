"""Your own trial: any table with a treatment, a revenue and a cost column."""

from dataclasses import dataclass

from dfcl_jax.data import Columns
from dfcl_jax.runs import TableConfig, command, run_table


@dataclass(frozen=True, kw_only=True)
class Config(TableConfig):
    """Compare methods on a table of a randomised trial, one row for each person, and plan by the best of them."""

    treatment: str
    """Column of the treatment given."""
    revenue: str
    cost: str
    features: tuple[str, ...] = ()
    """Columns known before treatment; every other column if not given."""
    categorical: tuple[str, ...] = ()
    """Features that are categories though they are written as numbers."""
    arms: tuple[str, ...] = ()
    """Values of the treatment column, the control first; the cheapest comes first if not given."""
    control: str = ""
    """The treatment that comes first where --arms are not given."""
    costs: tuple[float, ...] = ()
    """What each treatment costs by design, whoever has it, in the order of --arms; nan: estimated from the data."""
    cluster: str = ""
    """Column of what belongs together, such as a household or a shop: it is in one fold, and errors respect it."""
    weight: str = ""
    """Column of how many people a row stands for, where a method learns as where it is judged."""
    propensities: tuple[float, ...] = ()
    """Probability of each treatment by design, in the order of --arms; the shares of the table if not given."""
    propensity_columns: tuple[str, ...] = ()
    """Columns of each person's probability of each treatment."""


def main(config: Config) -> None:
    """Read, train, compare, plan, report."""
    columns = Columns(
        treatment=config.treatment,
        revenue=config.revenue,
        cost=config.cost,
        features=config.features,
        categorical=config.categorical,
        arms=config.arms,
        control=config.control,
        costs=config.costs,
        cluster=config.cluster,
        weight=config.weight,
        propensities=config.propensities,
        propensity_columns=config.propensity_columns,
    )
    run_table("trial", config, columns)


if __name__ == "__main__":
    command(main, Config)
