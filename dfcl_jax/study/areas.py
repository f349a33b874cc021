"""The area under the cost curve of each method's ranking, for each seed."""

import pandas as pd

from dfcl_jax.errors import refuse
from dfcl_jax.methods import CHEAPEST
from dfcl_jax.study.comparison import ORACLE, Study


def areas(study: Study) -> pd.DataFrame:
    """AUCC of two treatments, a column for each method and a row for each seed, indexed by it.

    Where the truth is known it is by the expected outcomes of the test people (`metrics.true_aucc`), with a column for
    the oracle; otherwise by the outcomes that were seen. The cheapest treatment for everybody ranks nobody, so that it
    has no column.

    Raises:
        InputError: more than two treatments.
    """
    if "aucc" not in study.quality:
        refuse("treatments", found="several, or propensities of each person", expected="two, for a cost curve")
    seen = study.quality.pivot(index="seed", columns="method", values="aucc")
    return seen[[name for name in (*study.cells, ORACLE) if name in seen and name != CHEAPEST]]
