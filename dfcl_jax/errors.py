"""The error that bad input raises, and the one kind of it that a study may go on after."""

import unicodedata
from typing import Any, NoReturn, get_args

import jax
from jax.core import Tracer


class InputError(ValueError):
    """Something the caller gave cannot be used: the message names it, what was found, what is expected."""


class Diverged(InputError):
    """The loss of a training is no longer a number: its options cannot be used, but another method's may."""


def refuse(what: str, *, found: object, expected: str, error: type[InputError] = InputError) -> NoReturn:
    """Raise an `InputError`, or the `error` of that kind, in the one form that every check uses, and in one line."""
    raise error(literal(f"{what}: found {found}, expected {expected}"))


def literal(text: str) -> str:
    """A text in one line that no terminal acts on: line breaks, escapes and all that is invisible are spelt out."""
    hidden = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return "".join(repr(each)[1:-1] if unicodedata.category(each) in hidden else each for each in text)


def check_option(what: str, found: str, options: Any) -> None:
    """Refuse a word that is not among those of `options`, a `Literal`."""
    if found not in get_args(options):
        refuse(what, found=repr(found), expected=" or ".join(map(repr, get_args(options))))


def shown(value: object) -> str:
    """A value of a table as a message shows it: texts quoted, numbers as Python writes them."""
    return repr(getattr(value, "item", lambda: value)())


def is_concrete(*values: object) -> bool:
    """Whether values can be looked at now, which is not so while JAX traces a function."""
    return not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(values))
