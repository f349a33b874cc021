"""Times one training step of the published Criteo recipe against PyTorch, and whole epochs against their rows."""

import json
import multiprocessing
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax import Array
from rich.console import Console
from rich.table import Table

from dfcl_jax import Trial, losses, scores
from dfcl_jax.models import Through, shared_trunk
from dfcl_jax.train import FitConfig, Learner, MeanOverRows, Rows, Stage, Validation, make_step, make_trainer
from dfcl_jax.train.config import make_optimiser

try:
    import bench_torch as torch_twin
except ModuleNotFoundError as missing:
    if missing.name != "torch":
        raise
    torch_twin = None

CONSOLE = Console()
MODEL = shared_trunk(2)
LAM, WINDOW = 0.1, 0.3


class Recipe(NamedTuple):
    """A loss as published on Criteo, and its twin."""

    objective: Any
    twin: str
    settings: tuple[float, ...]  # of the twin's loss
    rate: float
    decay: float
    through: Through = "both"


RECIPES = {
    "CE": Recipe(
        MeanOverRows(lambda o, rows, _: losses.prediction_loss(o, rows.trial, kind="cross_entropy")),
        "cross_entropy", (), 1e-2, 0.0,
    ),
    "PL": Recipe(
        MeanOverRows(lambda o, rows, _: losses.policy_learning_loss(o, rows.extra, LAM)),
        "policy_learning", (LAM,), 1e-5, 1e-5,
    ),
    "IFD": Recipe(
        lambda o, rows, _: losses.finite_difference_loss(o, rows.extra, LAM, window=WINDOW, through="revenue"),
        "finite_difference", (LAM, WINDOW), 1e-5, 1e-5, "revenue",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Config:
    """What is timed, and how often."""

    batches: tuple[int, ...] = (100_000, 300_000)
    rounds: int = 9  # every candidate takes one step a round, after a first that is not timed
    chunks: tuple[int, ...] = (1024, 2048, 4096)  # of the bare matrix products, of which the fastest counts
    epochs: tuple[int, ...] = (1_000_000, 4_000_000, 14_000_000)  # rows of epochs of IFD, each in a process of its own
    chunk: int | None = None  # of the step
    out: Path | None = None  # a JSON file for the figures


def main(config: Config) -> None:
    """Time the candidates in turn, round by round, so that all see the same machine."""
    if torch_twin is None:
        CONSOLE.print("PyTorch is not installed, so there is no comparison with it: pip install -e '.\\[bench]'")
    figures = {f"{n}": steps(config, n) for n in config.batches}
    for n, rows in figures.items():
        show(f"batch {int(n):,}", rows)
    # A fresh process for each, whose peak memory is that of its epoch.
    pool = partial(ProcessPoolExecutor, 1, mp_context=multiprocessing.get_context("spawn"))
    grown = {}
    for n in config.epochs:
        with pool() as one:
            grown[f"{n}"] = one.submit(epoch, n, config.chunk).result()
    if grown:
        show("an epoch of IFD, batch 300,000", grown)
    if config.out is not None:
        record = {"config": asdict(config) | {"out": None}, "device": str(jax.devices()[0])}
        config.out.write_text(json.dumps(record | {"steps": figures, "epochs": grown}, indent=2) + "\n")


def steps(config: Config, n: int) -> dict[str, dict[str, float]]:
    """Rows a second of each step, and how far the two libraries' parameters are apart after the last."""
    rows = data(n)
    # With JAX_ENABLE_X64=1 both libraries compute in float64.
    start = MODEL.init(jax.random.key(1), rows.trial.x[:1])
    start = jax.tree.map(lambda leaf: leaf.astype(rows.trial.x.dtype), start)
    calls: dict[str, Callable[[], Any]] = {}
    ends: dict[str, Callable[[], Any]] = {}
    for name, recipe in RECIPES.items():
        calls[name], ends[name] = ours(recipe, rows, start, config.chunk)
        if torch_twin is not None:
            calls[f"{name}, torch"], ends[f"{name}, torch"] = theirs(torch_twin, recipe, rows, start)
    for chunk in config.chunks:
        calls[f"matrix products, {chunk}"] = partial(jax.jit(bare, static_argnums=2), start, rows.trial.x, chunk)
    seconds = {name: [] for name in calls}
    for number in range(config.rounds + 1):
        for name, call in calls.items():
            took = timed(call)
            if number > 0:
                seconds[name].append(took)
            # Threads of one library may still be spinning when the other begins.
            time.sleep(0.02)
    fastest = min(np.median(seconds[name]) for name in seconds if name.startswith("matrix"))
    figures = {}
    for name, times in seconds.items():
        figures[name] = {
            "least_ms": 1e3 * float(np.min(times)),
            "median_ms": 1e3 * float(np.median(times)),
            "rows_per_second": n / float(np.median(times)),
            "of_matrix_products": float(fastest / np.median(times)),
        }
        if f"{name}, torch" in seconds:
            # Ratios within a round, whose calls saw the same load.
            figures[name]["x_torch"] = float(np.median(np.array(seconds[f"{name}, torch"]) / np.array(times)))
            figures[name] |= apart(start, ends[name](), ends[f"{name}, torch"]())
    return figures


def ours(recipe: Recipe, rows: Rows, start: Any, chunk: int | None) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """A call that takes a step, and one for the parameters it has come to."""
    config = FitConfig(1, 300_000, recipe.rate, "constant", recipe.decay, clip_norm=None)
    optimiser = make_optimiser(config, 1)
    step = jax.jit(make_step(MODEL, recipe.objective, optimiser, chunk=chunk, through=recipe.through), donate_argnums=0)
    params = jax.tree.map(jnp.copy, start)
    now = [Learner(params, optimiser.init(params), jnp.ones(()))]

    def call() -> Array:
        now[0], loss = step(now[0], rows, None)
        return loss

    return call, lambda: now[0].params["params"]


def theirs(twin: Any, recipe: Recipe, rows: Rows, start: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """The same of PyTorch."""
    trial, surfaces = rows
    arrays = {"x": trial.x, "t": trial.t, "r": trial.r, "c": trial.c}
    arrays |= {"G_r": surfaces.r, "G_c": surfaces.c, "w": surfaces.w}
    arrays = {name: np.array(array, np.int64 if name == "t" else trial.x.dtype) for name, array in arrays.items()}

    def loss(r_hat: Any, c_hat: Any, data: Any) -> Any:
        return getattr(twin, recipe.twin)(r_hat, c_hat, data, *recipe.settings)

    network, step = twin.make_step(start["params"], loss, recipe.rate, recipe.decay, arrays)
    return step, network.params


def apart(start: Any, one: Any, other: Any) -> dict[str, float]:
    """The largest difference between two sets of parameters, and the largest way either has come."""
    far = jax.tree.map(lambda a, b: float(np.abs(np.asarray(a) - np.asarray(b)).max()), one, other)
    moved = jax.tree.map(lambda a, b: float(np.abs(np.asarray(a) - np.asarray(b)).max()), one, start["params"])
    return {"apart": max(jax.tree.leaves(far)), "moved": max(jax.tree.leaves(moved))}


def bare(params: Any, x: Array, chunk: int) -> Any:
    """Nothing but the matrix products of a step, forward and back, in chunks."""
    trunk, first, last = (params["params"][name]["kernel"] for name in ("Dense_0", "heads_0", "heads_1"))
    # The last layers of all heads, as one product.
    last = jnp.repeat(jnp.eye(len(last)), last.shape[1], axis=0) * last.reshape(-1, 1)

    def products(total: Any, part: Array) -> tuple[Any, None]:
        h = part @ trunk
        k = h @ first
        y = k @ last
        back = y @ last.T
        new = part.T @ (back @ first.T), h.T @ back, k.T @ y
        return jax.tree.map(jnp.add, total, new), None

    start = jax.tree.map(jnp.zeros_like, (trunk, first, last))
    return jax.lax.scan(products, start, x[: len(x) // chunk * chunk].reshape(-1, chunk, x.shape[1]))[0]


def timed(call: Callable[[], Any]) -> float:
    """Seconds of a call."""
    begin = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - begin


def epoch(n: int, chunk: int | None) -> dict[str, float]:
    """Time and peak memory of an epoch over n rows, shuffled."""
    recipe = RECIPES["IFD"]
    config = FitConfig(
        1, 300_000, recipe.rate, "constant", recipe.decay, clip_norm=None, chunk=chunk, through=recipe.through
    )
    rows = jax.block_until_ready(jax.jit(data, static_argnums=0)(n))
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(rows))
    trainer = make_trainer(Stage(MODEL, recipe.objective, lambda outcomes, _: outcomes.r.mean(), config), n)
    params, valid = MODEL.init(jax.random.key(1), rows.trial.x[:1]), Validation(rows.trial.x[:1], None)
    state = jax.jit(trainer.start)(jax.random.key(2), params, valid, jnp.ones(()))
    compiled = jax.jit(trainer.epoch, donate_argnums=0).lower(state, rows, None, valid).compile()
    products = partial(jax.jit(bare, static_argnums=2), params, rows.trial.x[:300_000], 2048)
    timed(products)
    before = timed(products)
    seconds = timed(lambda: compiled(state, rows, None, valid))
    # The machine's speed may change within the minute: products right before and after tell.
    share = (before + timed(products)) / 2 * n / min(n, 300_000) / seconds
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    figures = {"seconds": seconds, "rows_per_second": n / seconds, "of_matrix_products": share}
    return figures | {"rows_gb": held / 1e9, "peak_gb": peak / 1e9}


def data(n: int) -> Rows:
    """Rows of Criteo's shape with random numbers: time does not depend on their values."""
    blocks = max(n // 1_000_000, 1)

    def block(key: Array) -> tuple[Array, Array, Array, Array]:
        numbers = jax.random.uniform(key, (n // blocks, 15))
        x, (t, c, r) = numbers[:, :12], numbers[:, 12:].T
        visit = c < 0.047
        return x, (t < 0.85).astype(jnp.int32), (visit & (r < 0.062)).astype(jnp.float32), visit.astype(jnp.float32)

    columns = jax.lax.map(block, jax.random.split(jax.random.key(0), blocks))
    columns = (column.reshape(-1, *column.shape[2:]) for column in columns)
    trial = Trial(*columns, jnp.array([0.15, 0.85]))
    return Rows(trial, scores.ipw(trial))


def show(title: str, figures: dict[str, dict[str, float]]) -> None:
    """A table of figures, whose columns are those that any row has."""
    columns = list(dict.fromkeys(column for row in figures.values() for column in row))
    table = Table(title, *(column.replace("_", " ") for column in columns))
    for name, row in figures.items():
        cells = [(f"{row[c]:,.0f}" if row[c] >= 1000 else f"{row[c]:.3g}") if c in row else "" for c in columns]
        table.add_row(f"{int(name):,} rows" if name.isdigit() else name, *cells)
    CONSOLE.print(table)


if __name__ == "__main__":
    main(tyro.cli(Config))
