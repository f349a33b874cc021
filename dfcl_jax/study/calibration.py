"""Whether predicted effects are measured: calibration on people whom no model has seen."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dfcl_jax.data import Split
from dfcl_jax.metrics import by_cluster
from dfcl_jax.metrics.intervals import z_score
from dfcl_jax.study.comparison import Study, measured_scores, params_of, person_clusters


def calibration_slopes(study: Study, splits: Sequence[Split]) -> pd.DataFrame:
    """How far predicted effects over the control are measured: method, outcome, slope, low, high.

    The least-squares slope of the scores' differences to the first treatment on the predicted ones, both less their
    mean in each fold at each treatment: 1 where predictions are right on average, 0 where they say nothing of who gains
    more.
    Methods that predict money alone; of people whom models have not seen; errors are robust to unequal variances and
    to clusters.
    """
    base, rows = study.judge.base, []
    for name, method in study.methods.items():
        if not method.money:
            continue
        products = {"revenue": [], "cost": []}
        for split in splits:
            test = split.exam.test
            predicted = method.predict(params_of(study, name, split), test.x)
            measured = measured_scores(study.judge.settle, split, study.methods[base], params_of(study, base, split))
            for outcome, hat, score in zip(products, predicted, (measured.r, measured.c), strict=True):
                pair = (np.asarray(surface, np.float64) for surface in (hat, score))
                x, y = (surface[:, 1:] - surface[:, :1] for surface in pair)
                w = np.ones(len(x)) if test.weight is None else np.asarray(test.weight, np.float64)
                products[outcome].append((x - w @ x / w.sum(), y - w @ y / w.sum(), w[:, None]))
        groups = person_clusters(splits)
        for outcome, pairs in products.items():
            x, y, w = (np.concatenate(side) for side in zip(*pairs, strict=True))
            size = (w * x**2).sum()
            if size > 0:
                slope = (w * x * y).sum() / size
                parts = by_cluster((w * x * (y - slope * x)).sum(axis=1)[None], groups)
                error = np.sqrt((parts**2).sum()) / size
                reach = z_score(0.95) * error
                rows.append((name, outcome, slope, slope - reach, slope + reach))
    return pd.DataFrame(rows, columns=["method", "outcome", "slope", "low", "high"])
