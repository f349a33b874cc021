"""Tables of a folder, each beside a small file that says which column is what."""

import json
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_args, get_origin

from dfcl_jax.data.columns import Columns
from dfcl_jax.errors import refuse

ENDING = ".trial.json"
REQUIRED = ("file", *(field.name for field in fields(Columns) if field.default is MISSING))


def described_trials(folder: Path) -> dict[str, tuple[Path, Columns]]:
    """The tables that files NAME.trial.json of a folder describe, with their columns, by NAME in the order of names.

    Such a file holds one object: "file", the table's path from the folder, and fields of `Columns`, for instance

        {"file": "coupons.csv", "treatment": "coupon", "revenue": "sales", "cost": "paid", "cluster": "shop"}

    A number that is not known, such as a cost that is to be estimated, is NaN.

    Raises:
        InputError: a file that is no such object; a field that is unknown, missing or of another type; no such table.
    """
    paths = sorted(folder.glob(f"*{ENDING}"))
    return {path.name.removesuffix(ENDING): _read(path, folder) for path in paths}


def _read(path: Path, folder: Path) -> tuple[Path, Columns]:
    try:
        given = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError) as why:
        refuse(str(path), found=f"none to read ({why})", expected='an object such as {"file": "coupons.csv", ...}')
    if not isinstance(given, dict):
        refuse(str(path), found=type(given).__name__, expected=f"an object with {', '.join(REQUIRED)}")
    missing = [name for name in REQUIRED if name not in given]
    if missing:
        refuse(str(path), found=f"no {', '.join(missing)}", expected=f"an object with {', '.join(REQUIRED)}")
    known: dict[str, Any] = {"file": str} | {field.name: field.type for field in fields(Columns)}
    for name in given:
        if name not in known:
            refuse(f"{path}, {name!r}", found="a field that is not known", expected=", ".join(known))
    values = {name: _value(value, known[name], f"{path}, {name!r}") for name, value in given.items()}
    table = folder / values.pop("file")
    if not table.exists():
        refuse(f"{path}, 'file'", found=f"{table}, which is not there", expected="a table beside it")
    return table, Columns(**values)


def _value(value: Any, kind: Any, what: str) -> Any:
    """A text, or a tuple of texts or numbers, as the type of the field says."""
    if kind is str:
        if not isinstance(value, str):
            refuse(what, found=json.dumps(value), expected="a text")
        return value
    assert get_origin(kind) is tuple
    of = get_args(kind)[0]
    fits = (int, float) if of is float else of
    if not isinstance(value, list) or not all(isinstance(e, fits) and not isinstance(e, bool) for e in value):
        refuse(what, found=json.dumps(value), expected=f"a list of {'numbers' if of is float else 'texts'}")
    return tuple(map(of, value))
