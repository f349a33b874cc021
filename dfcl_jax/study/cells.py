"""Cells: what one method came to on one seed's task, kept in a folder so that it is never trained again.

A cell is told from others by the method with its options, the seed, the key, the data and the versions. Its folder is
written whole or not at all. A study is a list of cells; methods and seeds that are added later train alone.
"""

import hashlib
import io
import json
import os
import re
import shutil
import zlib
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array

from dfcl_jax.data import Task
from dfcl_jax.files import npz_bytes, read_npz, write_atomically
from dfcl_jax.methods import Log, Method, describe, fit_each, one_program_each
from dfcl_jax.models import Params
from dfcl_jax.train import Checkpoints, Epoch, RecordFile, StageLog, watch

CELL = "cell.json"
PARAMS = "params.npz"
RECORD = "record.csv"
VALUES = "values.csv"


class Cell(NamedTuple):
    """One method on one seed's task."""

    method: str  # its name in the study
    seed: int
    params: Params
    record: pd.DataFrame  # stage, epoch, loss, value, seconds: of each epoch of training
    values: pd.DataFrame | None  # what the exam said; None: it has not been asked
    identity: str  # what tells it from others


class Watcher(NamedTuple):
    """What a study tells the outside while it trains."""

    # (label of a stage, its epochs) -> what is told each epoch of it
    on_stage: Callable[[str, int], Callable[[Epoch], None]] = lambda label, epochs: lambda epoch: None
    on_cell: Callable[[str, int], None] = lambda method, seed: None  # a cell that was there already
    say: Callable[[str], None] = lambda sentence: None  # something out of the ordinary


# (methods, tasks, log) -> parameters of each task of each method
FitTogether = Callable[[Sequence[Any], Sequence[Task], Log], list[list[Params]]]


class Cells:
    """The cells of a study, in a folder or, without one, in memory."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        data: Any = None,
        seconds: float = Checkpoints.seconds,
        watcher: Watcher = Watcher(),  # noqa: B008  an immutable tuple
    ):
        """Find the cells that are there.

        Args:
            folder: of the cells; made when the first is written.
            data: what tells the data from others, as data for JSON.
            seconds: longest training between two checkpoints.
            watcher: what is told.
        """
        self._folder, self._data, self._seconds, self._watcher = folder, data, seconds, watcher
        self._held: dict[str, Cell] = {}
        self._paths = {}
        for path in [] if folder is None else sorted(folder.glob(f"*/*/{CELL}")):
            try:
                self._paths[json.loads(path.read_bytes())["identity"]] = path.parent
            except (ValueError, KeyError, OSError):
                self._drop(path.parent, CELL)

    def train(self, name: str, method: Method, key: Array, tasks: Sequence[Task]) -> list[Cell]:
        """The cell of each task; those that are missing are trained, in one program where the method can."""
        missing = [task for task in tasks if self._find(name, method, key, task) is None]
        for group in one_program_each(method, missing):
            self._train(name, {name: method}, key, group, lambda _, of, log: [fit_each(method, key, of, log)])
        return [self._held[self._identity(method, key, task)]._replace(method=name) for task in tasks]

    def train_together(
        self, name: str, methods: Mapping[str, Method], key: Array, tasks: Sequence[Task], fit: FitTogether
    ) -> None:
        """Make the cells of several methods; methods that lack the same tasks are trained by one call of `fit`.

        Args:
            name: of what is trained together.
            methods: by name.
            key: as for `train`, which finds these cells from now on.
            tasks: one for each seed.
            fit: what trains.
        """
        lacking: dict[tuple[int, ...], dict[str, Method]] = {}
        for each, method in methods.items():
            missing = tuple(k for k, task in enumerate(tasks) if self._find(each, method, key, task) is None)
            lacking.setdefault(missing, {})[each] = method
        for missing, group in lacking.items():
            if missing:
                self._train(name, group, key, [tasks[k] for k in missing], fit)

    def say(self, sentence: str) -> None:
        """Tell the watcher of something out of the ordinary."""
        self._watcher.say(sentence)

    def keep_values(self, cell: Cell, values: pd.DataFrame) -> Cell:
        """The cell with what the exam said of it."""
        cell = cell._replace(values=values)
        self._held[cell.identity] = cell
        if self._folder is not None:
            path = self._paths[cell.identity]
            write_atomically(path / VALUES, _csv(values))
            kept = json.loads((path / CELL).read_bytes())
            kept["files"][VALUES] = zlib.crc32(_csv(values))
            write_atomically(path / CELL, _json(kept))
        return cell

    def _identity(self, method: Method, key: Array, task: Task) -> str:
        return hashlib.sha256(_json(self._described(method, key, task))).hexdigest()[:16]

    def _described(self, method: Method, key: Array, task: Task) -> dict[str, Any]:
        return {
            "method": describe(method),
            "seed": task.seed,
            "budgets": list(task.budgets),
            "rows": [source.rows for source in (task.train, task.valid, task.observed) if source is not None],
            "key": np.asarray(jax.random.key_data(key)).tolist(),
            "data": self._data,
            "versions": {package: version(package) for package in ("dfcl-jax", "jax", "flax", "optax", "numpy")},
            "backend": jax.default_backend(),
        }

    def _find(self, name: str, method: Method, key: Array, task: Task) -> Cell | None:
        identity = self._identity(method, key, task)
        if identity not in self._held and identity in self._paths:
            cell = self._read(identity, name, task.seed)
            if cell is not None:
                self._held[identity] = cell
                self._watcher.on_cell(name, task.seed)
        return self._held.get(identity)

    def _train(
        self, name: str, methods: Mapping[str, Method], key: Array, tasks: Sequence[Task], fit: FitTogether
    ) -> None:
        identities = [[self._identity(method, key, task) for task in tasks] for method in methods.values()]
        work = None
        if self._folder is not None:
            mark = hashlib.sha256(_json(identities)).hexdigest()[:16]
            work = self._folder / f".{_slug(name)}-{mark}"
            work.mkdir(parents=True, exist_ok=True)
        epochs: list[Epoch] = []
        fitted = fit(list(methods.values()), tasks, self._log(name, work, epochs))
        # Losses of an epoch are [seeds, methods].
        records = _records(epochs, work, len(tasks) * len(methods))
        for m, (each, method) in enumerate(methods.items()):
            for s, task in enumerate(tasks):
                cell = Cell(each, task.seed, fitted[m][s], records[s * len(methods) + m], None, identities[m][s])
                self._held[identities[m][s]] = cell
                if self._folder is not None:
                    self._write(cell, identities[m][s], self._described(method, key, task))
        if work is not None:
            shutil.rmtree(work)

    def _log(self, name: str, work: Path | None, epochs: list[Epoch]) -> Log:
        def stage(part: str, number: int, rows: int) -> StageLog:
            label = f"{name}: {part}" if part else name
            observers = [self._watcher.on_stage(label, number), epochs.append]
            if work is None:
                return StageLog(watch(part, rows, *observers))
            checkpoints = Checkpoints(work / f"checkpoint {part}".strip(), self._seconds, of=f"{label} of {work.name}")
            return StageLog(watch(part, rows, RecordFile(work / "record.jsonl"), *observers), checkpoints)

        def fitted(method: Method, key: Array, tasks: Sequence[Task]) -> list[Params]:
            return [cell.params for cell in self.train(type(method).__name__, method, key, tasks)]

        return Log(stage, fitted)

    def _write(self, cell: Cell, identity: str, described: dict[str, Any]) -> None:
        assert self._folder is not None
        path = self._folder / _slug(cell.method) / f"{cell.seed}-{identity}"
        partial = path.with_name(f".{path.name}")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        files = {PARAMS: npz_bytes(cell.params), RECORD: _csv(cell.record)}
        for name, data in files.items():
            write_atomically(partial / name, data)
        checksums = {name: zlib.crc32(data) for name, data in files.items()}
        about = {"identity": identity, "method": cell.method, "seed": cell.seed, "files": checksums} | {"of": described}
        write_atomically(partial / CELL, _json(about))
        shutil.rmtree(path, ignore_errors=True)
        os.rename(partial, path)
        self._paths[identity] = path

    def _read(self, identity: str, name: str, seed: int) -> Cell | None:
        path = self._paths[identity]
        files = json.loads((path / CELL).read_bytes())["files"]
        data = {}
        for file, checksum in files.items():
            try:
                data[file] = (path / file).read_bytes()
            except OSError:
                return self._drop(path, file)
            if zlib.crc32(data[file]) != checksum:
                return self._drop(path, file)
        values = pd.read_csv(io.BytesIO(data[VALUES])) if VALUES in data else None
        params = jax.tree.map(jnp.asarray, read_npz(data[PARAMS]))
        return Cell(name, seed, params, pd.read_csv(io.BytesIO(data[RECORD])), values, identity)

    def _drop(self, path: Path, file: str) -> None:
        self.say(f"cell {path}: found a damaged {file}, so it is trained again")
        shutil.rmtree(path, ignore_errors=True)


def _records(epochs: list[Epoch], work: Path | None, seeds: int) -> list[pd.DataFrame]:
    """The record of each seed, with the epochs that an earlier process ran."""
    lines = [epoch._asdict() for epoch in epochs]
    if work is not None and (work / "record.jsonl").exists():
        lines = [json.loads(line) for line in (work / "record.jsonl").read_text().splitlines()]
    columns = ["stage", "epoch", "loss", "value", "seconds"]
    return [
        pd.DataFrame(
            [[e["stage"], e["epoch"], np.ravel(e["loss"])[k], np.ravel(e["value"])[k], e["seconds"]] for e in lines],
            columns=columns,
        ).astype({"loss": float, "value": float})
        for k in range(seeds)
    ]


def _slug(name: str) -> str:
    return re.sub(r"[^\w.+-]+", "-", name).strip("-") or "method"


def _json(data: Any) -> bytes:
    return json.dumps(data, indent=1, sort_keys=True).encode()


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False).encode()
