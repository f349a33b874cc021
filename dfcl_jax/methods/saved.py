"""Policies in folders: saved whole or not at all, loaded in another process, from another place."""

import json
import os
import shutil
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dfcl_jax.data import Encoder
from dfcl_jax.errors import refuse
from dfcl_jax.files import npz_bytes, read_npz, write_atomically
from dfcl_jax.methods.identity import describe, rebuild
from dfcl_jax.methods.mixture import Mixture
from dfcl_jax.methods.policy import Policy
from dfcl_jax.metrics import SpendCurve

POLICY = "policy.json"
PARAMS = "params.npz"
# Arrays of a curve that may hold an infinite number, which JSON cannot write.
_INFINITE = {"lam": np.inf, "least": -np.inf}


def save_policy(policy: Policy | Mixture, folder: str | Path) -> None:
    """Write a policy to a folder, which appears or is replaced only when it is complete.

    Args:
        policy: with parameters that are nested dictionaries of arrays; or a mixture of such.
        folder: to be; a policy that is there already is replaced.

    Raises:
        InputError: the folder exists and holds no policy.
    """
    policies = policy.policies if isinstance(policy, Mixture) else (policy,)
    params = npz_bytes({f"model {k}": each.params for k, each in enumerate(policies)})
    models = [plain_parts(each) for each in policies]
    about = {"method": describe(policy.method), "models": models, PARAMS: zlib.crc32(params)}
    write_folder(Path(folder), {PARAMS: params, POLICY: with_checksum(about)}, replaces=POLICY)


def load_policy(folder: str | Path) -> Policy | Mixture:
    """The policy or mixture of a folder: the same decisions bit for bit, on the same kind of processor.

    What it is made of is imported by name, so load policies only from where you would load code.

    Raises:
        InputError: a file that is missing, or is not as it was written.
    """
    folder = Path(folder)
    about = read_json(folder / POLICY)
    params = jax.tree.map(jnp.asarray, read_npz(read_checked(folder / PARAMS, about[PARAMS])))
    method = rebuild(about["method"])
    policies = tuple(
        Policy(
            method=method,
            params=params[f"model {k}"],
            encoder=None if model["encoder"] is None else Encoder.from_json(model["encoder"]),
            arms=tuple(model["arms"]),
            curve=_curve(model["curve"]),
        )
        for k, model in enumerate(about["models"])
    )
    return policies[0] if len(policies) == 1 else Mixture(policies)


def plain_parts(policy: Policy) -> dict[str, Any]:
    """Encoder, treatments and curve as data for JSON; infinite numbers of the curve are null."""
    curve = policy.curve._asdict()
    arrays = {name: kept.tolist() for name, kept in curve.items() if isinstance(kept, np.ndarray)}
    for name in _INFINITE:
        arrays[name] = [None if np.isinf(value) else value for value in arrays[name]]
    return {
        "encoder": None if policy.encoder is None else policy.encoder.to_json(),
        "arms": list(policy.arms),
        "curve": {**curve, **arrays},
    }


def with_checksum(about: dict[str, Any]) -> bytes:
    """Data as JSON, with a checksum of themselves."""
    return json.dumps({"checksum": _checksum(about), **about}, indent=1).encode()


def write_folder(folder: Path, files: dict[str, bytes], *, replaces: str) -> None:
    """Write a folder of files whole or not at all; one that has a file `replaces` is replaced.

    Raises:
        InputError: another folder or file is there.
    """
    if folder.exists() and not (folder / replaces).is_file():
        refuse("folder", found=f"{folder}, which exists", expected=f"a new one, or one with {replaces} to replace")
    partial, old = (folder.with_name(f".{folder.name}.{part}") for part in ("partial", "old"))
    for left in (partial, old):
        shutil.rmtree(left, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        for name, data in files.items():
            write_atomically(partial / name, data)
        if folder.exists():
            os.rename(folder, old)
        os.rename(partial, folder)
    finally:
        for left in (partial, old):
            shutil.rmtree(left, ignore_errors=True)


def read_json(path: Path) -> dict[str, Any]:
    """What `with_checksum` made.

    Raises:
        InputError: the file is missing or damaged.
    """
    data = _read(path)
    try:
        about = json.loads(data)
        intact = about.pop("checksum") == _checksum(about)
    except (ValueError, KeyError, AttributeError):
        intact, about = False, {}
    if not intact:
        refuse(f"policy file {path}", found="it damaged", expected="it as it was written")
    return about


def read_checked(path: Path, checksum: int) -> bytes:
    """The bytes of a file with this checksum.

    Raises:
        InputError: the file is missing or damaged.
    """
    data = _read(path)
    if zlib.crc32(data) != checksum:
        refuse(f"policy file {path}", found="it damaged", expected="it as it was written")
    return data


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        refuse(f"policy file {path}", found=f"no way to read it ({error.strerror})", expected="a saved policy's file")


def _checksum(about: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(about).encode())


def _curve(data: dict[str, Any]) -> SpendCurve:
    # What an older version did not write has its default.
    whole = {name: [end if x is None else x for x in data[name]] for name, end in _INFINITE.items() if name in data}
    arrays = {name: np.asarray(kept, np.float64) for name, kept in {**data, **whole}.items() if type(kept) is list}
    return SpendCurve(**{**data, **arrays})
