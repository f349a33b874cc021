"""The comparison of two arithmetics."""

import pandas as pd

from dfcl_jax import METHODS
from dfcl_jax.methods import TWO_STAGE


def test_changes_are_per_cent_of_each_seed_with_their_interval(experiment):
    names = (TWO_STAGE, *METHODS)
    before = pd.DataFrame(
        [{"method": name, "seed": s, "revenue": 1.0 + s, "aucc": 0.5} for name in names for s in (0, 1)]
    )
    after = before.assign(revenue=[value * (1.01, 1.03)[k % 2] for k, value in enumerate(before.revenue)])
    seeds = pd.concat([before.assign(compute="float32"), after.assign(compute="bfloat16")])
    headers, rows = experiment("precision").differences(seeds, "float32", "bfloat16")
    assert headers == ["method", "EOM, mean over budgets", "change, %", "AUCC", "change, %"]
    # Student's t of two seeds: 12.706 x the half difference of 1 % and 3 %.
    assert rows == [[name, "1.5", "+2.000 ±12.706", "0.5", "+0.000 ±0.000"] for name in names]
