"""Decide by an exported policy, whose folder this file stands in: it needs json, NumPy, pandas and JAX alone.

python serve.py PEOPLE.csv BUDGET > TREATMENTS.txt
"""

import json
import sys
from pathlib import Path
from statistics import NormalDist
from typing import Any

import jax
import numpy as np
import pandas as pd


class Served:
    """An exported policy."""

    def __init__(self, folder: str | Path):
        """Read the policy's two files."""
        about = json.loads((Path(folder) / "policy.json").read_bytes())
        self._columns, self._curve, self._arms = about["encoder"], about["curve"], np.asarray(about["arms"])
        self._decide = jax.export.deserialize(bytearray((Path(folder) / "decide.stablehlo").read_bytes())).call

    def __call__(
        self, people: Any, budget: float, *, rows: np.ndarray | None = None, risk: float | None = None
    ) -> np.ndarray:
        """Names of the treatments of n people, [n].

        Args:
            people: their features, a table or a matrix [n, d].
            budget: cost per person.
            rows: identity of each person for the dice, [n] uint32; 0 to n - 1 if not given.
            risk: probability of a true spend above the budget.
        """
        x = _encode(self._columns, people) if isinstance(people, pd.DataFrame) else np.asarray(people, np.float32)
        rows = np.arange(len(x), dtype=np.uint32) if rows is None else rows
        return self._arms[np.asarray(self._decide(x, rows, *_rule(self._curve, budget, risk)))]


def _encode(columns: list[dict[str, Any]], people: pd.DataFrame) -> np.ndarray:
    """Features as the matrix that the policy knows, [n, d]."""
    encoded = []
    for column in columns:
        values = people[column["name"]]
        if "levels" in column:
            texts = values.map(_text, na_action="ignore")
            known = [(texts == level).to_numpy(bool) for level in column["levels"]]
            encoded += known
            encoded += [values.notna().to_numpy() & ~np.any(known, axis=0)] if column["pooled"] else []
            continue
        if column["unit"] == "day":
            values = (pd.to_datetime(values, utc=True) - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(1, "D")
        numbers = pd.to_numeric(values).to_numpy(np.float64, na_value=np.nan)
        missing = np.isnan(numbers)
        encoded.append((np.where(missing, column["fill"], numbers) - column["shift"]) / column["scale"])
        encoded += [missing] if column["flag_missing"] else []
    return np.stack(encoded, axis=1).astype(np.float32)


def _text(value: Any) -> str:
    """A category in its shortest form: 36 for 36.0."""
    return str(value) if isinstance(value, str | bool) else f"{float(value):.15g}"


def _rule(curve: dict[str, Any], budget: float, risk: float | None) -> tuple[np.generic, ...]:
    """The rule whose spend, or with a risk its upper end, first comes up to the budget."""
    lam, spend, error = (np.asarray(curve[name], np.float64) for name in ("lam", "spend", "spend_error"))
    lam = np.where(np.isnan(lam), np.inf, lam)  # of the first point, which JSON cannot write
    aim = spend if risk is None else spend + NormalDist().inv_cdf(1 - risk) * error
    over = np.flatnonzero(aim > budget)
    high = int(over[0]) if over.size else len(aim) - 1
    low = max(high - 1, 0) if over.size else high
    room = aim[high] - aim[low]
    share = np.clip((budget - aim[low]) / room, 0, 1) if room > 0 else 0.0
    return *map(np.float32, (lam[low], lam[high], share)), np.int32(curve["cheapest"])


if __name__ == "__main__":
    print(*Served(Path(__file__).parent)(pd.read_csv(sys.argv[1]), float(sys.argv[2])), sep="\n")
