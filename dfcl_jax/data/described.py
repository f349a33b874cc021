"""Tables of a folder, each beside a small file that says which column is what."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from dfcl_jax.data.columns import Columns
from dfcl_jax.errors import refuse

ENDING = ".trial.json"


def described_trials(folder: Path) -> dict[str, tuple[Path, Columns]]:
    """The tables that files NAME.trial.json of a folder describe, with their columns, by NAME in the order of names.

    Such a file holds one object: "file", the table's path from the folder, and fields of `Columns`, for instance

        {"file": "coupons.csv", "treatment": "coupon", "revenue": "sales", "cost": "paid", "cluster": "shop"}

    Raises:
        InputError: a file that is no such object; a field that is unknown, missing or of another type; no such table.
    """
    paths = sorted(folder.glob(f"*{ENDING}"))
    return {path.name.removesuffix(ENDING): _read(path, folder) for path in paths}


def _read(path: Path, folder: Path) -> tuple[Path, Columns]:
    try:
        given = json.loads(path.read_text("utf-8"))
    except ValueError as why:
        refuse(str(path), found=f"no JSON ({why})", expected='an object such as {"file": "coupons.csv", ...}')
    known = {field.name: type(field.default) for field in fields(Columns)}
    required = ("file", "treatment", "revenue", "cost")
    if not isinstance(given, dict) or (missing := [name for name in required if name not in given]):
        found = f"no {', '.join(missing)}" if isinstance(given, dict) else type(given).__name__
        refuse(str(path), found=found, expected=f"an object with {', '.join(required)}")
    for name in given:
        if name != "file" and name not in known:
            refuse(f"{path}, {name!r}", found="a field that is not known", expected=f"file, {', '.join(known)}")
    table = folder / _text(given.pop("file"), f"{path}, 'file'")
    if not table.exists():
        refuse(f"{path}, 'file'", found=f"{table}, which is not there", expected="a table beside it")
    values = {
        name: (_several if known[name] is tuple else _text)(value, f"{path}, {name!r}") for name, value in given.items()
    }
    return table, Columns(**values)


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        refuse(what, found=json.dumps(value), expected="a text")
    return value


def _several(value: Any, what: str) -> tuple[Any, ...]:
    numbers = what.endswith(("'propensities'", "'costs'"))
    kind = (int, float) if numbers else str
    if not isinstance(value, list) or not all(isinstance(each, kind) and each is not True for each in value):
        refuse(what, found=json.dumps(value), expected=f"a list of {'numbers' if numbers else 'texts'}")
    return tuple(map(float, value)) if numbers else tuple(value)
