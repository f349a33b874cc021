"""A method as plain data: what tells it from others, and what it is made of again from."""

import importlib
import zlib
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import partial
from types import CodeType
from typing import Any

import numpy as np

from dfcl_jax.errors import refuse

_PACKAGE = __name__.partition(".")[0]


def describe(value: Any) -> Any:
    """A method, or any option of one, as data for JSON.

    Functions are named by where they can be imported from; those from outside this package with a checksum of their
    code, and functions made within others with what they hold, so that a changed loss is another method.

    Raises:
        InputError: something that has no description, such as an open file.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {
            "class": _name(type(value)),
            "fields": {f.name: describe(getattr(value, f.name)) for f in fields(value)},
        }
    if isinstance(value, partial):
        keywords = {name: describe(given) for name, given in value.keywords.items()}
        return {"partial": describe(value.func), "args": describe(list(value.args)), "keywords": keywords}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {"tuple": _name(type(value)), "items": [describe(item) for item in value]}
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    if isinstance(value, dict):
        return {"dict": {str(name): describe(item) for name, item in value.items()}}
    if callable(value):
        return _described_function(value)
    if hasattr(value, "__array__"):
        array = np.asarray(value)
        return {"array": array.tolist(), "dtype": str(array.dtype)}
    refuse("option of a method", found=repr(value), expected="numbers, names, functions, or dataclasses of them")


def rebuild(data: Any) -> Any:
    """What `describe` described; a function that cannot be imported is refused where it is called, not here."""
    if isinstance(data, list):
        return tuple(rebuild(item) for item in data)
    if not isinstance(data, dict):
        return data
    if "class" in data:
        return _found(data["class"])(**{name: rebuild(item) for name, item in data["fields"].items()})
    if "partial" in data:
        keywords = {name: rebuild(item) for name, item in data["keywords"].items()}
        return partial(rebuild(data["partial"]), *rebuild(data["args"]), **keywords)
    if "tuple" in data:
        return _found(data["tuple"])(*(rebuild(item) for item in data["items"]))
    if "dict" in data:
        return {name: rebuild(item) for name, item in data["dict"].items()}
    if "array" in data:
        return np.asarray(data["array"], data["dtype"])
    return _function(data)


def _name(thing: Any) -> str:
    return f"{thing.__module__ or '__main__'}:{thing.__qualname__}"


def _described_function(function: Callable[..., Any]) -> dict[str, Any]:
    if not hasattr(function, "__qualname__"):
        refuse("option of a method", found=repr(function), expected="a function with a name, or a frozen dataclass")
    described: dict[str, Any] = {"function": _name(function)}
    code = getattr(function, "__code__", None)
    if code is not None and not described["function"].startswith(f"{_PACKAGE}."):
        described["code"] = _checksum(code)
    cells = getattr(function, "__closure__", None) or ()
    if cells:
        described["holds"] = [describe(cell.cell_contents) for cell in cells]
    return described


def _checksum(code: CodeType) -> int:
    constants = [_checksum(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return zlib.crc32(repr((code.co_code, constants, code.co_names)).encode())


def _found(name: str) -> Any:
    module, _, path = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        refuse(f"{name}, part of a method", found=f"nothing to import ({error})", expected="it as it was")
    return found


def _function(data: dict[str, Any]) -> Callable[..., Any]:
    name = data["function"]
    if "<" not in name and "holds" not in data and not name.startswith("__main__:"):
        try:
            return _found(name)
        except ValueError:
            pass

    def missing(*_: Any, **__: Any) -> Any:
        refuse(f"function {name} of a saved method", found="nothing to import", expected="it, to train again")

    return missing
