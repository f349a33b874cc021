"""Times the solvers of the budgeted plan beside the same algorithm in NumPy, and the maq package if it is installed.

Growth is the exponent k of the fit time = constant * n^k, or m^k: 1 is linear.
"""

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

    n: tuple[int, ...] = (250_000, 1_000_000)  # people; all but the last with the first of `arms` alone
    arms: tuple[int, ...] = (5, 10, 20, 50)  # costly treatments, beside a free control
    concave: bool = False  # every treatment on everybody's hull, instead of random numbers
    large: int = 20_000_000  # people of the last case, with the first of `arms`; 0 leaves it out
    budgets: int = 100
    rounds: int = 7  # every candidate is timed once a round
    one_core: bool = True  # time the first case on one core as well
    out: Path | None = None  # a JSON file for the figures


def main(config: Config) -> None:
    """Run every case in a process of its own, whose peak memory is the case's."""
    cases = [{"n": n, "arms": config.arms[0]} for n in config.n] + [
        {"n": config.n[-1], "arms": arms} for arms in config.arms[1:]
    ]
    if config.one_core:
        cases.insert(len(config.n), cases[len(config.n) - 1] | {"cores": 1})
    if config.large:
        cases.append({"n": config.large, "arms": config.arms[0], "rounds": 1})
    results = []
    for case in cases:
        options = {"budgets": config.budgets, "rounds": config.rounds, "concave": config.concave}
        options |= {"cores": os.cpu_count()} | case
        done = subprocess.run(
            [sys.executable, __file__, "--case", json.dumps(options)], stdout=subprocess.PIPE, text=True, check=True
        )
        results.append(json.loads(done.stdout))
        show(results[-1])
    show_growth(results)
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
    if options["concave"]:
        c.sort(axis=1)
        r = np.sqrt(c) * r[:, :1]
    r[:, 0] = c[:, 0] = 0
    outcomes = Outcomes(jnp.asarray(r), jnp.asarray(c))
    loaded = peak_memory()
    path = solvers.budget_path(outcomes)
    of_the_path = peak_memory()
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
            "NumPy: path": lambda: numpy_path(r, c),
            "NumPy: argsort of all slopes": lambda: np.argsort(slopes),
            "NumPy: sort of all slopes in 64-bit keys": lambda: np.sort(keys),
        }
        if slopes.size <= 5_000_000:  # seconds for more
            calls["XLA: argsort of all slopes"] = lambda: argsort(on_device)
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
        "peak_memory_of_path_gib": of_the_path,
        "peak_memory_gib": peak_memory(),
    }


def numpy_path(r: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, ...]:
    """The path of the LP relaxation in plain NumPy: gift wrapping for everybody at once, then one sort of all steps."""
    people, at, steps = np.arange(len(r)), np.argmin(c, axis=1), []
    while people.size:
        run = c[people] - c[people, at][:, None]
        rise = r[people] - r[people, at][:, None]
        slope = np.divide(rise, run, out=np.zeros_like(run), where=run > 0)
        following = slope.argmax(axis=1)
        steepest = slope[np.arange(len(people)), following]
        goes = steepest > 0
        people, before, at = people[goes], at[goes], following[goes]
        steps.append((people, before, at, steepest[goes]))
    unit, before, arm, slope = map(np.concatenate, zip(*steps, strict=True))
    order = np.argsort(-slope, kind="stable")
    unit, before, arm = unit[order], before[order], arm[order]
    totals = (np.cumsum(s[unit, arm].astype(np.float64) - s[unit, before]) / len(r) for s in (c, r))
    return unit, before, arm, slope[order], *totals


def show_growth(results: list[dict[str, Any]]) -> None:
    """A table of exponents: of cases that differ in the number of people alone, and in that of treatments alone."""
    usual = [case for case in results if case["cores"] == os.cpu_count()]
    first = min(case["arms"] for case in usual)
    many = sorted({case["n"] for case in usual if case["arms"] != first})
    varied = {
        "n": [case for case in usual if case["arms"] == first],
        "arms": [case for case in usual if many and case["n"] == many[-1]],
    }
    table = Table("growth", "with people", "with treatments")
    for name in usual[0]["seconds"]:
        table.add_row(name, *(growth(varied[by], by, name) for by in varied))
    Console().print(table)


def growth(cases: list[dict[str, Any]], by: str, name: str) -> str:
    """The exponent of the least times of a candidate, as text; nothing where there are too few cases."""
    cases = [case for case in cases if name in case["seconds"]]
    if len({case[by] for case in cases}) < 2:
        return ""
    sizes, times = [case[by] for case in cases], [case["seconds"][name]["least"] for case in cases]
    return f"{np.polyfit(np.log(sizes), np.log(times), 1)[0]:.2f}"


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
        f"gap {result['gap_over_value']:.1e} of its value; peak memory {result['peak_memory_gib']:.2f} GiB, "
        f"up to the first path {result['peak_memory_of_path_gib']:.2f}, of which "
        f"{result['memory_of_data_gib']:.2f} before the first call"
    )
    Console().print(table)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--case"]:
        print(json.dumps(run_case(json.loads(sys.argv[2]))))
    else:
        main(tyro.cli(Config))
