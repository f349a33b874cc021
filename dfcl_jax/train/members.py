"""Members of a sweep: several settings trained on the data of one seed, as many at once as memory holds."""

import os
from math import ceil
from pathlib import Path
from typing import Any

import jax
from jax import Array

from dfcl_jax.errors import refuse
from dfcl_jax.models import Params
from dfcl_jax.train.seeds import Seeds
from dfcl_jax.train.stage import Record, Validation
from dfcl_jax.train.step import Rows
from dfcl_jax.train.trainer import State, Trainer

# Share of the available memory that a program may use.
SHARE = 0.8


def with_members(k: int, *, memory: int | None = None) -> Seeds:
    """Let `fit` train k members of each seed in one compiled program.

    `pace`, `shared` and the result then have leaves [s, k, ...]; keys, starting parameters, rows and validation rows
    stay [s, ...]. The members of a seed see the same batches in the same order, and no row is copied for them. The
    compiled program states how much memory it needs besides its arguments. If that is more than `memory`, members are
    cut into groups of nearly equal size, which pass through one program one after another.

    Args:
        k: members of each seed.
        memory: bytes; `SHARE` of what is available if not given.

    Raises:
        InputError: in the first epoch, if not even one member of each seed fits.
    """

    def compiled(trainer: Trainer, donate: bool) -> Trainer:
        fitting: list[jax.stages.Compiled] = []

        def epoch(*data: Any) -> tuple[State, Record]:
            if not fitting:
                limit = int(SHARE * available_memory()) if memory is None else memory
                fitting.append(_largest_that_fits(trainer, donate, data, k, limit))
            return fitting[0](*data)

        return trainer._replace(start=jax.jit(jax.vmap(of_members(trainer, k).start)), epoch=epoch)

    return Seeds(1, compiled, (k,))


def of_members(trainer: Trainer, at_once: int) -> Trainer:
    """The trainer of the members of one seed, `at_once` side by side; their state has one key and leaves [k, ...]."""

    def start(key: Array, params: Params, valid: Validation, paces: Array) -> State:
        state = jax.vmap(lambda pace: trainer.start(key, params, valid, pace))(paces)
        return state._replace(key=key)

    def epoch(state: State, rows: Rows, shared: Any, valid: Validation) -> tuple[State, Record]:
        def one(member: tuple[State, Any]) -> tuple[State, Record]:
            own, its_shared = member
            # All members have the same key, so the order and the batches are computed once.
            return trainer.epoch(own._replace(key=state.key), rows, its_shared, valid)

        after, record = jax.lax.map(one, (state._replace(key=None), shared), batch_size=at_once)
        return after._replace(key=after.key[0]), record

    return trainer._replace(start=start, epoch=epoch)


def _largest_that_fits(trainer: Trainer, donate: bool, data: tuple, k: int, limit: int) -> jax.stages.Compiled:
    at_once = k
    while True:
        compiled = program(trainer, donate, data, at_once)
        need = bytes_beside_arguments(compiled)
        if need <= limit:
            return compiled
        if at_once == 1:
            refuse(
                "memory",
                found=f"{limit / 2**20:,.0f} MiB",
                expected=f"{need / 2**20:,.0f} MiB for one member of each seed, or fewer seeds, or a smaller batch",
            )
        # The need of a program grows mostly with its members.
        at_once = group_size(k, max(1, min(at_once - 1, int(at_once * limit / need))))


def group_size(k: int, at_most: int) -> int:
    """The size of the largest group if k members are cut evenly into as few groups as possible."""
    return ceil(k / ceil(k / at_most))


def program(trainer: Trainer, donate: bool, data: tuple, at_once: int) -> jax.stages.Compiled:
    """The compiled epoch of all members of all seeds, `at_once` members at a time."""
    epoch = jax.vmap(of_members(trainer, at_once).epoch)
    return jax.jit(epoch, donate_argnums=0 if donate else ()).lower(*data).compile()


def bytes_beside_arguments(program: jax.stages.Compiled) -> int:
    """Bytes that a compiled program allocates: temporaries, and results that do not overwrite an argument."""
    needs = program.memory_analysis()
    if needs is None:  # the backend does not say
        return 0
    return needs.temp_size_in_bytes + needs.output_size_in_bytes - needs.alias_size_in_bytes


def available_memory() -> int:
    """Bytes that are free on the device; on a CPU, bytes that programs can use without swapping."""
    stats = jax.devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    table = Path("/proc/meminfo")
    if table.exists():
        kilobytes = next(line for line in table.read_text().splitlines() if line.startswith("MemAvailable"))
        return 1024 * int(kilobytes.split()[1])
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
