"""The area under the cost curve of each method's ranking, for each seed."""

from collections.abc import Sequence

import pandas as pd

from dfcl_jax import metrics
from dfcl_jax.data import Split
from dfcl_jax.errors import refuse
from dfcl_jax.methods import CHEAPEST
from dfcl_jax.study.comparison import ORACLE, Study, params_of


def areas(study: Study, splits: Sequence[Split]) -> pd.DataFrame:
    """AUCC of two treatments, a column for each method and a row for each seed, indexed by it.

    Where the truth is known it is by the expected outcomes of the test people (`metrics.true_aucc`), with a column for
    the oracle; otherwise by the outcomes that were seen. The cheapest treatment for everybody ranks nobody, so that it
    has no column.

    Raises:
        InputError: more than two treatments.
    """
    ranking = [name for name in study.cells if name != CHEAPEST]
    if splits[0].exam.truth is None:
        if "aucc" not in study.quality:
            refuse("treatments", found="several, or propensities of each person", expected="two, for a cost curve")
        return study.quality.pivot(index="seed", columns="method", values="aucc")[ranking]
    rows = {}
    for split in splits:
        test, truth = split.exam.test, split.exam.truth
        assert truth is not None
        predicted = {name: study.methods[name].predict(params_of(study, name, split), test.x) for name in ranking}
        rows[split.task.seed] = {
            name: float(metrics.true_aucc(metrics.roi_score(outcomes), truth))
            for name, outcomes in (predicted | {ORACLE: truth}).items()
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("seed")
