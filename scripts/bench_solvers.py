"""Times the solvers of the budgeted plan beside plain sorts, and the maq package where it is installed; CPU or GPU."""

import importlib.util
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Config:
    """What is timed, and how often."""

    n: int = 1_000_000  # people
    arms: tuple[int, ...] = (5, 10, 20)  # costly treatments, beside a free control
    large: int = 20_000_000  # people of the last case, with the first of `arms`; 0 leaves it out
    budgets: int = 100
    rounds: int = 7  # every candidate is timed once a round
    one_core: bool = True  # time the first case on one core as well
    out: Path | None = None  # a JSON file for the figures


def main(config: Config) -> None:
    """Run every case in a process of its own, whose peak memory is the case's."""
    cases = [{"n": config.n, "arms": arms} for arms in config.arms]
    if config.one_core:
        cases.insert(1, cases[0] | {"cores": 1})
    if config.large:
        cases.append({"n": config.large, "arms": config.arms[0], "rounds": 1})
    results = []
    for case in cases:
        options = {"budgets": config.budgets, "rounds": config.rounds, "cores": os.cpu_count()} | case
        done = subprocess.run(
            [sys.executable, __file__, "--case", json.dumps(options)], stdout=subprocess.PIPE, text=True, check=True
        )
        results.append(json.loads(done.stdout))
        show(results[-1])
    if config.out is not None:
        config.out.write_text(json.dumps({"config": asdict(config) | {"out": None}, "cases": results}, indent=2) + "\n")


def run_case(options: dict[str, Any]) -> dict[str, Any]:
    """Time the candidates in turn, round by round, so that all see the same machine."""
    os.sched_setaffinity(0, range(options["cores"]))
    import jax
    import jax.numpy as jnp

    from dfcl_jax import Outcomes, solvers

    rng, shape = np.random.default_rng(0), (options["n"], options["arms"] + 1)
    r, c = rng.random(shape, np.float32), rng.random(shape, np.float32)
    c += np.float32(0.05)
    r[:, 0] = c[:, 0] = 0
    outcomes = Outcomes(jnp.asarray(r), jnp.asarray(c))
    loaded = peak_memory()
    path = solvers.budget_path(outcomes)
    budgets = np.linspace(0.02, 0.98, options["budgets"]) * path.spend[-1]
    budget = float(budgets[len(budgets) // 3])
    hull = jax.jit(solvers.upper_hull)
    calls: dict[str, Callable[[], object]] = {
        "budget_path": lambda: solvers.budget_path(outcomes),
        "of it, hulls": lambda: hull(outcomes),
        "allocate, bisect": lambda: solvers.allocate(outcomes, budget),
        "allocate, path": lambda: solvers.allocate(outcomes, budget, method="path"),
        "multiplier": lambda: solvers.multiplier(outcomes, budget),
        f"{len(budgets)} budgets of the path: values": lambda: path.at(budgets),
        f"{len(budgets)} budgets of the path: decisions": lambda: path.decisions(path.at(budgets).steps),
    }
    if options["n"] <= 2_000_000:
        slopes = r[:, 1:].ravel() / c[:, 1:].ravel()
        keys = slopes.view(np.uint32).astype(np.uint64) << np.uint64(32) | np.arange(slopes.size, dtype=np.uint64)
        on_device = jnp.asarray(slopes)
        argsort = jax.jit(jnp.argsort)
        calls |= {
            "NumPy: argsort of all slopes": lambda: np.argsort(slopes),
            "NumPy: sort of all slopes in 64-bit keys": lambda: np.sort(keys),
            "XLA: argsort of all slopes": lambda: argsort(on_device),
        }
        if importlib.util.find_spec("maq"):
            from maq import MAQ  # type: ignore[import-not-found]

            calls["maq: path"] = lambda: MAQ(n_bootstrap=0).fit(r[:, 1:], c[:, 1:], r[:, 1:])
    seconds = {name: [] for name in calls}
    for number in range(options["rounds"] + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            jax.block_until_ready(call())
            # The first round compiles.
            if number:
                seconds[name].append(time.perf_counter() - start)
    plan = solvers.allocate(outcomes, budget)
    spend = c[np.arange(len(c)), np.asarray(plan.arm)].mean(dtype=np.float64)
    return options | {
        "device": str(jax.devices()[0]),
        "seconds": {name: {"least": min(times), "median": float(np.median(times))} for name, times in seconds.items()},
        "steps": len(path.lam),
        "spend_over_budget": spend / budget,
        "gap_over_value": float(plan.gap / plan.value),
        "memory_of_data_gib": loaded,
        "peak_memory_gib": peak_memory(),
    }


def peak_memory() -> float:
    """The most memory this process has held, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def show(result: dict[str, Any]) -> None:
    """A table of one case."""
    title = f"{result['n']:,} people x {result['arms']} treatments and a free control, {result['cores']} cores"
    table = Table("", "least, s", "median, s", title=title, caption_justify="left")
    for name, times in result["seconds"].items():
        table.add_row(name, f"{times['least']:.4f}", f"{times['median']:.4f}")
    table.caption = (
        f"{result['device']}, {result['steps']:,} steps; plan spends {result['spend_over_budget']:.9f} of its budget, "
        f"gap {result['gap_over_value']:.1e} of its value; peak memory {result['peak_memory_gib']:.2f} GiB, of which "
        f"{result['memory_of_data_gib']:.2f} before the first call"
    )
    Console().print(table)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--case"]:
        print(json.dumps(run_case(json.loads(sys.argv[2]))))
    else:
        main(tyro.cli(Config))
