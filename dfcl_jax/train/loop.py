"""Training: epochs one after another, resumable, for one seed or several, from memory or from files."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from jax.typing import ArrayLike

from dfcl_jax.errors import Diverged, refuse
from dfcl_jax.models import Params
from dfcl_jax.train.checkpoint import CheckpointManager
from dfcl_jax.train.mesh import fetch, place_everywhere
from dfcl_jax.train.seeds import ONE_SEED, Seeds
from dfcl_jax.train.source import Progress, Streamed, make_runner
from dfcl_jax.train.stage import Record, Stage, StageLog, Validation
from dfcl_jax.train.step import Rows
from dfcl_jax.train.trainer import State


class Fit(NamedTuple):
    """The result of a fit; with s seeds every leaf has a leading axis [s, ...]."""

    # After the epoch with the best validation value, the start included; after the last one if none has a value.
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
    """Train a stage and keep the parameters with the best validation value.

    An epoch in memory is one compiled call. An epoch of a streamed source is one call for each batch, with the same
    arithmetic. Python reports between calls, so a fit can be interrupted there. With `log.checkpoints` a fit continues
    from where an earlier process stopped, for whatever reason, and comes to the same result, bit for bit on a CPU; an
    interrupt (SIGINT) loses only the call that is running.

    With `seeds=ALL_SEEDS` every array argument has a leading axis of s seeds, which are trained in one program. With
    `with_members(k)` each seed has k members, and leaves of `shared`, `pace` and the result are [s, k, ...].

    Args:
        key: it determines the result together with the other arguments; [s] for several seeds.
        params: where training starts; the start takes part in the choice of the best.
        source: training rows in memory, leaves [n, ...], or rows that are read from files.
        shared: what the objective needs besides rows, such as the constants of a loss.
        valid: validation rows and what their predictions are judged by.
        stage: model, objective, validation value and configuration.
        pace: learning rate as a multiple of the configuration's.
        seeds: how many seeds one program trains.
        mesh: devices that the rows are spread over (`data_mesh`). The result is that of one device with as many
            `shards`, up to the order of sums. With several processes `source` holds the rows of this process, equally
            many in each, and everything else is the same in all processes. None: one device.
        log: what to call after each epoch, and where to keep checkpoints.

    Raises:
        InputError: the loss of a seed (of all its members) is not finite; a row is not valid (`data.open_trial`); a
            checkpoint is damaged or belongs to another fit; the mesh does not divide batches and rows.
        OSError: a checkpoint cannot be written; the one before it is intact.
    """
    dtype = jax.tree.leaves(params)[0].dtype
    # A state that may still be written to disk must not be overwritten by the call that it is passed to.
    runner = make_runner(source, stage, seeds=seeds, mesh=mesh, donate=log.checkpoints is None, dtype=dtype)
    paces = jnp.asarray(pace, dtype)
    if paces.ndim == 0:
        paces = jnp.broadcast_to(paces, seeds.shape(key))
    arrays = jax.tree.map(jnp.asarray, (key, params, valid, paces, shared))
    key, params, valid, paces, shared = place_everywhere(mesh, arrays)
    arguments = {
        "key": key, "params": params, "valid": valid, "pace": paces, "rows": runner.identity, "shared": shared,
    }  # fmt: skip

    def begin(state: State) -> Progress:
        unknown = np.full((1, *paces.shape), np.nan, dtype)
        return Progress(state, shared, runner.open_epoch(state), 0, 0, unknown, unknown)

    with CheckpointManager(log.checkpoints, stage.config, arguments, mesh, leading=seeds.axes) as manager:
        result = manager.finished(lambda: Fit(params, np.empty(0), np.empty(0)))
        if result is not None:
            return result
        now = manager.restore(lambda: begin(jax.eval_shape(runner.start, key, params, valid, paces)))
        if now is None:
            now = begin(runner.start(key, params, valid, paces))
        else:
            now = Progress(*place_everywhere(mesh, now[:3]), *now[3:])
        for epoch in range(now.epoch, stage.config.epochs):
            if stage.renew is not None and epoch > 0 and now.calls == 0:
                now = now._replace(shared=stage.renew(now.state.learner.params, now.shared))
            for after in runner.run_epoch(now, valid):
                now = after
                if now.calls == 0:
                    stage.check(now.state.learner)
                    _check_loss(epoch, now.loss[-1].reshape(*key.shape, -1))
                    log.on_epoch(epoch, Record(now.loss[-1], now.value[-1]))
                manager.save(epoch * runner.calls + (now.calls or runner.calls), now)
        result = Fit(fetch(mesh, now.state.best), now.loss, now.value)
        manager.finish(result)
        return result


def _check_loss(epoch: int, loss: np.ndarray) -> None:
    """Refuse a loss [..., k] if it is not finite for any of the k members of a seed."""
    if not np.isfinite(loss).any(axis=-1).all():
        what, expected = f"training loss in epoch {epoch + 1}", "finite: lower learning_rate"
        refuse(what, found=np.squeeze(loss), expected=expected, error=Diverged)
