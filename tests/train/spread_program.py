"""What the tests of meshes run in processes of their own: fits, gradients and plans with rows spread over devices.

python spread_program.py OUT                          one process, all its devices
python spread_program.py OUT ADDRESS NUMBER PROCESS   one of several processes, with checkpoints
python spread_program.py ... end                      the same, which ends where a checkpoint is of use

The folder of OUT has what `write_trial` writes, and checkpoints.
"""

import os
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd

from dfcl_jax import InputError, Outcomes, Trial, TwoStage, data, losses, metrics, scores, solvers
from dfcl_jax.data import Columns, open_trial
from dfcl_jax.methods import SILENT, BiLevel, decisions
from dfcl_jax.methods.catalogue import TWO_STAGE, standard
from dfcl_jax.models import NetworkConfig, ensemble, mlp
from dfcl_jax.study import compare
from dfcl_jax.train import (
    ALL_SEEDS,
    Checkpoints,
    FitConfig,
    Hypergradient,
    Learner,
    MeanOverRows,
    Rows,
    Stage,
    StageLog,
    Streamed,
    Validation,
    data_mesh,
    fit,
    hypergradient,
    make_step,
)
from dfcl_jax.train.mesh import mean_over, place_rows, spread, step_on_mesh
from dfcl_jax.types import take

if __name__ == "__main__" and len(sys.argv) > 2:
    # Before any array is made.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))

SEEDS, N, D, M, SHARDS = 2, 480, 4, 3, 8
MODEL = mlp(M, hidden=(8,))
CONFIG = FitConfig(epochs=2, batch_size=160, learning_rate=1e-2, shards=SHARDS, chunk=16)
LAMS = jnp.array([0.2, 0.7])


def some_rows(seed: int, n: int = N, *, own: bool = False) -> Rows:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet([5] * M, n if own else None)
    columns = rng.normal(size=(n, D)), rng.integers(0, M, n), rng.uniform(size=n), rng.uniform(size=n), p
    trial = Trial(*map(jnp.asarray, columns))
    return Rows(trial, scores.ipw(trial))


def stacked(*rows: Rows) -> Rows:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows)


ROWS = stacked(*map(some_rows, range(SEEDS)))
# 101 rows: no multiple of the devices.
VALID = stacked(*(some_rows(10 + seed, 101) for seed in range(SEEDS)))


def objective(outcomes: Outcomes, rows: Rows, lams: jax.Array) -> jax.Array:
    return losses.finite_difference_loss(outcomes, rows.extra, lams) + losses.prediction_loss(outcomes, rows.trial)


def smooth_objective(outcomes: Outcomes, rows: Rows, lams: jax.Array) -> jax.Array:
    """Without decisions that float32 sums in another order could flip."""
    return losses.policy_learning_loss(outcomes, rows.extra, lams) + losses.prediction_loss(outcomes, rows.trial)


def accuracy(outcomes: Outcomes, trial: Trial) -> jax.Array:
    return -losses.prediction_loss(outcomes, trial)


def fitted(mesh, *, rows: Rows = ROWS, config: FitConfig = CONFIG, **log: Any):
    keys = jax.random.split(jax.random.key(0), SEEDS)
    start = jax.vmap(lambda key: MODEL.init(key, jnp.zeros((1, D))))(keys)
    start = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), start)
    stage, lams = Stage(MODEL, objective, accuracy, config), jnp.stack([LAMS, LAMS / 2])
    valid, log_ = Validation(VALID.trial.x, VALID.trial), StageLog(**log)
    return fit(keys, start, rows, lams, valid, stage, seeds=ALL_SEEDS, mesh=mesh, log=log_)


def write_trial(folder: Path) -> None:
    x, t, r, c = map(np.asarray, some_rows(3).trial[:4])
    frame = pd.DataFrame({f"f{k}": x[:, k] for k in range(D)}).assign(t=t, r=r, c=c)
    frame.to_parquet(folder / "trial.parquet", row_group_size=30)


def read_trial(folder: Path):
    return open_trial(folder / "trial.parquet", Columns("t", "r", "c"))


def with_scores(trial: Trial, context: None) -> Rows:
    return Rows(trial, scores.ipw(trial))


def streamed(mesh, trial, **log: Any):
    valid = jax.tree.map(lambda leaf: leaf[0], VALID.trial)
    start = MODEL.init(jax.random.key(0), jnp.zeros((1, D), jnp.float32))
    source, stage = Streamed(trial, with_scores, buffer=200), Stage(MODEL, smooth_objective, accuracy, CONFIG)
    log_ = StageLog(**log)
    return fit(jax.random.key(0), start, source, LAMS, Validation(valid.x, valid), stage, mesh=mesh, log=log_)


def studied(devices: int):
    """Values and losses of a study whose training is spread, of people whose number the devices divide."""
    training = FitConfig(epochs=2, batch_size=160, shards=SHARDS, devices=devices)
    start = TwoStage(NetworkConfig(hidden=(8,)), training=training)
    methods = {name: standard(start, training)[name] for name in (TWO_STAGE, "PL-own-units")}
    draws = [data.simulate.marketing(jax.random.key(s), 800, d=6) for s in range(SEEDS)]
    splits = [data.split_simulation(draw, N, 120, budgets=(0.05, 0.1), seed=s) for s, draw in enumerate(draws)]
    study = compare(jax.random.key(0), splits, methods)
    return study.history[["loss", "value"]].to_numpy(), study.values.revenue.to_numpy()


def two_levels(devices: int):
    """The deployed parameters of bi-level training whose observed people are spread."""
    training = FitConfig(epochs=2, batch_size=160, shards=SHARDS)
    upper = decisions(TwoStage(NetworkConfig(hidden=(8,)), training=training), training)["PL-centred"]
    method = BiLevel(
        upper=upper, training=replace(training, devices=devices), hypergradient=Hypergradient(k=2, n_cg=5, damping=1.0)
    )
    task = data.split_simulation(data.simulate.marketing(jax.random.key(0), 800, d=6), N, 120, budgets=(0.05,)).task
    # Three more than the devices divide, whom one device leaves out as well.
    observed = data.simulate.marketing(jax.random.key(1), N + 3, d=6).trial
    observed = observed if devices > 1 else take(observed, jnp.arange(N))
    return method.fit(jax.random.key(0), task._replace(observed=observed), SILENT)["net"]


HYPERGRADIENTS = {
    "Gauss-Newton": Hypergradient(k=2, rate=0.1, n_cg=5, damping=1.0),
    "Hessian": Hypergradient(k=2, rate=0.1, n_cg=5, damping=5.0, curvature="hessian"),
    "explicit": Hypergradient("explicit", rate=0.1),
}


def hypergradients(mesh) -> dict[str, np.ndarray]:
    """Of gates by people of the trial, whom every device has, through a network of observed people, who are spread."""
    bridge, trial, mean = mlp(M, hidden=(3,), link="sigmoid"), some_rows(6).trial, mean_over(mesh)
    theta, phi = (
        jax.tree.map(lambda leaf: leaf.astype(jnp.float64), model.init(jax.random.key(2), jnp.zeros((1, D))))
        for model in (MODEL, bridge)
    )

    def all_of(phi: Any, theta: Any, rows: Rows) -> dict[str, Any]:
        def predict(theta: Any) -> Outcomes:
            return MODEL.apply(theta, rows.trial.x)

        def lower(phi: Any, outcomes: Outcomes) -> jax.Array:
            gates = bridge.apply(phi, rows.trial.x)
            return losses.pseudo_label_loss(outcomes, rows.trial, Outcomes(rows.extra.r, rows.extra.c), gates)

        def upper(theta: Any) -> jax.Array:
            return losses.prediction_loss(MODEL.apply(theta, trial.x), trial)

        return {
            name: hypergradient(how, phi, theta, predict=predict, lower=lower, upper=upper, mean=mean).gradient
            for name, how in HYPERGRADIENTS.items()
        }

    return flat("hypergradients", jax.jit(spread(mesh, all_of))(phi, theta, place_rows(mesh, some_rows(5))))


def flat(name: str, tree) -> dict[str, np.ndarray]:
    return {f"{name}.{k}": np.asarray(leaf) for k, leaf in enumerate(jax.tree.leaves(tree))}


OBJECTIVES = {
    "prediction": MeanOverRows(lambda o, rows, _: losses.prediction_loss(o, rows.trial)),
    "PL": MeanOverRows(lambda o, rows, _: losses.policy_learning_loss(o, rows.extra, LAMS)),
    "IFD matched": lambda o, rows, _: losses.finite_difference_loss(o, rows.extra, LAMS),
    "IFD longest": lambda o, rows, _: losses.finite_difference_loss(o, rows.extra, LAMS, clip="max"),
    "PPL": lambda o, rows, _: losses.primal_policy_learning_loss(o, rows.extra, 0.4, spend="predicted"),
}


def gradients(mesh) -> dict[str, np.ndarray]:
    """Loss and gradient of a batch, as what one step of length 1 takes off, of an ensemble with everybody's own p."""
    model, optimiser = ensemble(MODEL, 2), optax.sgd(1.0)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), model.init(jax.random.key(1), jnp.zeros((1, D))))
    learner = Learner(params, optimiser.init(params), jnp.ones(()))
    build = make_step if mesh is None else partial(step_on_mesh, make_step)

    def all_steps(learner: Learner, rows: Rows, shared: None):
        steps = {name: build(model, loss, optimiser, chunk=16) for name, loss in OBJECTIVES.items()}
        return {name: step(learner, rows, shared) for name, step in steps.items()}

    rows = place_rows(mesh, some_rows(5, own=True))
    return flat("gradients", jax.jit(spread(mesh, all_steps))(learner, rows, None))


def plans(mesh) -> dict[str, np.ndarray]:
    """Solvers and metrics of surfaces whose rows are spread."""
    rows = some_rows(7)
    outcomes = Outcomes(rows.trial.r[:, None] + rows.extra.w, rows.trial.c[:, None] * jnp.arange(M)[None, :])
    if mesh is not None:
        spread_rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
        outcomes, surfaces = jax.device_put((outcomes, rows.extra), spread_rows)
    else:
        surfaces = rows.extra
    path = solvers.budget_path(outcomes)
    budgets = jnp.array([0.1, 0.3])
    return {
        **flat("plan", solvers.allocate(outcomes, 0.2)),
        **flat("plan by path", solvers.allocate(outcomes, 0.2, method="path")),
        **flat("path", (path.lam, path.at(budgets))),
        **flat("eom", metrics.eom(outcomes, surfaces, budgets)),
        **flat("value", metrics.policy_value(solvers.hard(outcomes, 0.3), surfaces)),
    }


class End(Exception):
    """The end of a fit."""


def end_all(out: Path, rows: Rows, trial, process: int) -> None:
    """A fit that ends after an epoch, one that is refused, and a stream whose process is killed at its last batch."""
    mesh = data_mesh()

    def end(epoch: int, record) -> None:
        if epoch == 1:
            raise End

    def kill(epoch: int, record) -> None:
        if epoch == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    with suppress(End):
        fitted(mesh, rows=rows, on_epoch=end, checkpoints=Checkpoints(out.parent / "fit", 0.0))
    try:
        fitted(mesh, rows=rows, checkpoints=Checkpoints(out.parent / ("fit" if process == 0 else "another"), 0.0))
    except InputError as error:
        out.with_suffix(".txt").write_text(str(error))
    streamed(mesh, trial, on_epoch=kill, checkpoints=Checkpoints(out.parent / "stream", 0.0))


def main(out: str, address: str = "", number: str = "1", process: str = "0", end: str = "") -> None:
    folder = Path(out).parent
    mesh, rows, trial = data_mesh(), ROWS, read_trial(folder)
    if address:
        k, of = int(process), int(number)
        own = slice(k * N // of, (k + 1) * N // of)
        p = rows.trial.p
        rows = jax.tree.map(lambda leaf: leaf[:, own], rows)
        rows, trial = rows._replace(trial=rows.trial._replace(p=p)), trial.share(k, of)
        if end:
            end_all(Path(out), rows, trial, k)
    epochs: dict[str, list[int]] = {"fit": [], "stream": []}

    def how(name: str) -> dict[str, Any]:
        kept = Checkpoints(folder / name, 0.0) if address else None
        return {"checkpoints": kept, "on_epoch": lambda epoch, record: epochs[name].append(epoch)}

    result = flat("fit", fitted(mesh, rows=rows, **how("fit")))
    result |= flat("stream", streamed(mesh, trial, **how("stream")))
    result |= {f"epochs of {name}": np.array(run) for name, run in epochs.items()}
    if not address:
        result |= flat("fit on two", fitted(data_mesh(2))) | gradients(mesh) | plans(mesh)
        result |= hypergradients(mesh)
        result |= flat("study", studied(mesh.devices.size)) | flat("two levels", two_levels(mesh.devices.size))
    np.savez(out, devices=mesh.devices.size, **result)  # pyright: ignore


if __name__ == "__main__":
    main(*sys.argv[1:])
