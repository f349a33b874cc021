"""Studies by hand: two seeds, two budgets."""

import pandas as pd

from dfcl_jax.methods import TWO_STAGE
from dfcl_jax.study import Judge, Study


def study_of(revenue, *, test_share: float = 0.0) -> Study:
    rows = [
        {"seed": seed, "method": method, "budget": budget, "revenue": values[seed][k]}
        for method, values in revenue.items()
        for seed in range(2)
        for k, budget in enumerate((0.1, 0.2))
    ]
    quality = pd.DataFrame({"seed": [0, 1], "method": [TWO_STAGE] * 2, "prediction_loss": [0.5, 0.7]})
    return Study(pd.DataFrame(rows), quality, pd.DataFrame(), {}, {}, Judge(), "truth", test_share)
