"""The area under the cost curve of each method's ranking, for each seed."""

from collections.abc import Sequence

import pandas as pd

from dfcl_jax import metrics
from dfcl_jax.data import Split
from dfcl_jax.methods import CHEAPEST
from dfcl_jax.study.comparison import ORACLE, Study


def areas(study: Study, splits: Sequence[Split]) -> pd.DataFrame:
    """AUCC of two treatments, a column for each method and a row for each seed, indexed by it.

    Where the truth is known, by the expected outcomes of the test people (`metrics.true_aucc`), and of the oracle, too;
    otherwise by what was seen of them. The cheapest treatment for everybody ranks nobody and has none.
    """
    if splits[0].exam.truth is None:
        seen = study.quality.pivot(index="seed", columns="method", values="aucc")
        return seen[[name for name in study.cells if name != CHEAPEST]]
    rows = {}
    for k, split in enumerate(splits):
        test, truth = split.exam.test, split.exam.truth
        assert truth is not None
        predicted = {
            name: study.methods[name].predict(cells[k].params, test.x)
            for name, cells in study.cells.items() if name != CHEAPEST
        }  # fmt: skip
        rows[split.task.seed] = {
            name: float(metrics.true_aucc(metrics.roi_score(outcomes), truth))
            for name, outcomes in (predicted | {ORACLE: truth}).items()
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("seed")
