"""How long a study will take, said before it starts, and how long it took."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

from dfcl_jax.methods import Boosted, CausalForest, Ensemble, Method
from dfcl_jax.runs.run_folder import Run

# Seconds of processor time, as measured on one machine (experiments/README.md); a rough guide to others.
COMPILING = 11.0  # the programs of a method, where none is kept from earlier runs
ROW = 2.5e-6  # a person of an epoch of training
FOREST_ROW = 2e-3  # a person of a causal forest; boosted trees take less than a network


def expected_seconds(methods: Mapping[str, Method], rows: int, seeds: int) -> float:
    """Processor time that methods take for so many training people and seeds, in seconds, by the rates above."""
    seen: set[str] = set()
    epochs = sum(_epochs(method, seen) for method in methods.values())
    forests = sum(isinstance(method, CausalForest) for method in methods.values())
    return COMPILING * len(methods) + seeds * rows * (ROW * epochs + FOREST_ROW * forests)


def _epochs(method: Any, seen: set[str]) -> float:
    """Epochs of a method with those of the methods it starts from, which are trained once in a study."""
    if repr(method) in seen or isinstance(method, Boosted | CausalForest):
        return 0.0
    seen.add(repr(method))
    if isinstance(method, Ensemble):
        return method.members * _epochs(method.of, set())
    training = getattr(method, "training", None)
    own = float(training.epochs) if training is not None else 0.0
    parts = [getattr(method, field.name) for field in fields(method)]
    folds = getattr(method, "folds", 1)
    starts = [part for part in parts if is_dataclass(part) and hasattr(part, "fit")]
    return own + sum(_epochs(part, seen) * (1 if folds < 2 else folds) for part in starts)


@contextmanager
def told(run: Run, seconds: float) -> Iterator[None]:
    """Say how long what follows will take, then how long it took."""
    run.say(
        f"Expected: about {_minutes(seconds)} of processor time (rates measured on one machine; "
        "cells and compiled programs that are kept take none)."
    )
    wall, processor = time.perf_counter(), time.process_time()
    yield
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    run.say(f"Took {_minutes(processor)} of processor time, {_minutes(wall)} on the clock.")


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} minutes"
