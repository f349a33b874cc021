"""Which column of a table is what."""

from collections.abc import Sequence
from dataclasses import dataclass

from dfcl_jax.errors import refuse


@dataclass(frozen=True)
class Columns:
    """Which column of a table is what."""

    treatment: str
    revenue: str
    cost: str
    features: tuple[str, ...] = ()  # none named: every column that has no other part
    propensities: tuple[float, ...] = ()  # by treatment, the same for everybody; neither given: shares of the table
    propensity_columns: tuple[str, ...] = ()  # or one column for each treatment
    arms: tuple[str, ...] = ()  # values of the treatment column in code order; none: see `data.treatments`
    control: str = ""  # the treatment that comes first where `arms` are not given; none: the cheapest
    categorical: tuple[str, ...] = ()  # features that are categories though they are numbers
    costs: tuple[float, ...] = ()  # what each treatment costs by design, whoever has it; NaN: to be estimated
    cluster: str = ""  # people with one value of it belong together, such as a household; none: everybody alone
    weight: str = ""  # how many people a row stands for; none: one

    @property
    def roles(self) -> tuple[str, ...]:
        """The columns that are no features."""
        return (self.treatment, self.revenue, self.cost, *self.propensity_columns)

    @property
    def numbers(self) -> tuple[str, ...]:
        """The columns that must be numbers."""
        return (*self.roles[1:], *filter(None, (self.weight,)))

    @property
    def of_rows(self) -> tuple[str, ...]:
        """The columns that say what a row is: its cluster and its weight."""
        return tuple(filter(None, (self.cluster, self.weight)))

    def features_among(self, names: Sequence[str]) -> list[str]:
        """The features of a table with columns `names`, none of which has two parts to play."""
        taken = (*self.roles, *self.of_rows)
        for role in taken:
            if role in self.features:
                found = "the treatment, an outcome, a propensity, the cluster or the weight"
                refuse(f"feature {role!r}", found=found, expected="another column")
        for name in self.of_rows:
            if taken.count(name) > 1:
                refuse(f"column {name!r}", found="it with two parts to play", expected="a column for each")
        if len(set(self.roles[:3])) < 3:
            found = f"{self.treatment!r}, {self.revenue!r} and {self.cost!r}"
            refuse("treatment, revenue and cost", found=found, expected="three columns")
        if self.propensities and self.propensity_columns:
            refuse("propensities", found="numbers and columns", expected="one of the two")
        features = list(dict.fromkeys(self.features)) or [name for name in names if name not in taken]
        if not features:
            refuse("features", found="none", expected="at least one column beside treatment, revenue and cost")
        for name in self.categorical:
            if name not in features:
                refuse(
                    f"categorical column {name!r}", found="no such feature", expected=f"one of {', '.join(features)}"
                )
        return features
