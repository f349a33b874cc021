"""Training: epochs one after another, resumable, for one seed or several, from memory or from files."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from jax.typing import ArrayLike

from dfcl_jax.errors import refuse
from dfcl_jax.models import Params
from dfcl_jax.train.checkpoint import Keeper
from dfcl_jax.train.mesh import fetch, place_everywhere
from dfcl_jax.train.seeds import ONE_SEED, Seeds
from dfcl_jax.train.source import Standing, Streamed, make_runner
from dfcl_jax.train.stage import Record, Stage, StageLog, Validation
from dfcl_jax.train.step import Rows


class Fit(NamedTuple):
    """The end of a fit; of s seeds leaves have a leading axis [s, ...]."""

    # Of the epoch with the best validation value, the start included; of the last where none has one.
    params: Params
    loss: np.ndarray  # [epochs, ...]
    value: np.ndarray  # [epochs, ...]


def fit(
    key: Array,
    params: Params,
    source: Rows | Streamed,
    shared: Any,
    valid: Validation,
    stage: Stage,
    *,
    pace: ArrayLike = 1.0,
    seeds: Seeds = ONE_SEED,
    mesh: Mesh | None = None,
    log: StageLog = StageLog(),  # noqa: B008  an immutable tuple
) -> Fit:
    """Train a stage and keep the parameters of its best validation value.

    An epoch in memory is one compiled call; of streamed rows each batch is one, with the same arithmetic. Python
    reports in between, so a fit can be interrupted there. With `log.checkpoints` it goes on where an earlier process
    left it, whatever ended that, and comes to the same result, bit for bit on a CPU; an interrupt (SIGINT) loses the
    piece in hand alone.

    With `seeds=ALL_SEEDS` every array argument has a leading axis of s seeds, which train in one program; by
    `with_members(k)` each of them has k members, and leaves of `shared`, `pace` and the result are [s, k, ...].

    Args:
        key: with the other arguments it determines the result; [s] of several seeds.
        params: where to start; the start takes part in the choice of the best.
        source: training rows, leaves [n, ...], or rows that are read from files.
        shared: what the objective needs beside rows (constants of a loss).
        valid: validation rows and what judges them.
        stage: model, objective, choice, configuration.
        pace: learning rate as a multiple of the configuration's.
        seeds: how many train in one program.
        mesh: devices to spread the rows over (`data_mesh`), to the result that one device has with as many `shards`,
            but for the order of sums. On several processes the source is that of this process, equally many rows in
            each, and everything else is the same in all. None: one device.
        log: what is told after each epoch, and where checkpoints are kept.

    Raises:
        InputError: the loss of a seed is no longer finite, nor is that of another of its members; a row that cannot be
            (`data.open_trial`); a checkpoint is damaged, or of another fit; the mesh does not divide batches and rows.
        OSError: a checkpoint cannot be written; the one before it is intact.
    """
    dtype = jax.tree.leaves(params)[0].dtype
    # A state that may yet be written must outlive the piece that it goes into.
    runner = make_runner(source, stage, seeds=seeds, mesh=mesh, donate=log.checkpoints is None, dtype=dtype)
    pace = jnp.asarray(pace, dtype)
    if seeds.axes and not pace.ndim:
        pace = jnp.broadcast_to(pace, key.shape)
    arrays = jax.tree.map(jnp.asarray, (key, params, valid, pace, shared))
    key, params, valid, pace, shared = place_everywhere(mesh, arrays)
    begin = (key, params, valid, pace)
    arguments = {
        "key": key, "params": params, "valid": valid, "pace": pace, "rows": runner.about, "shared": shared,
    }  # fmt: skip
    with Keeper(log.checkpoints, stage.config, arguments, mesh, leading=seeds.axes) as keeper:
        finished = keeper.finished(lambda: Fit(params, np.empty(0), np.empty(0)))
        if finished is not None:
            return finished
        nothing = np.empty((0, *pace.shape), dtype)

        def standing(state: Any) -> Standing:
            return Standing(state, shared, runner.part(state), 0, nothing, nothing)

        at = keeper.restore(lambda: standing(jax.eval_shape(runner.start, *begin)))
        at = standing(runner.start(*begin)) if at is None else Standing(*place_everywhere(mesh, at[:3]), *at[3:])
        for epoch in range(len(at.loss), stage.config.epochs):
            if stage.renew is not None and epoch > 0 and at.batches == 0:
                at = at._replace(shared=stage.renew(at.state.learner.params, at.shared))
            for at in runner.run_epoch(at, valid):
                if at.batches == 0:
                    check_loss(epoch, at.loss[-1].reshape(*pace.shape[: seeds.axes], -1))
                    log.on_epoch(epoch, Record(at.loss[-1], at.value[-1]))
                keeper.note((epoch * runner.pieces) + (at.batches or runner.pieces), at)
        result = Fit(fetch(mesh, at.state.best), at.loss, at.value)
        keeper.finish(result)
        return result


def check_loss(epoch: int, loss: np.ndarray) -> None:
    """Refuse a loss that is no longer finite; of several members, [..., k], that of all."""
    if not np.isfinite(loss).any(axis=-1).all():
        refuse(f"training loss in epoch {epoch + 1}", found=np.squeeze(loss), expected="finite: lower learning_rate")
