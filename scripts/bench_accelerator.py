"""Times solvers, losses and training on whatever device JAX has, beside what the device itself can do.

Every line is printed as soon as it is measured, so that a run that is cut off still says something:

    time         median of several calls of one compiled program, until its results are there
    per s        rows per second
    compile      seconds of lowering and compilation
    in, out, temp   MiB of arguments, results and temporaries, by XLA's memory analysis of the program
    roofline     the time that the device needs at least, in per cent of the time measured: to read the arguments and
                 write the results once, at its measured copy bandwidth (for training: to do the counted floating-point
                 operations at its measured rate of matrix products, where that is more)
    XLA          the same by XLA's own count of bytes and operations. XLA counts the body of a loop once, so this is too
                 little for a search by bisection.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from dfcl_jax import Outcomes, Scores, Trial, losses, metrics, scores, solvers
from dfcl_jax.data import simulate
from dfcl_jax.losses import constants, decision
from dfcl_jax.methods.judged import mean_value
from dfcl_jax.models import NetworkConfig
from dfcl_jax.train import FitConfig, MeanOverRows, Rows, Stage, Validation, make_trainer

say = partial(print, flush=True)


@dataclass(frozen=True, kw_only=True)
class Config:
    """What is timed, and for how long."""

    rows: tuple[int, ...] = (1_000_000, 10_000_000)  # people of solvers and losses, with m treatments each
    m: int = 5
    budgets: int = 10  # budgets and multipliers of every solver and loss that takes several
    training_rows: int = 1_000_000
    batches: tuple[int, ...] = (512, 8192)  # of an epoch
    calls: int = 7  # timed calls of each program, after one that is not timed; fewer where they take over 2 s
    seconds: float = 210  # after which nothing more is begun
    quick: bool = False  # 100,000 rows, 3 calls
    out: Path | None = None  # a JSON file for the figures, written anew after each line


class Device(NamedTuple):
    """What the device can do, measured."""

    bandwidth: float  # bytes per second, read plus written, of a large copy
    flops: float  # of float32 matrix products at JAX's default precision
    call: float  # seconds of a call that does nothing


class Program(NamedTuple):
    """What is timed: a function that is compiled for its arguments."""

    name: str
    rows: int
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    work: float = 0.0  # floating-point operations of the matrix products that it cannot do without


def main(config: Config) -> None:
    """Measure the device, then every program, the smallest first."""
    end = time.perf_counter() + config.seconds
    if config.quick:
        few = tuple(min(n, 100_000) for n in config.rows[:1])
        config = Config(**asdict(config) | {"rows": few, "training_rows": 100_000, "calls": 3, "quick": False})
    say(f"{jax.devices()[0].device_kind}, JAX {jax.__version__}")
    device = measured_device()
    say(
        f"copies {device.bandwidth / 1e9:,.0f} GB/s; multiplies float32 matrices at {device.flops / 1e12:,.2f} TFLOP/s;"
        f" a call that does nothing takes {device.call * 1e6:,.0f} us"
    )
    lines: list[dict[str, Any]] = []
    header = ("time, ms", "M per s", "compile, s", "in, MiB", "out, MiB", "temp, MiB", "roofline, %", "XLA, %")
    say(f"{'':34}" + "".join(f"{title:>12}" for title in header))
    for program in programs(config):
        what = f"{program.name}, {program.rows:,}"
        if time.perf_counter() > end:
            say(f"{what}: left out, {config.seconds:.0f} s are over")
            continue
        try:
            line = measured(program, device, config.calls)
        except Exception as error:  # what does not fit or does not run must not cost the lines that follow
            say(f"{what}: {in_short(error)}")
            continue
        lines.append({"name": program.name, "rows": program.rows} | line)
        say(f"{what:34}" + "".join(f"{'' if cell is None else f'{cell:.4g}':>12}" for cell in shown(lines[-1])))
        if config.out is not None:
            about = {"device": jax.devices()[0].device_kind, "jax": jax.__version__, "measured": device._asdict()}
            record = {"config": asdict(config) | {"out": None}, "lines": lines} | about
            config.out.write_text(json.dumps(record, indent=2) + "\n")


def measured_device() -> Device:
    """The bandwidth of a copy that no cache holds, the rate of large matrix products, and the least time of a call."""
    large = jax.default_backend() != "cpu"
    x = jnp.zeros(2**28 if large else 2**25)
    side = 8192 if large else 1024
    a = jnp.ones((side, side))
    copy, product, nothing = jax.jit(lambda x: x + 1), jax.jit(lambda a: a @ a), jax.jit(lambda x: x)
    times = [timed(partial(function, value), 7) for function, value in ((copy, x), (product, a), (nothing, x[0]))]
    return Device(2 * x.nbytes / times[0], 2 * side**3 / times[1], times[2])


def measured(program: Program, device: Device, calls: int) -> dict[str, float | None]:
    """Compile a program and time it; sizes in bytes."""
    start = time.perf_counter()
    compiled = jax.jit(program.function).lower(*program.arguments).compile()
    took = time.perf_counter() - start
    seconds = timed(lambda: compiled(*program.arguments), calls)
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis() or {}
    cost = cost[0] if isinstance(cost, list) else cost
    sizes = {
        what: None if memory is None else float(getattr(memory, f"{what}_size_in_bytes"))
        for what in ("argument", "output", "temp")
    }
    moved, operations = cost.get("bytes accessed"), cost.get("flops")
    least = ((sizes["argument"] or 0) + (sizes["output"] or 0)) / device.bandwidth
    by_xla = max((moved or 0) / device.bandwidth, (operations or 0) / device.flops)
    return {
        "seconds": seconds,
        "compilation": took,
        **sizes,
        "bytes_by_xla": moved,
        "flops_by_xla": operations,
        "flops_needed": program.work or None,
        "roofline": max(least, program.work / device.flops) / seconds,
        "roofline_by_xla": by_xla / seconds if cost else None,
    }


def timed(call: Callable[[], Any], calls: int) -> float:
    """The median time of several calls, seconds, after one that is not timed."""
    times: list[float] = []
    for _ in range(calls + 1):
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
        if len(times) > 1 and sum(times) > 2:
            break
    return float(np.median(times[1:]))


def shown(line: dict[str, Any]) -> list[float | None]:
    """The cells of a line, in the units of the header."""
    sizes = [None if line[what] is None else line[what] / 2**20 for what in ("argument", "output", "temp")]
    shares = [None if line[what] is None else 100 * line[what] for what in ("roofline", "roofline_by_xla")]
    return [1e3 * line["seconds"], line["rows"] / line["seconds"] / 1e6, line["compilation"], *sizes, *shares]


def programs(config: Config) -> Iterator[Program]:
    """Solvers and losses of the first size, training, and the other sizes; arrays are made when their turn comes."""
    first, *larger = [guarded(f"{n:,} rows", of_size(config, n)) for n in config.rows]
    for group in (first, guarded("training", training_programs(config)), *larger):
        yield from group


def guarded(what: str, group: Iterator[Program]) -> Iterator[Program]:
    """Yield programs until one cannot be made, which must not cost those that follow."""
    try:
        yield from group
    except Exception as error:
        say(f"{what}: {in_short(error)}")


def in_short(error: Exception) -> str:
    """The kind of an error and the beginning of what it says."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:150]}"


def of_size(config: Config, n: int) -> Iterator[Program]:
    """Solvers and losses of n people."""
    outcomes, trial, surfaces = jax.block_until_ready(jax.jit(data, static_argnums=(0, 1))(n, config.m))
    yield from solver_programs(config, n, outcomes, surfaces)
    yield from loss_programs(config, n, outcomes, trial, surfaces)


def data(n: int, m: int) -> tuple[Outcomes, Trial, Scores]:
    """Predictions, a trial and its scores, of random numbers; the first treatment is free, others cost 0.05 to 1."""
    keys = jax.random.split(jax.random.key(0), 5)
    r, c = (jax.random.uniform(key, (n, m)) for key in keys[:2])
    outcomes = Outcomes(r.at[:, 0].set(0), (0.05 + 0.95 * c).at[:, 0].set(0))
    t = jax.random.randint(keys[2], (n,), 0, m)
    seen = (jax.random.uniform(key, (n,)) for key in keys[3:])
    trial = Trial(jnp.zeros((n, 1)), t, *seen, jnp.full(m, 1 / m))
    return outcomes, trial, scores.ipw(trial)


def solver_programs(config: Config, n: int, outcomes: Outcomes, surfaces: Scores) -> Iterator[Program]:
    """Plans of one budget and of all, multipliers, and the metric."""
    budgets = jnp.linspace(0.05, 0.4, config.budgets)
    yield Program("budget_path", n, solvers.budget_path, (outcomes,))
    yield Program("upper_hull", n, solvers.upper_hull, (outcomes,))
    yield Program("allocate", n, solvers.allocate, (outcomes, budgets[0]))
    yield Program("multiplier", n, solvers.multiplier, (outcomes, budgets[0]))
    yield Program(f"lams_for_budgets, {config.budgets}", n, solvers.lams_for_budgets, (outcomes, budgets))
    evaluate = lambda o, s, b: metrics.value_steps(o, s).at(b)  # noqa: E731
    yield Program("eom value_steps", n, evaluate, (outcomes, surfaces, budgets))


def loss_programs(config: Config, n: int, outcomes: Outcomes, trial: Trial, surfaces: Scores) -> Iterator[Program]:
    """Every loss with its gradient."""
    yield Program("prediction loss", n, jax.value_and_grad(losses.prediction_loss), (outcomes, trial))
    budgets = jnp.linspace(0.05, 0.4, config.budgets)
    lams = jnp.linspace(0.1, 1.0, config.budgets)
    kinds = {
        "PL": (losses.policy_learning_loss, lams),
        "MER": (partial(losses.policy_learning_loss, temperature=0.1), lams),
        "IFD": (losses.finite_difference_loss, lams),
        "DIFD": (losses.dual_finite_difference_loss, lams),
        "PPL": (losses.primal_policy_learning_loss, budgets),
        "PIFD": (losses.primal_finite_difference_loss, budgets),
    }
    for name, (loss, at) in kinds.items():
        yield Program(f"{name}, {config.budgets}", n, jax.value_and_grad(loss), (outcomes, surfaces, at))


def training_programs(config: Config) -> Iterator[Program]:
    """An epoch of two-stage learning, of PL and of IFD with the network of the marketing experiments."""
    n, held = config.training_rows, max(config.training_rows // 10, 1)
    trial, truth = jax.jit(simulate.marketing, static_argnums=1)(jax.random.key(1), n)
    surfaces, model = scores.ipw(trial), NetworkConfig().build(trial.p.shape[-1])
    params = jax.jit(model.init)(jax.random.key(2), trial.x[:1])
    some = jax.tree.map(lambda leaf: leaf[:held], (trial._replace(p=trial.t), surfaces, truth))
    judges = {"two-stage": some[0]._replace(p=trial.p)}
    budgets = jnp.linspace(0.1, 0.5, 3) * truth.c.max(axis=1).mean()
    k = constants.fitted(some[2], budgets)
    judges |= dict.fromkeys(("PL", "IFD"), (some[1], budgets, jnp.ones(3, bool)))
    objectives = {
        "two-stage": MeanOverRows(lambda o, rows, _: losses.prediction_loss(o, rows.trial)),
        "PL": MeanOverRows(lambda o, rows, k: decision.policy_learning(o, rows.extra, k)),
        "IFD": lambda o, rows, k: decision.finite_difference(o, rows.extra, k),
    }
    for size in config.batches:
        for name, objective in objectives.items():
            validate = mean_value if name != "two-stage" else lambda o, judge: -losses.prediction_loss(o, judge)
            stage = Stage(model, objective, validate, FitConfig(epochs=1, batch_size=size))
            trainer, valid = make_trainer(stage, n), Validation(trial.x[:held], judges[name])
            state = jax.jit(trainer.start)(jax.random.key(3), params, valid, jnp.ones(()))
            rows, given = trainer.steps * trainer.size, (state, Rows(trial, surfaces), k, valid)
            # Forward, and back to the weights and, but for the first layer, to the layer below.
            weights = [leaf.shape for leaf in jax.tree.leaves(params) if leaf.ndim == 2]
            products = sum((2 if width == trial.x.shape[1] else 3) * width * more for width, more in weights)
            yield Program(f"epoch {name}, batch {size}", rows, trainer.epoch, given, 2.0 * products * rows)


if __name__ == "__main__":
    main(tyro.cli(Config))
