"""The value of every method on the validation part: what a user who tunes can see."""

from collections.abc import Sequence

import jax.numpy as jnp
import pandas as pd

from dfcl_jax import metrics, scores
from dfcl_jax.data import Split
from dfcl_jax.methods.judged import mean_value
from dfcl_jax.study.comparison import Study


def validation_values(study: Study, splits: Sequence[Split]) -> pd.DataFrame:
    """Revenue per person, mean over the budgets that the base can meet: a row for each seed, a column for each method.

    It is settled by doubly robust scores of the validation people with the base's predictions, the same for all
    methods. These people have chosen every method's checkpoint, too.
    """
    rows = []
    for k, split in enumerate(splits):
        valid, budgets = split.task.valid, jnp.asarray(split.task.budgets)

        def predicted(name: str, k: int = k, split: Split = split):
            return study.methods[name].predict(study.cells[name][k].params, split.task.valid.x)

        base = predicted(study.judge.base)
        settling = scores.aipw(valid, base)
        met = ~jnp.isnan(metrics.eom(base, settling, budgets, weights=valid.weight).revenue)
        judge = (settling, budgets, valid.weight, met)
        rows.append({name: float(mean_value(predicted(name), judge)) for name in study.methods})
    return pd.DataFrame(rows, index=pd.Index([split.task.seed for split in splits], name="seed"))
